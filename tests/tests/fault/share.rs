//! Faults on a part: of the connections, destinations and calls, and on new connections only.

use std::net::SocketAddr;

use testbed::agent::{AgentProcess, Record};
use testbed::guardd::Guardd;
use testbed::requires;

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, agent, clear, counters, good_calls, inject, start, url,
};

/// Long enough to be told from a slow machine.
const DELAY_MS: f64 = 600.0;

fn is_delayed(record: &Record) -> bool {
    assert!(record.is_ok(), "{record:?}");
    record.total_us / 1000.0 >= DELAY_MS - 5.0
}

/// Agents with an open connection each.
fn with_connections(guardd: &Guardd, target: &str, count: usize) -> Vec<AgentProcess> {
    let connected = |_| {
        let mut kept = agent(guardd, RESEARCH, target, &["--keep-alive"]);
        good_calls(&mut kept, 1);
        kept
    };
    (0..count).map(connected).collect()
}

#[test]
fn a_share_of_the_connections() {
    if !requires::cgroups("a_share_of_the_connections") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut agents = with_connections(&guardd, &url(server.addresses[0]), 8);
    let words =
        "--service api --for 120s --latency 600ms --share 50% --share-of connections --seed 5";
    let fault = inject(&guardd, RESEARCH, words);
    assert_eq!(fault["effect"], "latency 600ms for 50% of connections");
    let mut round = || -> Vec<bool> {
        agents.iter_mut().map(|agent| is_delayed(&agent.call(LIMIT).unwrap())).collect()
    };
    let first = round();
    let delayed = first.iter().filter(|delayed| **delayed).count();
    // With this seed; 0 and 8 of 8 would each be one seed in 256.
    assert!((1..=7).contains(&delayed), "{first:?}");
    assert_eq!(round(), first, "a connection that is drawn stays so");
    bystander.calls();
    assert_eq!(counters(&guardd, &fault, "candidates"), 8);
    assert_eq!(counters(&guardd, &fault, "chosen"), delayed as u64);
    clear(&guardd, &fault);
    bystander.end(&guardd, "api");
}

#[test]
fn a_share_of_the_calls() {
    if !requires::cgroups("a_share_of_the_calls") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut kept = with_connections(&guardd, &url(server.addresses[0]), 1);
    let words =
        "--service api --for 120s --latency 600ms --per first_byte --share 50% --share-of calls";
    let mut run = |seed: u32| -> Vec<bool> {
        let fault = inject(&guardd, RESEARCH, &format!("{words} --seed {seed}"));
        let delayed = (0..8).map(|_| is_delayed(&kept[0].call(LIMIT).unwrap())).collect();
        assert_eq!(counters(&guardd, &fault, "candidates"), 8, "each call is drawn once");
        clear(&guardd, &fault);
        delayed
    };
    let first = run(5);
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(run(5), first, "the same seed, the same calls");
}

#[test]
fn a_share_of_the_destinations() {
    if !requires::cgroups("a_share_of_the_destinations") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"; 12]);
    let guardd = start(&[("api", &server.addresses)]);
    let words = "--service api --for 120s --refuse 100% --share 50% --share-of destinations";
    let fault = inject(&guardd, RESEARCH, words);
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    let mut round = || -> Vec<bool> {
        let mut call = |address: &SocketAddr| agent.call_to(&url(*address), LIMIT).unwrap().is_ok();
        server.addresses.iter().map(&mut call).collect()
    };
    let first = round();
    assert_eq!(round(), first, "a destination that is drawn stays so");
    let good = first.iter().filter(|good| **good).count();
    assert_eq!(counters(&guardd, &fault, "refused"), 2 * (12 - good as u64));
    // The ports differ from run to run: 12 of 12 alike would be one run in 2048.
    assert!((1..=11).contains(&good), "{first:?}");
    clear(&guardd, &fault);
}

#[test]
fn new_connections_only() {
    if !requires::cgroups("new_connections_only") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = url(server.addresses[0]);
    for effect in ["--latency 600ms", "--blackhole"] {
        let mut old = with_connections(&guardd, &target, 1);
        let words = format!("--service api --for 120s {effect} --connections new");
        let fault = inject(&guardd, RESEARCH, &words);
        assert!(!is_delayed(&good_calls(&mut old[0], 3)[2]), "the old one goes on");
        assert_eq!(counters(&guardd, &fault, "matched"), 0);
        let mut new = agent(&guardd, RESEARCH, &target, &["--connect-timeout", "1s"]);
        let record = new.call(LIMIT).unwrap();
        if effect == "--blackhole" {
            assert_eq!(record.phase, "connect", "{record:?}");
        } else {
            assert!(is_delayed(&record), "{record:?}");
        }
        assert!(!is_delayed(&good_calls(&mut old[0], 1)[0]));
        clear(&guardd, &fault);
    }
}

#[test]
fn a_latency_of_the_connect_or_of_the_first_byte() {
    if !requires::cgroups("a_latency_of_the_connect_or_of_the_first_byte") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = url(server.addresses[0]);
    let mut kept = with_connections(&guardd, &target, 1).remove(0);
    let mut fresh = agent(&guardd, RESEARCH, &target, &[]);
    let connect_ms = |record: &Record| record.connect_us.unwrap() / 1000.0;
    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --latency 600ms --per connect");
    assert!(!is_delayed(&good_calls(&mut kept, 1)[0]), "no call on an open connection");
    let record = &good_calls(&mut fresh, 1)[0];
    assert!(connect_ms(record) >= DELAY_MS - 5.0, "{record:?}");
    assert!(record.total_us / 1000.0 < 2.0 * DELAY_MS, "once only: {record:?}");
    assert_eq!(counters(&guardd, &fault, "delayed"), 1, "the SYN");
    clear(&guardd, &fault);

    let words = "--service api --for 120s --latency 600ms --per first_byte";
    let fault = inject(&guardd, RESEARCH, words);
    assert!(is_delayed(&good_calls(&mut kept, 1)[0]));
    let record = &good_calls(&mut fresh, 1)[0];
    assert!(is_delayed(record) && connect_ms(record) < DELAY_MS - 5.0, "{record:?}");
    // The requests; TCP may have sent one again meanwhile.
    assert!((2..=4).contains(&counters(&guardd, &fault, "delayed")));
    clear(&guardd, &fault);
}
