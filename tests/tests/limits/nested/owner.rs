//! Who owns what: counters, breakers and faults of the innermost bulkhead, and of no other.

use testbed::requires;
use testbed::server::{Behaviour, Server};

use super::{INNER, owns_nothing, start};
use crate::counted;
use crate::rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker, calls_are, clear, good_calls, inject, pair,
    pair_when, state_when, untouched, url,
};

#[test]
fn the_inner_bulkhead_counts_its_calls_once_and_the_outer_none() {
    if !requires::cgroups("the_inner_bulkhead_counts_its_calls_once_and_the_outer_none") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "", "", "");
    let mut probe = Probe::start(&guardd, INNER);
    probe.must(&format!("tcp a {address}"));
    let exchanged: Vec<_> = (0..5).map(|_| probe.must("http a")).collect();
    let sum = |key: &str| exchanged.iter().map(|reply| reply[key].as_u64().unwrap()).sum::<u64>();
    let inner = calls_are(&guardd, WRITING, "api", &[("success", 5)]);
    assert_eq!((inner.connects, inner.connects_established, inner.connections), (1, 1, 1));
    assert_eq!((inner.sent_bytes, inner.received_bytes), (sum("sent"), sum("received")));
    owns_nothing(&guardd, RESEARCH);
    // It counts against the limits of both.
    counted(&guardd, WRITING, 1);
    counted(&guardd, RESEARCH, 1);
    // Datagrams, too, of a socket that has no peer, and an accepted connection.
    let sink = probe.udp("sink", "127.0.0.1:0");
    probe.udp("source", "127.0.0.1:0");
    probe.must(&format!("volley source 3 {sink}"));
    assert_eq!(probe.drain("sink", 3, 500).len(), 3);
    let at = probe.must("listen door 127.0.0.1:0")["local"].as_str().unwrap().to_owned();
    let mut outside = Probe::start(&guardd, RESEARCH);
    outside.must(&format!("tcp in {at}"));
    probe.must("accept in door");
    let sent = pair_when(&guardd, WRITING, "other", "the datagrams", |p| p.sent_bytes >= 3 * 64);
    assert_eq!(sent.sent_bytes, 3 * 64, "once: {sent:?}");
    let mut other = pair(&guardd, RESEARCH, "other");
    assert_eq!((other.connects, other.connections, other.sent_bytes), (1, 1, 0), "its own alone");
    outside.must("close in");
    probe.must("close in");
    other = pair_when(&guardd, RESEARCH, "other", "the end", |p| p.connections == 0);
    assert_eq!(other.connects, 1);
    // A process of the outer bulkhead's own is the outer's.
    outside.must(&format!("tcp own {address}"));
    outside.must("http own");
    calls_are(&guardd, RESEARCH, "api", &[("success", 1)]);
    calls_are(&guardd, WRITING, "api", &[("success", 5)]);
    counted(&guardd, RESEARCH, 2);
    counted(&guardd, WRITING, 1);
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let of = |name: &str| bulkheads.iter().find(|b| b["name"] == name).unwrap().clone();
    assert_eq!(of(WRITING)["inside"], serde_json::json!([RESEARCH]));
    assert_eq!(
        (of(RESEARCH)["processes"].clone(), of(WRITING)["processes"].clone()),
        (1.into(), 1.into())
    );
    drop((probe, outside));
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn the_inner_breaker_opens_alone() {
    if !requires::cgroups("the_inner_breaker_opens_alone") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "failure_threshold = 3", "max_connections = 8", "");
    server.set(Behaviour::answer(503, 16));
    let mut inner = agent(&guardd, INNER, &url(address), &[]);
    for _ in 0..3 {
        inner.call(LIMIT).unwrap();
    }
    state_when(&guardd, WRITING, "open");
    assert_eq!(inner.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    calls_are(&guardd, WRITING, "api", &[("rejected", 1), ("server_error", 3)]);
    // The outer knows nothing of it, and nothing is counted against its limit.
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    owns_nothing(&guardd, RESEARCH);
    counted(&guardd, RESEARCH, 0);
    server.set(Behaviour::answer(200, 16));
    let mut outer = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut outer, 3);
    // And the other way round.
    server.set(Behaviour::answer(503, 16));
    for _ in 0..3 {
        outer.call(LIMIT).unwrap();
    }
    state_when(&guardd, RESEARCH, "open");
    server.set(Behaviour::answer(200, 16));
    guardd.ctl_json(&["breaker", "reset", &format!("{WRITING}/api")]).unwrap();
    good_calls(&mut inner, 3);
    assert_eq!(outer.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    drop((inner, outer));
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn faults_hit_what_their_bulkhead_owns() {
    if !requires::cgroups("faults_hit_what_their_bulkhead_owns") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "mode = \"off\"", "", "");
    let mut outer = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut inner = agent(&guardd, INNER, &url(address), &[]);
    let fault = inject(&guardd, WRITING, "--service api --for 60s --refuse 100%");
    assert_eq!(inner.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    good_calls(&mut outer, 5);
    untouched(&guardd, RESEARCH);
    clear(&guardd, &fault);
    good_calls(&mut inner, 3);
    let touched = pair(&guardd, WRITING, "api").faulted;
    for effect in ["--refuse 100%", "--loss 100%", "--latency 400ms"] {
        let words = format!("--service api --for 60s {effect}");
        let fault = inject(&guardd, RESEARCH, &words);
        for record in good_calls(&mut inner, 3) {
            assert!(record.total_us < 300_000.0, "{effect}: {record:?}");
        }
        if effect == "--latency 400ms" {
            let slow = good_calls(&mut outer, 1);
            assert!(slow[0].total_us > 390_000.0, "{slow:?}");
        }
        clear(&guardd, &fault);
    }
    assert_eq!(pair(&guardd, WRITING, "api").faulted, touched, "never the inner's");
    drop((outer, inner));
    guardd.finish().unwrap();
}
