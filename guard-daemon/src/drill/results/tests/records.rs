//! Records as a drill makes them: one of each ending.

use std::time::Duration;

use crate::control::api::{FaultCounters, FaultRecord, FaultRequest};
use crate::drill::record::{
    Check, Cleanup, Collateral, Moment, PairSample, Plan, PlannedFault, Proof, Sample, Status,
    Verdict,
};
use crate::drill::spec::{Abort, Condition, Pairs, Phase, Probe, SteadyState};
use crate::drill::{Drill, Record};

/// Names that break whatever does not expect them.
pub(super) const HOSTILE: &str =
    "a<b> & \"c\" | 'd'\n# e ```\u{1b}[31m ]]> %s {{x}} \u{ffff} caf\u{e9}";

/// Every kind of record.
pub(in crate::drill::results) fn all() -> Vec<(&'static str, Record)> {
    vec![
        ("held", held()),
        ("deviated", deviated()),
        ("inconclusive", inconclusive()),
        ("interrupted", interrupted()),
        ("aborted", aborted()),
        ("failed", failed()),
        ("daemon gone", daemon_gone()),
        ("empty", empty()),
        ("hostile", hostile()),
    ]
}

fn pairs() -> Pairs {
    Pairs { bulkhead: "research".into(), service: Some("github".into()) }
}

fn state(name: &str, probe: Probe) -> SteadyState {
    SteadyState { name: name.into(), when: vec![Phase::Before, Phase::During], probe }
}

fn drill() -> Drill {
    let seconds = Duration::from_secs;
    let fault = FaultRequest {
        bulkhead: "research".into(),
        service: Some("github".into()),
        duration_seconds: 30.0,
        ..FaultRequest::default()
    };
    Drill {
        name: "github-brownout".into(),
        purpose: "weekly drill; owner: sre".into(),
        before: seconds(5),
        duration: seconds(30),
        after: seconds(25),
        seed: Some(42),
        faults: vec![
            FaultRequest {
                latency_seconds: Some(0.3),
                jitter_seconds: Some(0.05),
                distribution: Some("normal".into()),
                ..fault.clone()
            },
            FaultRequest { loss_percent: Some(2.0), loss_burst: Some(4.0), ..fault },
        ],
        steady_state: vec![
            state(
                "writing success rate",
                Probe::SuccessRate { pairs: pairs(), at_least: 0.95, min_calls: 20 },
            ),
            state(
                "research/github opens",
                Probe::Breaker {
                    bulkhead: "research".into(),
                    service: "github".into(),
                    state: "open".into(),
                },
            ),
            state(
                "latency",
                Probe::Latency {
                    pairs: pairs(),
                    quantile: 0.95,
                    at_most: Duration::from_millis(900),
                    min_calls: 20,
                },
            ),
            state(
                "health",
                Probe::Http {
                    url: "http://127.0.0.1:8080/health".into(),
                    status: 200,
                    timeout: seconds(2),
                },
            ),
            state(
                "self-test",
                Probe::Command {
                    argv: vec!["/usr/bin/true".into(), "--fast".into()],
                    exit_code: 0,
                    timeout: seconds(5),
                },
            ),
        ],
        abort: vec![Abort {
            condition: Condition::SuccessRate {
                pairs: Pairs { bulkhead: "writing".into(), service: None },
                success_rate_below: 0.5,
                min_calls: 20,
            },
            window: seconds(10),
        }],
    }
}

fn planned(effect: &str, engine: &str) -> PlannedFault {
    PlannedFault {
        bulkhead: "research".into(),
        cgroup: "/sys/fs/cgroup/agents/research".into(),
        pids: vec![4711, 4712],
        service: "github".into(),
        addresses: vec!["140.82.112.5".into(), "140.82.113.5".into()],
        effect: effect.into(),
        engine: engine.into(),
        start_seconds: 0.0,
        end_seconds: 30.0,
    }
}

/// Read from JSON, so that the optional fields of an answer stay optional here.
fn fault_record(effect: &str, counters: FaultCounters) -> FaultRecord {
    let record = serde_json::json!({
        "id": 7,
        "bulkhead": "research",
        "service": "github",
        "effect": effect,
        "engine": "nfqueue",
        "state": "ended",
        "ended": "done",
        "remaining_seconds": 0.0,
        "seed": 42,
        "counters": counters,
    });
    serde_json::from_value(record).unwrap()
}

fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.faults.push(planned("latency 300ms +-50ms normal", "nfqueue"));
    plan.faults.push(planned("loss 2% in bursts of 4", "kernel"));
    plan.protected.extend(["127.0.0.0/8".into(), "port 22 (ssh)".into()]);
    plan
}

