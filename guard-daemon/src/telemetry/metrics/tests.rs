use super::*;

fn sample() -> Sample {
    let mut stats = PairStats { connects: 9, sent_bytes: 10, ..PairStats::default() };
    stats.calls[Outcome::Success as usize] = [7, 1];
    stats.calls[Outcome::Reset as usize] = [2, 0];
    stats.call_buckets[1] = 8;
    stats.call_ns = 4_000_000 * 8;
    stats.opened = 5;
    stats.closed = 3;
    let pair = PairSample { bulkhead: "research".into(), destination: "github".into(), stats };
    let schedule = ScheduleSample {
        schedule: "weekly".into(),
        next_unix_seconds: Some(1_800_000_000.0),
        runs: [("held", 2), ("deviated", 0), ("inconclusive", 0), ("failed", 1)],
    };
    Sample {
        schedules: vec![schedule],
        pairs: vec![pair],
        would_end: 0,
        orphans: vec![("research".into(), 3), ("writing".into(), 0)],
        bulkheads: vec![("research".into(), 2, true), ("writing".into(), 0, false)],
        reload_ok: true,
        scrapes: 1,
        ..Sample::default()
    }
}

#[test]
fn contract_names_and_zeros() {
    let text = render(sample()).unwrap();
    for line in [
        r#"guard_calls_total{bulkhead="research",destination="github",outcome="success",origin="real"} 7"#,
        r#"guard_calls_total{bulkhead="research",destination="github",outcome="success",origin="injected"} 1"#,
        r#"guard_calls_total{bulkhead="research",destination="github",outcome="refused",origin="real"} 0"#,
        r#"guard_connects_total{bulkhead="research",destination="github"} 9"#,
        r#"guard_sent_bytes_total{bulkhead="research",destination="github"} 10"#,
        r#"guard_call_seconds_count{bulkhead="research",destination="github"} 8"#,
        r#"guard_call_seconds_bucket{le="0.005",bulkhead="research",destination="github"} 8"#,
        r#"guard_call_seconds_bucket{le="+Inf",bulkhead="research",destination="github"} 8"#,
        r#"guard_bulkhead_connections{bulkhead="research"} 2"#,
        r#"guard_bulkhead_connections{bulkhead="writing"} 0"#,
        r#"guard_drill_schedule_next_seconds{schedule="weekly"} 1800000000"#,
        r#"guard_drill_runs_total{schedule="weekly",verdict="held"} 2"#,
        r#"guard_drill_runs_total{schedule="weekly",verdict="deviated"} 0"#,
        r#"guard_drill_runs_total{schedule="weekly",verdict="failed"} 1"#,
        "guard_events_lost_total 0",
        "guard_config_last_reload_successful 1",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}\nis missing in\n{text}");
    }
    assert!(!text.contains(r#"outcome="aborted""#), "what never happened and is no failure");
    assert!(text.ends_with("# EOF\n"));
}
