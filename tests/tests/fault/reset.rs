//! Resets: a request on an open connection is answered as if the server had lost it.

use std::net::TcpListener;

use serde_json::json;
use testbed::guardd::Guardd;
use testbed::requires;

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, WRITING, agent, calls_are, clear, counters, good_calls, inject, pair,
    start, url,
};

fn every_request(address: &str) {
    let server = Metered::start(&[address]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &url(server.addresses[0]), &["--keep-alive"]);
    good_calls(&mut kept, 2);
    bystander.calls();

    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --reset 100%");
    assert_eq!((&fault["effect"], &fault["engine"]), (&json!("reset 100%"), &json!("kernel")));
    let stale = kept.call(LIMIT).unwrap();
    assert_eq!((stale.outcome.as_str(), stale.reused), ("ECONNRESET", true), "{stale:?}");
    let fresh = kept.call(LIMIT).unwrap();
    assert_eq!((fresh.outcome.as_str(), fresh.reused), ("ECONNRESET", false), "{fresh:?}");
    assert!(fresh.connect_us.is_some(), "connects are let through");
    bystander.calls();
    // On a connection that has served before it is the pool's fault, not the service's.
    let calls = [("success", 2), ("stale_connection", 1), ("reset", 1)];
    let seen = calls_are(&guardd, RESEARCH, "api", &calls);
    assert_eq!((seen.calls_injected["stale_connection"], seen.calls_injected["reset"]), (1, 1));
    // The server never saw those requests.
    let others = pair(&guardd, WRITING, "api").call("success");
    assert_eq!(server.requests(), 2 + others);
    let ended = clear(&guardd, &fault);
    assert!(ended["counters"]["reset"].as_u64().unwrap() >= 2, "{ended}");
    assert_eq!(ended["counters"]["matched"], ended["counters"]["reset"]);
    good_calls(&mut kept, 2);
    bystander.end(&guardd, "api");
}

#[test]
fn over_ipv4() {
    if requires::cgroups("reset::over_ipv4") {
        every_request("127.0.0.1:0");
    }
}

#[test]
fn over_ipv6() {
    let test = "reset::over_ipv6";
    if !requires::cgroups(test) {
        return;
    }
    if TcpListener::bind("[::1]:0").is_err() {
        return requires::skip(test, "there is no ::1");
    }
    every_request("[::1]:0");
}

/// Outcomes of calls one after the other, from a new connection on.
fn outcomes(guardd: &Guardd, target: &str, seed: u32) -> Vec<String> {
    let mut kept = agent(guardd, RESEARCH, target, &["--keep-alive"]);
    let words = format!("--service api --for 120s --reset 40% --seed {seed}");
    let fault = inject(guardd, RESEARCH, &words);
    let outcomes = (0..40).map(|_| kept.call(LIMIT).unwrap().outcome).collect();
    assert_eq!(counters(guardd, &fault, "candidates"), 40, "each call is drawn once");
    clear(guardd, &fault);
    outcomes
}

#[test]
fn a_share_of_the_requests_the_same_again_with_the_same_seed() {
    if !requires::cgroups("a_share_of_the_requests") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = url(server.addresses[0]);
    let first = outcomes(&guardd, &target, 11);
    let reset = first.iter().filter(|outcome| *outcome == "ECONNRESET").count();
    // 40 draws at 40 %: 99.9 % of all seeds give 6 to 26.
    assert!((6..=26).contains(&reset), "{first:?}");
    assert!(first.iter().all(|outcome| outcome == "ok" || outcome == "ECONNRESET"), "{first:?}");
    assert_eq!(outcomes(&guardd, &target, 11), first);
    assert_ne!(outcomes(&guardd, &target, 12), first);
}
