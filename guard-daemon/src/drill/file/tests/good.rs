//! Right files and what becomes of them.

use std::time::Duration;

use super::*;
use crate::control::api::FaultRequest;
use crate::drill::spec::{Abort, Condition, Phase, Probe, Query, SteadyState};

const SECOND: Duration = Duration::from_secs(1);

fn of(bulkhead: &str, service: Option<&str>) -> Pairs {
    Pairs { bulkhead: bulkhead.into(), service: service.map(str::to_owned) }
}

#[test]
fn a_small_drill_is_filled_with_defaults() {
    let loaded = loaded(SMALL);
    let drill = loaded.drill;
    assert_eq!((drill.name.as_str(), drill.purpose.as_str()), ("a", ""));
    assert_eq!((drill.before, drill.duration, drill.after), (5 * SECOND, 60 * SECOND, 15 * SECOND));
    assert_eq!((drill.seed, drill.abort), (None, vec![]));
    let fault = FaultRequest {
        bulkhead: "research".into(),
        service: Some("github".into()),
        duration_seconds: 60.0,
        loss_percent: Some(2.0),
        ..FaultRequest::default()
    };
    assert_eq!(drill.faults, [fault]);
    let state = SteadyState {
        name: "writing success rate".into(),
        when: vec![Phase::Before, Phase::During, Phase::After],
        probe: Probe::SuccessRate { pairs: of("writing", None), at_least: 0.95, min_calls: 1 },
    };
    assert_eq!(drill.steady_state, [state]);
    assert_eq!((loaded.text.as_str(), loaded.warnings.len()), (SMALL, 0));
}

#[test]
fn every_value_of_the_whole_arrives() {
    let top =
        "purpose = \"to see\"\nbefore = \"0s\"\nafter = \"250ms\"\nseed = 9223372036854775807\n";
    let abort = "[[abort]]\nbulkhead = \"writing\"\nsuccess_rate_below = 0.5\n[[abort]]\n\
                 bulkhead = \"b\"\nservice = \"other\"\nsuccess_rate_below = 1\nfor = \"1s\"\n\
                 min_calls = 2\n";
    let drill = drill(&format!("{top}{SMALL}{abort}"));
    assert_eq!(drill.purpose, "to see");
    assert_eq!((drill.before, drill.after), (Duration::ZERO, SECOND / 4));
    assert_eq!(drill.seed, Some(i64::MAX as u64));
    let wanted = [
        Abort {
            condition: Condition::SuccessRate {
                pairs: of("writing", None),
                success_rate_below: 0.5,
                min_calls: 5,
            },
            window: 10 * SECOND,
        },
        Abort {
            condition: Condition::SuccessRate {
                pairs: of("b", Some("other")),
                success_rate_below: 1.0,
                min_calls: 2,
            },
            window: SECOND,
        },
    ];
    assert_eq!(drill.abort, wanted);
}

#[test]
fn an_abort_condition_may_be_a_number_of_prometheus() {
    let text = format!("{SMALL}[[abort]]\npromql = \"up\"\nbelow = 1\nfor = \"3s\"\n");
    let query = Query {
        prometheus: "http://127.0.0.1:9090".into(),
        promql: "up".into(),
        timeout: 5 * SECOND,
    };
    let condition = Condition::Promql { query, below: Some(1.0), above: None };
    assert_eq!(drill(&text).abort, [Abort { condition, window: 3 * SECOND }]);
}

/// The faults of a drill of one minute with these lines in its `[[fault]]`.
fn faults(lines: &str) -> Vec<FaultRequest> {
    let faults = drill(&SMALL.replace("loss = { percent = 2 }", lines)).faults;
    let plain = |fault: FaultRequest| FaultRequest {
        bulkhead: String::new(),
        service: None,
        duration_seconds: 0.0,
        ..fault
    };
    assert!(
        faults.iter().all(|f| f.bulkhead == "research" && f.service.as_deref() == Some("github"))
    );
    faults.into_iter().map(plain).collect()
}

