use super::super::plain;
use super::*;

fn fault(id: u64) -> FaultRecord {
    FaultRecord {
        id,
        bulkhead: "research".into(),
        service: "github".into(),
        effect: "latency 300ms +-50ms".into(),
        engine: "nfqueue".into(),
        state: "active".into(),
        ended: String::new(),
        remaining_seconds: 30.0,
        seed: 42,
        drill: None,
        counters: FaultCounters::default(),
        held: None,
        warnings: vec![],
    }
}

fn faults(faults: Vec<FaultRecord>, halted: Option<&str>) -> Faults {
    Faults { schema: "guard.faults/1".into(), faults, halted: halted.map(Into::into) }
}

fn cleared(id: u64) -> FaultRecord {
    FaultRecord {
        state: "ended".into(),
        ended: "cleared".into(),
        remaining_seconds: 0.0,
        counters: FaultCounters { matched: 1190, delayed: 1190, ..FaultCounters::default() },
        ..fault(id)
    }
}

fn now() -> Timestamp {
    "2026-01-02T23:59:50Z".parse().unwrap()
}

#[test]
fn started() {
    insta::assert_snapshot!(fault_started(&fault(3), 0.0, now(), &plain()), @"
    fault 3  latency 300ms +-50ms  on research/github   engine nfqueue   seed 42
    ends by itself in 30s (at 00:00:20Z), also if guardd dies before
    to end it now: guardctl fault clear 3
    ");
}

#[test]
fn scheduled_with_a_warning() {
    let fault = FaultRecord {
        state: "scheduled".into(),
        remaining_seconds: 35.0,
        held: None,
        warnings: vec!["2 processes of research are in another network namespace, which the engine does not reach".into()],
        ..fault(3)
    };
    insta::assert_snapshot!(fault_started(&fault, 5.0, now(), &plain()), @"
    fault 3  latency 300ms +-50ms  on research/github   engine nfqueue   seed 42
    begins in 5.0s, ends by itself in 35s (at 00:00:25Z), also if guardd dies before
    to end it now: guardctl fault clear 3
    ! 2 processes of research are in another network namespace, which the engine does not reach
    ");
}

#[test]
fn waited_for() {
    insta::assert_snapshot!(fault_ended(&cleared(3), 1, &plain()), @"
    fault 3  cleared   delayed 1 190 of 1 190
    exit 1
    ");
    insta::assert_snapshot!(fault_ended(&FaultRecord { ended: "done".into(), ..fault(4) }, 5, &plain()), @"
    fault 4  done   no traffic
    inconclusive: it touched no traffic, so this proves nothing
    exit 5
    ");
}

#[test]
fn list() {
    let refusing = FaultRecord {
        id: 12,
        bulkhead: "a-bulkhead-with-a-rather-long-name".into(),
        service: "*".into(),
        effect: "refuse 100% ECONNREFUSED".into(),
        engine: "kernel".into(),
        counters: FaultCounters {
            matched: 96,
            refused: 90,
            protected: 6,
            ..FaultCounters::default()
        },
        ..fault(12)
    };
    let text = fault_list(&faults(vec![cleared(3), fault(4), refusing], None), &plain());
    insta::assert_snapshot!(text, @"
    ID  STATE    LEFT  TARGET                EFFECT                    DID
     3  cleared     -  research/github       latency 300ms +-50ms      delayed 1 190 of 1 190
     4  active    30s  research/github       latency 300ms +-50ms      no traffic
    12  active    30s  a-bulkhead-with-a...  refuse 100% ECONNREFUSED  refused 90 of 96, protected 6
    ");
    for line in text.lines() {
        assert!(line.chars().count() <= 96, "{line}");
    }
}

#[test]
fn list_of_none() {
    assert_eq!(fault_list(&faults(vec![], None), &plain()), "no faults\n");
    insta::assert_snapshot!(fault_list(&faults(vec![], Some("real incident")), &plain()), @"
    no faults
    ! halted: real incident; no new faults until: guardctl resume
    ");
}

#[test]
fn cleared_and_halted() {
    insta::assert_snapshot!(faults_cleared(&faults(vec![cleared(3)], None), &plain()), @"
    cleared 3  research/github  latency 300ms +-50ms   delayed 1 190 of 1 190
    ");
    assert_eq!(faults_cleared(&faults(vec![], None), &plain()), "no faults to clear\n");
    insta::assert_snapshot!(halted(&faults(vec![cleared(3)], Some("x")), &plain()), @"
    cleared 3  research/github  latency 300ms +-50ms   delayed 1 190 of 1 190
    halted, 1 fault ended
    new faults are refused until: guardctl resume
    ");
}
