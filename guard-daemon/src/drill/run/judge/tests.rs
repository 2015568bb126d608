//! Steady states and abort conditions over looks made by hand.

use super::super::super::spec::Pairs;
use super::*;
use crate::control::api::{BreakerRecord, Status};

/// One look: at this second, calls that succeeded and failed until then, and the breaker's state.
fn look(seconds: u64, good: u64, failed: u64, breaker: &str) -> Look {
    let text = format!(
        r#"{{"schema":"","version":"","pid":1,"uptime_seconds":1.0,"mode":"enforce","health":"ok",
        "problems":[],"config_path":"","config_age_seconds":1.0,"cgroup_root":"",
        "delay_engine":"none","faults":[],"events_lost":0,"bulkheads":[{{"name":"writing",
        "cgroup":"","state":"attached","processes":1,"connections":0,"services":[{{"name":"api",
        "connections":0,"connects":0,"connects_established":0,
        "calls":{{"success":{good},"reset":{failed}}},"calls_injected":{{}},"sent_bytes":0,
        "received_bytes":0,"retransmits":0,"faulted":0,"would_have":0,
        "call_buckets":[0,0,0,0,0,0,0,0,{good}]}}]}}]}}"#
    );
    let status: Status = serde_json::from_str(&text).unwrap();
    let breaker = BreakerRecord {
        bulkhead: "writing".into(),
        service: "api".into(),
        state: breaker.to_owned(),
        ..BreakerRecord::default()
    };
    Look::new(Duration::from_secs(seconds), &status, &[breaker])
}

fn state(probe: Probe) -> SteadyState {
    let when = vec![Phase::Before, Phase::During, Phase::After];
    SteadyState { name: "it".into(), when, probe }
}

fn pairs() -> Pairs {
    Pairs { bulkhead: "writing".into(), service: None }
}

fn rate(at_least: f64, min_calls: u64) -> SteadyState {
    state(Probe::SuccessRate { pairs: pairs(), at_least, min_calls })
}

#[test]
fn a_rate_is_judged_over_the_phase_and_its_first_miss_is_found() {
    let looks = [
        look(10, 100, 50, ""),
        look(11, 110, 50, ""),
        look(12, 110, 55, ""),
        look(13, 135, 55, ""),
    ];
    let check =
        |state: &SteadyState, looks: &[Look]| check(state, Phase::During, Looks(looks), None);
    let good = check(&rate(0.8, 1), &looks);
    assert_eq!((good.met, good.measured.as_str()), (Some(true), "87.5 % of 40 calls"));
    assert_eq!((good.limit.as_str(), good.first_miss_seconds), ("at least 80.0 %", None));
    let bad = check(&rate(0.9, 1), &looks);
    assert_eq!((bad.met, bad.first_miss_seconds), (Some(false), Some(12.0)));
    let few = check(&rate(0.9, 41), &looks);
    assert_eq!((few.met, few.measured.as_str()), (None, "40 calls, 41 are needed"));
    assert_eq!(check(&rate(0.5, 1), &looks[..1]).met, None, "one look shows no call");
}

#[test]
fn a_quantile_of_the_phase() {
    let looks = [look(1, 100, 0, ""), look(2, 200, 0, "")];
    let latency = |at_most_ms| {
        state(Probe::Latency {
            pairs: pairs(),
            quantile: 0.95,
            at_most: Duration::from_millis(at_most_ms),
            min_calls: 1,
        })
    };
    let met = |at_most_ms| check(&latency(at_most_ms), Phase::During, Looks(&looks), None).met;
    assert_eq!((met(100_000), met(1)), (Some(true), Some(false)));
}