#[test]
fn each_effect_is_a_request_of_its_own() {
    let none = FaultRequest::default;
    let delay = FaultRequest { latency_seconds: Some(0.3), ..none() };
    assert_eq!(faults("latency = { delay = \"300ms\" }"), std::slice::from_ref(&delay));
    assert_eq!(
        faults("latency = { delay = \"300ms\", jitter = \"0s\" }"),
        std::slice::from_ref(&delay)
    );
    let spread = FaultRequest { jitter_seconds: Some(0.3), ..delay.clone() };
    assert_eq!(
        faults("latency = { delay = \"300ms\", jitter = \"300ms\" }"),
        std::slice::from_ref(&spread)
    );
    let pareto = FaultRequest { distribution: Some("pareto".into()), ..spread };
    let line = "latency = { delay = \"300ms\", jitter = \"300ms\", distribution = \"pareto\" }";
    assert_eq!(faults(line), [pareto]);
    let loss =
        |percent, burst| FaultRequest { loss_percent: Some(percent), loss_burst: burst, ..none() };
    assert_eq!(faults("loss = { percent = 0.5 }"), [loss(0.5, None)]);
    assert_eq!(faults("loss = { percent = 5, burst = 4 }"), [loss(5.0, Some(4.0))]);
    assert_eq!(faults("blackhole = true"), [loss(100.0, None)]);
    assert_eq!(faults("blackhole = false\nloss.percent = 1"), [loss(1.0, None)]);
    let refuse = |percent, errno: &str| FaultRequest {
        refuse_percent: Some(percent),
        errno: Some(errno.into()),
        ..none()
    };
    assert_eq!(faults("refuse = {}"), [refuse(100.0, "ECONNREFUSED")]);
    let all = "refuse = { percent = 10, errno = \"EHOSTUNREACH\" }\nloss.percent = 1\n\
               latency.delay = \"300ms\"";
    assert_eq!(faults(all), [delay, loss(1.0, None), refuse(10.0, "EHOSTUNREACH")]);
}

#[test]
fn a_fault_has_a_time_of_its_own() {
    let times = |lines: &str| {
        let lines = format!("loss = {{ percent = 2 }}\n{lines}");
        let drill = drill(&SMALL.replace("loss = { percent = 2 }", &lines));
        let fault = drill.faults.first().unwrap().clone();
        (fault.start_after_seconds, fault.duration_seconds)
    };
    assert_eq!(times(""), (0.0, 60.0));
    assert_eq!(times("start = \"10s\""), (10.0, 50.0));
    assert_eq!(times("duration = \"500ms\""), (0.0, 0.5));
    assert_eq!(times("start = \"59s\"\nduration = \"1s\""), (59.0, 1.0));
}

#[test]
fn every_effect_of_a_fault_pulses() {
    let lines = "loss = { percent = 2 }\nrefuse = {}\npulse = { on = \"500ms\", off = \"10s\" }";
    let drill = drill(&SMALL.replace("loss = { percent = 2 }", lines));
    let pulses: Vec<_> =
        drill.faults.iter().map(|f| (f.pulse_on_seconds, f.pulse_off_seconds)).collect();
    assert_eq!(pulses, [(Some(0.5), Some(10.0)); 2]);
}

#[test]
fn every_service_is_meant_only_if_the_file_says_so() {
    let text = SMALL.replace("service = \"github\"", "unsafe = true");
    let fault = drill(&text).faults.first().unwrap().clone();
    assert_eq!((fault.service, fault.unsafe_all), (None, true));
}

/// The probe of a `[[steady_state]]` with these lines, its name, and when it must hold.
fn state(lines: &str) -> SteadyState {
    let text = format!("{SMALL}[[steady_state]]\n{lines}\n");
    drill(&text).steady_state.last().unwrap().clone()
}