fn proof(effect: &str, measured: &str, counters: FaultCounters) -> Proof {
    Proof {
        fault: fault_record(effect, counters),
        asked: effect.into(),
        measured: measured.into(),
        met: Some(true),
    }
}

fn check(name: &str, phase: Phase, met: Option<bool>, measured: &str, limit: &str) -> Check {
    Check {
        name: name.into(),
        phase,
        met,
        measured: measured.into(),
        limit: limit.into(),
        first_miss_seconds: (met == Some(false)).then_some(14.1),
    }
}

fn moment(seconds: f64, phase: Option<Phase>, what: &str) -> Moment {
    let time = format!("2026-11-23T17:20:{:02.0}.000000Z", seconds.min(59.0).floor());
    Moment { time, seconds, phase, what: what.into() }
}

fn samples() -> Vec<Sample> {
    let pair = |bulkhead: &str, service: &str, counts: [u64; 3], p95: f64, breaker: &str| {
        let [good, failed, rejected] = counts;
        PairSample {
            bulkhead: bulkhead.into(),
            service: service.into(),
            good,
            failed,
            rejected,
            p95_seconds: (good > 0).then_some(p95),
            breaker: breaker.into(),
        }
    };
    (1..=60)
        .map(|second| {
            let phase = match second {
                ..=5 => Phase::Before,
                6..=35 => Phase::During,
                _ => Phase::After,
            };
            let github = match second {
                6..=16 => pair("research", "github", [6, 2, 0], 0.7, "closed"),
                17..=35 => pair("research", "github", [0, 0, 6], 0.0, "open"),
                36..=39 => pair("research", "github", [0, 0, 0], 0.0, "half_open"),
                _ => pair("research", "github", [8, 0, 0], 0.02, "closed"),
            };
            let writing = pair("writing", "api", [50, second % 9 / 8, 0], 0.05, "closed");
            Sample { seconds: second as f64, phase, pairs: vec![github, writing] }
        })
        .collect()
}

/// Everything that should hold held, with every part filled.
pub(in crate::drill::results) fn held() -> Record {
    let latency = "latency 300ms +-50ms normal";
    let loss = "loss 2% in bursts of 4";
    let rate = |phase, measured| {
        check("writing success rate", phase, Some(true), measured, "at least 95 %")
    };
    Record {
        schema: "guard.drill/1".into(),
        run_id: "01JD8QK3".into(),
        guard_version: "0.1.0".into(),
        host: "web-7".into(),
        kernel: "6.12.9".into(),
        file: "drills/github-brownout.toml".into(),
        text: "name = \"github-brownout\"\nduration = \"30s\"\n".into(),
        drill: drill(),
        seed: 42,
        plan: plan(),
        start: "2026-11-23T17:20:00.5Z".into(),
        end: "2026-11-23T17:21:00.8Z".into(),
        seconds: 60.3,
        status: Status::Completed,
        verdict: Verdict::Held,
        exit_code: 0,
        why: "every steady state held".into(),
        checks: vec![
            rate(Phase::Before, "99.6 % of 250 calls"),
            rate(Phase::During, "99.1 % of 1510 calls"),
            rate(Phase::After, "99.5 % of 1260 calls"),
            check("research/github opens", Phase::During, Some(true), "open at +17.0 s", "open"),
        ],
        proof: vec![
            proof(
                latency,
                "p50 301.2 p95 383.0 ms of 1190 packets",
                FaultCounters { matched: 1190, delayed: 1190, ..FaultCounters::default() },
            ),
            proof(
                loss,
                "1.98 % of 1190 packets (95 %: 1.3 to 2.9)",
                FaultCounters { matched: 1190, dropped: 24, ..FaultCounters::default() },
            ),
        ],
        collateral: vec![Collateral { bulkhead: "writing".into(), touched: 0, calls: 88_412 }],
        cleanup: Cleanup { complete: Some(true), left_over: Vec::new(), seconds: 1.1 },
        timeline: vec![
            moment(0.0, None, "plan: 2 faults on research/github"),
            moment(0.1, Some(Phase::Before), "steady state is watched"),
            moment(5.2, Some(Phase::During), "fault 7 injected"),
            moment(17.0, Some(Phase::During), "breaker research/github opened"),
            moment(35.2, Some(Phase::After), "faults ended"),
            moment(60.3, None, "the host is as before"),
        ],
        samples: samples(),
    }
}

/// A steady state was missed.
pub(in crate::drill::results) fn deviated() -> Record {
    let mut record = held();
    record.verdict = Verdict::Deviated;
    record.exit_code = 1;
    record.why =
        "writing success rate was 93.8 % during the faults, at least 95 % was asked".into();
    record.checks[1].met = Some(false);
    record.checks[1].measured = "93.8 % of 1510 calls".into();
    record.checks[1].first_miss_seconds = Some(14.1);
    record
}

