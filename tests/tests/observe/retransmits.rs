//! Retransmissions and round-trip times, where packets are lost.

use testbed::requires;

use crate::rig::{
    LIMIT, Metered, RESEARCH, WRITING, agent, counters, good_calls, inject, metric, pair, start,
    untouched, url,
};

#[test]
fn lost_segments_are_sent_again_and_counted() {
    if !requires::cgroups("lost_segments_are_sent_again_and_counted") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = url(server.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &target, &["--keep-alive"]);
    let mut calm = agent(&guardd, WRITING, &target, &["--keep-alive"]);
    good_calls(&mut kept, 20);
    let before = pair(&guardd, RESEARCH, "api");
    assert_eq!(before.retransmits, 0);
    assert!(before.rtt_seconds.unwrap() > 0.0, "{before:?}");

    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --loss 30% --seed 5");
    for _ in 0..30 {
        let record = kept.call(LIMIT).unwrap();
        assert!(record.is_ok(), "TCP heals the loss: {record:?}");
    }
    good_calls(&mut calm, 30);
    let seen = pair(&guardd, RESEARCH, "api");
    assert!(counters(&guardd, &fault, "dropped") > 0);
    assert!(seen.retransmits > 0, "{seen:?}");
    assert!(seen.rtt_seconds.unwrap() > 0.0);
    let labels = [r#"bulkhead="research""#, r#"destination="api""#];
    assert!(metric(&guardd, "guard_retransmits_total", &labels) >= seen.retransmits as f64);
    // The first of 50 calls over one connection, and every eighth after it. An answer that TCP
    // repeats, because its acknowledgement was lost, can be taken for one more.
    let samples = metric(&guardd, "guard_round_trip_samples_total", &labels);
    assert!((7.0..=10.0).contains(&samples), "{samples}");
    assert_eq!(pair(&guardd, WRITING, "api").retransmits, 0);
    untouched(&guardd, WRITING);
}