#[test]
fn every_probe_arrives_and_gets_a_name() {
    let rate = state("bulkhead = \"b\"\nservice = \"s\"\nmin_calls = 7\nsuccess_rate_at_least = 1");
    let pairs = of("b", Some("s"));
    let wanted = Probe::SuccessRate { pairs: pairs.clone(), at_least: 1.0, min_calls: 7 };
    assert_eq!((rate.name.as_str(), rate.probe), ("b/s success rate", wanted));
    let slow = state("bulkhead = \"b\"\nlatency_at_most = \"800ms\"");
    let at_most = Duration::from_millis(800);
    let wanted = Probe::Latency { pairs: of("b", None), quantile: 0.95, at_most, min_calls: 1 };
    assert_eq!((slow.name.as_str(), slow.probe), ("b p95", wanted));
    let slow = "bulkhead = \"b\"\nlatency_at_most = \"1s\"\nquantile = ";
    assert_eq!(state(&format!("{slow}0.999")).name, "b p99.9");
    assert_eq!(state(&format!("{slow}0.07")).name, "b p7");
    let breaker =
        state("bulkhead = \"b\"\nservice = \"s\"\nbreaker = \"half_open\"\nwhen = [\"after\"]");
    assert_eq!(
        (breaker.name.as_str(), breaker.when),
        ("b/s breaker half_open", vec![Phase::After])
    );
    let http = state("http = \"http://[::1]:8080/healthz?a=b\"\nwhen = [\"after\", \"before\"]");
    let url = "http://[::1]:8080/healthz?a=b".to_owned();
    assert_eq!(http.name, format!("http {url}"));
    assert_eq!(http.when, [Phase::Before, Phase::After]);
    assert_eq!(http.probe, Probe::Http { url, status: 200, timeout: 2 * SECOND });
    let url = "http://a.example".to_owned();
    let http = state("http = \"http://a.example\"\nstatus = 404\ntimeout = \"1m\"");
    assert_eq!(http.probe, Probe::Http { url, status: 404, timeout: 60 * SECOND });
    let asked = |prometheus: &str, timeout| Query {
        prometheus: prometheus.into(),
        promql: "up{a='b'}".into(),
        timeout,
    };
    let promql = state("promql = \"up{a='b'}\"\nat_least = 1");
    let query = asked("http://127.0.0.1:9090", 5 * SECOND);
    let wanted = Probe::Promql { query, at_least: Some(1.0), at_most: None };
    assert_eq!((promql.name.as_str(), promql.probe), ("promql up{a='b'}", wanted));
    let promql = state(
        "promql = \"up{a='b'}\"\nat_least = -1\nat_most = -0.5\ntimeout = \"1s\"\n\
         prometheus = \"http://a/b/\"",
    );
    let query = asked("http://a/b", SECOND);
    assert_eq!(promql.probe, Probe::Promql { query, at_least: Some(-1.0), at_most: Some(-0.5) });
    let command = state("name = \"it works\"\ncommand = [\"/bin/sh\", \"-c\", \"true\"]");
    let argv = ["/bin/sh", "-c", "true"].map(str::to_owned).to_vec();
    let wanted = Probe::Command { argv, exit_code: 0, timeout: 5 * SECOND };
    assert_eq!((command.name.as_str(), command.probe), ("it works", wanted));
    let command = state("command = [\"/bin/false\"]\nexit_code = 255\ntimeout = \"10ms\"");
    let (argv, timeout) = (vec!["/bin/false".to_owned()], Duration::from_millis(10));
    assert_eq!(command.name, "command /bin/false");
    assert_eq!(command.probe, Probe::Command { argv, exit_code: 255, timeout });
}

#[test]
fn made_up_names_differ() {
    let same = "[[steady_state]]\nbulkhead = \"writing\"\nsuccess_rate_at_least = 0.5\n";
    let taken =
        "[[steady_state]]\nname = \"writing success rate 2\"\nhttp = \"http://a.example\"\n";
    let drill = drill(&format!("{SMALL}{same}{taken}{same}"));
    let names: Vec<&str> = drill.steady_state.iter().map(|s| s.name.as_str()).collect();
    let stem = "writing success rate";
    assert_eq!(names[0], stem);
    assert_eq!(names[1..], [format!("{stem} 3"), format!("{stem} 2"), format!("{stem} 4")]);
}

#[test]
fn the_kind_of_a_file_is_told_by_its_keys() {
    assert!(is_drill(SMALL) && is_drill("name = 5") && is_drill("[[fault]]\n= 5"));
    for not in ["", "daemon = 1", "[bulkheads.a]", "other = 1", "name = 1\n[services.a]"] {
        assert!(!is_drill(not), "{not}");
    }
}

#[test]
fn files_are_read_as_texts_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("drill.toml");
    let missing = load(&path).unwrap_err().to_string();
    assert!(missing.contains("start from one of configs/drills"), "{missing}");
    std::fs::write(&path, SMALL).unwrap();
    assert_eq!(load(&path).unwrap().drill, drill(SMALL));
    std::fs::write(&path, "name = \"\u{e9}\"\n").unwrap();
    let wrong = load(&path).unwrap_err().to_string();
    assert!(wrong.contains("drill.toml:1:8: error: `name` is not a valid name"), "{wrong}");
}