/// No traffic matched.
pub(in crate::drill::results) fn inconclusive() -> Record {
    let mut record = held();
    record.verdict = Verdict::Inconclusive;
    record.exit_code = 5;
    record.why = "no packet matched: 12 connections were idle".into();
    record.checks[1].met = None;
    record.checks[1].measured = "3 calls, 20 are needed".into();
    for proof in &mut record.proof {
        proof.met = None;
        proof.measured = "no packet matched".into();
        proof.fault.counters = FaultCounters::default();
        proof.fault.warnings = vec!["12 connections were open before: idle".into()];
    }
    record
}

/// Ctrl-C, and something stayed.
pub(in crate::drill::results) fn interrupted() -> Record {
    let mut record = held();
    record.status = Status::Interrupted;
    record.verdict = Verdict::Inconclusive;
    record.exit_code = 3;
    record.why = "interrupted by SIGINT in the middle of the faults".into();
    record.checks.truncate(1);
    record.seconds = 20.0;
    record.end = "2026-11-23T17:20:20.5Z".into();
    record.samples.truncate(20);
    record.timeline.truncate(3);
    record.collateral[0].touched = 2;
    record.cleanup = Cleanup {
        complete: Some(false),
        left_over: vec!["nftables chain guard/delay_7".into(), "qdisc fq on eth0".into()],
        seconds: 4.0,
    };
    record
}

/// An abort condition ended it.
pub(in crate::drill::results) fn aborted() -> Record {
    let mut record = deviated();
    record.status = Status::Aborted;
    record.why = "less than 50 % of writing succeeded for 10 s".into();
    record
}

/// The second fault could not be injected.
pub(in crate::drill::results) fn failed() -> Record {
    let mut record = held();
    record.status = Status::Failed;
    record.verdict = Verdict::Inconclusive;
    record.exit_code = 5;
    record.why = "loss cannot be injected: halted".into();
    record.checks.truncate(1);
    record.proof.truncate(1);
    record
}

/// guardd died under it.
pub(in crate::drill::results) fn daemon_gone() -> Record {
    let mut record = interrupted();
    record.exit_code = 5;
    record.cleanup = Cleanup::default();
    record
}

/// It did not come to anything.
pub(in crate::drill::results) fn empty() -> Record {
    let mut record = held();
    record.drill.purpose = String::new();
    record.drill.steady_state.clear();
    record.drill.faults.clear();
    record.drill.abort.clear();
    record.text = String::new();
    record.plan = Plan::default();
    record.seconds = 0.0;
    record.end.clone_from(&record.start);
    record.status = Status::Failed;
    record.verdict = Verdict::Inconclusive;
    record.exit_code = 5;
    record.why = "no guardd answers".into();
    record.checks.clear();
    record.proof.clear();
    record.collateral.clear();
    record.cleanup = Cleanup::default();
    record.timeline.clear();
    record.samples.clear();
    record
}

/// Every text is one that breaks formats, and every number that can is none.
pub(in crate::drill::results) fn hostile() -> Record {
    let mut record = deviated();
    let bad = || HOSTILE.to_owned();
    record.host = bad();
    record.kernel = bad();
    record.file = bad();
    record.text = bad();
    record.why = bad();
    record.seconds = f64::INFINITY;
    record.drill.name = bad();
    record.drill.purpose = format!("- [{HOSTILE}]: {HOSTILE}:");
    record.drill.steady_state.truncate(1);
    record.drill.steady_state[0].name = bad();
    for check in &mut record.checks {
        (check.name, check.measured, check.limit) = (bad(), bad(), bad());
        check.first_miss_seconds = Some(f64::NAN);
    }
    for fault in &mut record.plan.faults {
        (fault.bulkhead, fault.service, fault.effect) = (bad(), bad(), bad());
        (fault.addresses, fault.cgroup) = (vec![bad()], bad());
        fault.end_seconds = f64::NAN;
    }
    record.plan.protected = vec![bad()];
    for proof in &mut record.proof {
        (proof.asked, proof.measured, proof.met) = (bad(), bad(), Some(false));
        (proof.fault.effect, proof.fault.warnings) = (bad(), vec![bad()]);
    }
    record.collateral[0].bulkhead = bad();
    record.cleanup.complete = Some(false);
    record.cleanup.left_over = vec![bad()];
    record.timeline[3].what = bad();
    for (at, sample) in record.samples.iter_mut().enumerate() {
        sample.pairs[0].bulkhead = bad();
        sample.pairs[1].good = u64::MAX;
        sample.pairs[1].failed = u64::MAX;
        sample.pairs[1].breaker = bad();
        if at == 3 {
            sample.pairs[0].p95_seconds = Some(f64::INFINITY);
            sample.seconds = f64::NAN;
        }
    }
    record
}
