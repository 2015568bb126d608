//! Several faults at once, a fault on everything, and one too many.

use testbed::requires;

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, Rules, agent, clear, good_calls, inject, inject_code, pair, start,
    url,
};

#[test]
fn latency_and_loss_on_one_pair() {
    if !requires::cgroups("latency_and_loss_on_one_pair") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0", "127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses[..1]), ("calm", &server.addresses[1..])]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &url(server.addresses[0]), &["--keep-alive"]);
    let mut calm = agent(&guardd, RESEARCH, &url(server.addresses[1]), &["--keep-alive"]);
    good_calls(&mut kept, 1);
    let latency = inject(&guardd, RESEARCH, "--service api --for 300s --latency 100ms");
    let loss = inject(&guardd, RESEARCH, "--service api --for 300s --loss 20% --seed 1");
    for record in good_calls(&mut kept, 20) {
        assert!(record.total_us >= 99_000.0, "{record:?}");
    }
    good_calls(&mut calm, 5);
    bystander.calls();
    let (latency, loss) = (clear(&guardd, &latency), clear(&guardd, &loss));
    assert!(latency["counters"]["delayed"].as_u64().unwrap() >= 20, "{latency}");
    assert!(loss["counters"]["dropped"].as_u64().unwrap() >= 1, "{loss}");
    assert_eq!(pair(&guardd, RESEARCH, "calm").faulted, 0);
    bystander.end(&guardd, "api");
}

#[test]
fn everything_that_a_bulkhead_calls() {
    if !requires::cgroups("everything_that_a_bulkhead_calls") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0", "127.0.0.1:0"]);
    // The second address belongs to no service: it is `other`.
    let guardd = start(&[("api", &server.addresses[..1])]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    let unsaid = inject_code(&guardd, RESEARCH, "--for 60s --refuse 100%");
    assert_eq!(unsaid.code, 2, "all of a bulkhead must be meant: {unsaid:?}");
    let fault = inject(&guardd, RESEARCH, "--unsafe-all --for 300s --refuse 100%");
    assert_eq!(fault["service"], "*");
    for address in &server.addresses {
        assert_eq!(agent.call_to(&url(*address), LIMIT).unwrap().outcome, "ECONNREFUSED");
    }
    assert_eq!(clear(&guardd, &fault)["counters"]["refused"], 2);
    let fault = inject(&guardd, RESEARCH, "--unsafe-all --for 300s --latency 150ms");
    for address in &server.addresses {
        let record = agent.call_to(&url(*address), LIMIT).unwrap();
        assert!(record.is_ok() && record.total_us >= 295_000.0, "{record:?}");
    }
    bystander.calls();
    clear(&guardd, &fault);
    for service in ["api", "other"] {
        let seen = pair(&guardd, RESEARCH, service);
        assert_eq!((seen.calls_injected["refused"], seen.calls_injected["success"]), (1, 1));
    }
    bystander.end(&guardd, "api");
}

#[test]
fn one_too_many_leaves_nothing() {
    if !requires::cgroups("one_too_many_leaves_nothing") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let faults: Vec<_> = (0..8)
        .map(|_| inject(&guardd, RESEARCH, "--service api --for 300s --refuse 0.001% --seed 1"))
        .collect();
    // Of the three kinds, latency has most to take back: queue, gate, rules.
    for effect in ["--latency 100ms", "--loss 1%", "--refuse 1%"] {
        let refused = inject_code(&guardd, RESEARCH, &format!("--service api --for 300s {effect}"));
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains('8'), "it says how many fit: {refused:?}");
        assert_eq!(Rules::of(&guardd).chains(), [""; 0]);
        let listed = guardd.ctl_json(&["fault", "list"]).unwrap();
        assert_eq!(listed["faults"].as_array().unwrap().len(), 8, "{listed}");
    }
    // The eight are as they were, and each place that is free again can be had.
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    good_calls(&mut agent, 3);
    bystander.calls();
    for fault in &faults {
        assert_eq!(clear(&guardd, fault)["counters"]["matched"], 3);
    }
    let fault = inject(&guardd, RESEARCH, "--service api --for 300s --latency 100ms");
    assert!(agent.call(LIMIT).unwrap().total_us >= 195_000.0);
    bystander.calls();
    clear(&guardd, &fault);
    bystander.end(&guardd, "api");
}
