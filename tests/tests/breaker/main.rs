//! Breakers in the kernel: real agents, real servers, one bulkhead that suffers and one that must
//! never notice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::guardd::Guardd;
use testbed::requires;
use testbed::server::{Behaviour, Server};

#[path = "../rig/mod.rs"]
mod rig;

use rig::{
    LIMIT, RESEARCH, WRITING, agent, breaker, chain, chain_is, good_calls, metric, start_breakers,
    state_when, url,
};

mod outcomes;
mod pools;
mod races;
mod restart;

const THRESHOLD: u64 = 3;

fn start(address: SocketAddr, breaker: &str) -> Guardd {
    start_breakers(address, "", &format!("failure_threshold = {THRESHOLD}\n{breaker}"), "")
}

#[test]
fn the_call_after_the_threshold_is_refused_for_this_bulkhead_alone() {
    if !requires::cgroups("the_call_after_the_threshold_is_refused_for_this_bulkhead_alone") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "open_timeout = \"10m\"");
    let mut suffering = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut other = agent(&guardd, WRITING, &url(address), &[]);
    good_calls(&mut suffering, 2);
    good_calls(&mut other, 2);
    server.set(Behaviour::ResetAfterRequest);
    for _ in 0..THRESHOLD {
        let record = suffering.call(LIMIT).unwrap();
        assert_eq!(record.outcome, "ECONNRESET", "{record:?}");
    }
    server.set(Behaviour::answer(200, 10));
    let begin = Instant::now();
    for _ in 0..5 {
        let record = suffering.call(LIMIT).unwrap();
        assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("ECONNREFUSED", "connect"));
    }
    println!("five refusals took {:?}", begin.elapsed());
    let open = state_when(&guardd, RESEARCH, "open");
    assert_eq!((&open["rejected"], &open["trips"]), (&5.into(), &1.into()), "{open}");
    assert!(open["remaining_seconds"].as_f64().unwrap() > 500.0, "{open}");
    let last: Vec<_> = open["last_outcomes"].as_array().unwrap().iter().take(3).collect();
    assert!(last.iter().all(|outcome| **outcome == "reset"), "{open}");
    // The neighbour calls the same service.
    good_calls(&mut other, 5);
    assert_eq!(breaker(&guardd, WRITING)["state"], "closed");
    chain_is(&guardd, RESEARCH, &["open"]);
    assert!(chain(&guardd, WRITING).is_empty());
    let labels = [r#"bulkhead="research""#];
    assert_eq!(metric(&guardd, "guard_breaker_rejected_total", &labels), 5.0);
    let labels = [r#"bulkhead="research""#, r#"state="open""#];
    assert_eq!(metric(&guardd, "guard_breaker_state", &labels), 1.0);
    drop((suffering, other));
    guardd.finish().unwrap();
}

#[test]
fn one_probe_closes_it_and_a_bad_one_opens_it_again() {
    if !requires::cgroups("one_probe_closes_it_and_a_bad_one_opens_it_again") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "open_timeout = \"500ms\"");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    server.set(Behaviour::ResetAfterRequest);
    for _ in 0..THRESHOLD {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    std::thread::sleep(Duration::from_millis(600));
    // The probe goes through, and fails.
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNRESET");
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(breaker(&guardd, RESEARCH)["trips"], 2);
    server.set(Behaviour::answer(200, 10));
    std::thread::sleep(Duration::from_millis(600));
    good_calls(&mut agent, 3);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    chain_is(&guardd, RESEARCH, &["open", "half_open", "open", "half_open", "closed"]);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn the_operator_trips_resets_and_changes_the_mode() {
    if !requires::cgroups("the_operator_trips_resets_and_changes_the_mode") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut agent, 1);
    let name = format!("{RESEARCH}/api");
    guardd.ctl_json(&["breaker", "trip", &name]).unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.ctl_json(&["breaker", "reset", &name]).unwrap();
    good_calls(&mut agent, 1);
    guardd.ctl_json(&["breaker", "mode", &name, "force_open"]).unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.ctl_json(&["breaker", "mode", &name, "monitor"]).unwrap();
    guardd.ctl_json(&["breaker", "trip", &name]).unwrap();
    good_calls(&mut agent, 2);
    chain_is(&guardd, RESEARCH, &["open", "closed", "open"]);
    let unknown = guardd.ctl(&["breaker", "trip", "research/nothing"]).unwrap();
    assert!(unknown.code == 2 && unknown.stderr.contains("no breaker for"), "{unknown:?}");
    drop(agent);
    guardd.finish().unwrap();
}
