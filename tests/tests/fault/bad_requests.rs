//! Requests that make no sense: exit code 2, a text that says why, and no change.

use testbed::requires;

use crate::bystander::Bystander;
use crate::rig::{Metered, RESEARCH, inject_code, start};

/// Words after `--bulkhead research`, and what the error must name.
const BAD: [(&str, &str); 21] = [
    ("--service nowhere --for 1s --loss 1%", "nowhere"),
    ("--service api --loss 1%", "--for"),
    ("--service api --for 1s", "--latency"),
    ("--for 1s --loss 1%", "--service"),
    ("--service api --unsafe-all --for 1s --loss 1%", "--unsafe-all"),
    ("--service api --for 1s --loss 1% --refuse 1%", "--refuse"),
    ("--service api --for 1s --latency 1s --loss 1%", "--loss"),
    ("--service api --for 0s --loss 1%", "above zero"),
    ("--service api --for 30 --loss 1%", "30s"),
    ("--service api --for 25h --loss 1%", "86400"),
    ("--service api --for 1s --loss 0%", "0%"),
    ("--service api --for 1s --loss 101%", "101%"),
    ("--service api --for 1s --loss 5", "5%"),
    ("--service api --for 1s --refuse 1% --errno refused", "ECONNREFUSED"),
    ("--service api --for 1s --refuse 1% --errno ENOSPC", "ENOSPC"),
    ("--service api --for 1s --loss 1% --errno EPERM", "--errno"),
    ("--service api --for 1s --loss 1% --jitter 1ms", "--jitter"),
    ("--service api --for 1s --latency 10ms --jitter 11ms", "jitter"),
    ("--service api --for 1s --latency 61s", "60 s"),
    ("--service api --for 1s --loss 1% --seed x", "--seed"),
    ("--service api --for 1s --loss 1% --percent 3", "--percent"),
];

#[test]
fn are_refused_with_the_reason() {
    if !requires::cgroups("are_refused_with_the_reason") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let check = |bulkhead: &str, words: &str, culprit: &str| {
        let said = inject_code(&guardd, bulkhead, words);
        assert_eq!(said.code, 2, "{words}: {said:?}");
        assert!(said.stderr.contains(culprit), "{words} must name {culprit}: {said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    };
    for (words, culprit) in BAD {
        check(RESEARCH, words, culprit);
    }
    check("nobody", "--service api --for 1s --loss 1%", "there are: research, writing");
    // As JSON too.
    let words = ["--json", "fault", "inject", "--bulkhead", "nobody", "--service", "api"];
    let said = guardd.ctl(&[&words[..], &["--for", "1s", "--loss", "1%"]].concat()).unwrap();
    let text = if said.stdout.is_empty() { &said.stderr } else { &said.stdout };
    let body: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((said.code, &body["exit_code"]), (2, &2.into()), "{said:?}");
    let listed = guardd.ctl_json(&["fault", "list"]).unwrap();
    assert_eq!(listed["faults"], serde_json::json!([]));
    bystander.calls();
    bystander.end(&guardd, "api");
}