#[test]
fn a_breaker_at_any_look_during_the_faults_and_at_the_last_one_else() {
    let looks = [look(1, 0, 0, "closed"), look(2, 0, 0, "open"), look(3, 0, 0, "half_open")];
    let probe = |service: &str| Probe::Breaker {
        bulkhead: "writing".into(),
        service: service.into(),
        state: "open".into(),
    };
    let during = check(&state(probe("api")), Phase::During, Looks(&looks), None);
    let seen = "closed, open, half_open";
    assert_eq!((during.met, during.measured.as_str()), (Some(true), seen));
    let after = check(&state(probe("api")), Phase::After, Looks(&looks), None);
    assert_eq!((after.met, after.measured.as_str()), (Some(false), "half_open"));
    assert_eq!(check(&state(probe("none")), Phase::After, Looks(&looks), None).met, None);
}

#[test]
fn tries_count_all_during_the_faults_and_the_last_one_else() {
    let tries = Tries {
        count: 9,
        last: Some((Some(true), "exit 0".into())),
        first_unknown: None,
        first_miss: Some((Duration::from_secs(4), "exit 1".into())),
    };
    let command = state(Probe::Command {
        argv: vec!["/bin/true".into()],
        exit_code: 0,
        timeout: Duration::from_secs(1),
    });
    let of = |phase| check(&command, phase, Looks(&[]), Some(&tries));
    let during = of(Phase::During);
    assert_eq!((during.met, during.first_miss_seconds), (Some(false), Some(4.0)));
    assert_eq!(during.measured, "exit 1 (one of 9 tries)");
    assert_eq!((of(Phase::Before).met, of(Phase::After).met), (Some(true), Some(true)));
    let none = check(&command, Phase::During, Looks(&[]), Some(&Tries::default()));
    assert_eq!((none.met, none.measured.as_str()), (None, "not tried"));
}

#[test]
fn an_abort_condition_needs_its_whole_window_and_enough_calls() {
    let condition = |min_calls| Abort {
        condition: Condition::SuccessRate { pairs: pairs(), success_rate_below: 0.5, min_calls },
        window: Duration::from_secs(2),
    };
    let looks: Vec<Look> = [(0, 100, 0), (1, 100, 4), (2, 101, 9), (3, 110, 9), (4, 120, 9)]
        .into_iter()
        .map(|(at, good, failed)| look(at, good, failed, ""))
        .collect();
    let fires = |end: usize, min_calls| abort(&condition(min_calls), Looks(&looks[..=end]));
    assert_eq!(fires(1, 1), None, "one second of two");
    assert_eq!(fires(2, 1).as_deref(), Some("writing success 10.0 % < 50.0 % for 2s (10 calls)"));
    assert_eq!(fires(2, 11), None, "too few calls");
    assert_eq!(fires(3, 1), None, "ten of fifteen");
    assert_eq!(fires(4, 1), None);
}

#[test]
fn a_share_is_never_rounded_up_to_somebodys_limit() {
    assert_eq!(percent(0.9996), "99.9 %");
    assert_eq!(percent(1.0), "100.0 %");
    assert_eq!(percent(0.95), "95.0 %");
    assert_eq!(percent(0.998), "99.8 %");
}

#[test]
fn a_try_that_cannot_be_told_shows_nothing() {
    let probe = state(Probe::Promql {
        query: crate::drill::spec::Query {
            prometheus: "http://127.0.0.1:9090".into(),
            promql: "up".into(),
            timeout: Duration::from_secs(1),
        },
        at_least: Some(0.5),
        at_most: None,
    });
    let mut tries = Tries {
        count: 3,
        last: Some((Some(true), "1".into())),
        first_miss: None,
        first_unknown: Some("no sample".into()),
    };
    let of = |phase, tries: &Tries| check(&probe, phase, Looks(&[]), Some(tries));
    let during = of(Phase::During, &tries);
    assert_eq!(during.met, None);
    assert_eq!(during.measured, "no sample (at one of 3 tries or more)");
    assert_eq!(during.limit, "at least 0.5");
    assert_eq!(of(Phase::After, &tries).met, Some(true), "the last one counts");
    tries.first_miss = Some((Duration::from_secs(2), "0.1".into()));
    assert_eq!(of(Phase::During, &tries).met, Some(false));
    tries.last = Some((None, "no sample".into()));
    assert_eq!(of(Phase::Before, &tries).met, None);
}
