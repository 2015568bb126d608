//! Asked against counted.

use super::*;
use crate::control::api::Held;

fn judged(asked: &FaultRequest, counters: FaultCounters) -> (Option<bool>, String) {
    judged_held(asked, counters, None)
}

fn judged_held(
    asked: &FaultRequest,
    counters: FaultCounters,
    held: Option<Held>,
) -> (Option<bool>, String) {
    let record = FaultRecord {
        id: 1,
        bulkhead: "research".into(),
        service: "github".into(),
        effect: "effect".into(),
        engine: "kernel".into(),
        state: "ended".into(),
        ended: "done".into(),
        remaining_seconds: 0.0,
        seed: 1,
        drill: None,
        counters,
        held,
        warnings: Vec::new(),
    };
    let proof = proof(asked, &record);
    (proof.met, proof.measured)
}

fn loss(percent: f64, dropped: u64, matched: u64) -> (Option<bool>, String) {
    judged(
        &FaultRequest { loss_percent: Some(percent), ..FaultRequest::default() },
        FaultCounters { matched, dropped, ..FaultCounters::default() },
    )
}

#[test]
fn a_share_is_compared_within_what_chance_allows() {
    assert_eq!(loss(2.0, 19, 1000).0, Some(true));
    assert_eq!(loss(2.0, 60, 1000).0, Some(false));
    assert_eq!(loss(2.0, 0, 1000).0, Some(false), "1000 packets do lose some of 2 %");
    assert_eq!(loss(2.0, 0, 10).0, None, "ten packets may well lose none");
    assert_eq!(loss(100.0, 10, 10).0, Some(true));
    assert_eq!(loss(100.0, 99, 100).0, Some(false), "one that passed is one too many");
    assert_eq!(loss(100.0, 50, 100).0, Some(false));
    let (met, measured) = loss(2.0, 0, 0);
    assert_eq!(met, None);
    assert_eq!(measured, "no traffic of research to github while it acted");
}

#[test]
fn all_of_any_number_is_all() {
    for n in 1..2_000 {
        assert_eq!(loss(100.0, n, n).0, Some(true), "{n} of {n}");
    }
}

#[test]
fn bursts_are_fewer_observations_than_packets() {
    let asked = |burst| FaultRequest {
        loss_percent: Some(5.0),
        loss_burst: Some(burst),
        ..FaultRequest::default()
    };
    let counters = FaultCounters { matched: 1000, dropped: 90, ..FaultCounters::default() };
    assert_eq!(judged(&asked(1.0), counters).0, Some(false));
    assert_eq!(judged(&asked(20.0), counters).0, Some(true));
}

#[test]
fn matches_that_a_rule_lets_pass_prove_nothing() {
    let asked = || FaultRequest { latency_seconds: Some(0.1), ..FaultRequest::default() };
    let monitor = FaultCounters { matched: 9, would_have: 9, ..FaultCounters::default() };
    let (met, measured) = judged(&asked(), monitor);
    assert_eq!((met, measured.contains("monitor mode")), (None, true));
    let late = FaultCounters { matched: 9, delayed: 7, expired: 2, ..FaultCounters::default() };
    assert_eq!(judged(&asked(), late).0, Some(true));
}

#[test]
fn a_thin_link_had_to_hold_something_and_let_no_more_pass() {
    let asked = FaultRequest {
        duration_seconds: 10.0,
        bandwidth_bits_per_second: Some(8_000_000),
        ..FaultRequest::default()
    };
    let counters =
        |bytes, delayed| FaultCounters { matched: 100, delayed, bytes, ..FaultCounters::default() };
    assert_eq!(judged(&asked, counters(19_000_000, 90)).0, Some(true), "10 s, 1 MB/s, both ways");
    assert_eq!(judged(&asked, counters(30_000_000, 90)).0, Some(false));
    assert_eq!(judged(&asked, counters(1_000, 0)).0, None, "it was never thin");
    let one_way = FaultRequest { direction: Some("egress".into()), ..asked };
    assert_eq!(judged(&one_way, counters(19_000_000, 90)).0, Some(false));
}

#[test]
fn drawn_calls_are_compared_with_their_share() {
    let asked = FaultRequest { reset_percent: Some(20.0), ..FaultRequest::default() };
    let counters = |chosen| FaultCounters {
        matched: 9,
        reset: 9,
        candidates: 100,
        chosen,
        ..FaultCounters::default()
    };
    let (met, text) = judged(&asked, counters(22));
    assert_eq!((met, text.ends_with("22 of 100 calls drawn, 20 % asked")), (Some(true), true));
    assert_eq!(judged(&asked, counters(80)).0, Some(false));
}

#[test]
fn the_time_that_packets_were_held_is_compared() {
    let asked = FaultRequest { latency_seconds: Some(0.1), ..FaultRequest::default() };
    let counters = FaultCounters { matched: 9, delayed: 9, ..FaultCounters::default() };
    let held = |p50_seconds, missed| {
        Some(Held { packets: 9, missed, p50_seconds, p95_seconds: 0.2, p99_seconds: 0.3 })
    };
    let (met, text) = judged_held(&asked, counters, held(0.1001, 0));
    assert_eq!(met, Some(true));
    assert!(text.ends_with("held for 100.1/200.0/300.0 ms (p50/p95/p99)"), "{text}");
    assert_eq!(judged_held(&asked, counters, held(0.15, 0)).0, Some(false));
    assert_eq!(judged_held(&asked, counters, held(0.1, 3)).0, Some(false), "some passed at once");
    let jitter = FaultRequest { jitter_seconds: Some(0.05), ..asked };
    assert_eq!(judged_held(&jitter, counters, held(0.15, 0)).0, Some(true));
}
