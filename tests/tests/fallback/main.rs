//! Fallbacks in the kernel: real agents, a service that fails, another server that answers instead.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::agent::{AgentProcess, Record};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};
use testbed::{requires, timing, wait};

#[path = "../rig/mod.rs"]
mod rig;

use rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker, breaker_config, calls_are, events_when,
    inject, metric, start_breakers, state_when, url,
};

mod families;
mod files;
mod life;
mod pools;

/// What the service answers, and its fallback.
const OF_SERVICE: u16 = 200;
const OF_FALLBACK: u16 = 404;
const OF_ANOTHER: u16 = 410;

/// A server that answers with this status.
fn server(at: &str, status: u16) -> Server {
    let at: SocketAddr = at.parse().unwrap();
    Server::start_with(&[at], &[], Behaviour::answer(status, 10)).unwrap()
}

/// Waits until the kernel has the fallback: guardd has found that it answers.
fn ready(guardd: &Guardd) {
    // What is tried at the start is in force a moment later; a breaker that opens before then
    // refuses as without.
    let tried = || metric(guardd, "guard_fallback_usable", &[r#"destination="api""#]) == 1.0;
    wait::until("a fallback that answers", LIMIT, tried).unwrap();
}

fn trip(guardd: &Guardd) {
    guardd.ctl_json(&["breaker", "trip", &format!("{RESEARCH}/api")]).unwrap();
}

fn reset(guardd: &Guardd) {
    guardd.ctl_json(&["breaker", "reset", &format!("{RESEARCH}/api")]).unwrap();
}

/// Status that a call gets.
fn status(agent: &mut AgentProcess) -> u16 {
    let record = agent.call(LIMIT).unwrap();
    let answered = status_of(&record);
    assert_ne!(answered, 0, "{record:?}");
    answered
}

/// Status of an answer; 0 if there was none.
fn status_of(record: &Record) -> u16 {
    match record.outcome.strip_prefix("http_") {
        Some(status) => status.parse().unwrap(),
        None if record.is_ok() => OF_SERVICE,
        None => 0,
    }
}

fn of_research(guardd: &Guardd, name: &str) -> f64 {
    metric(guardd, name, &[r#"bulkhead="research""#, r#"destination="api""#])
}

#[test]
fn an_open_breaker_sends_connects_to_the_fallback_and_a_probe_to_the_service() {
    if !requires::cgroups(
        "an_open_breaker_sends_connects_to_the_fallback_and_a_probe_to_the_service",
    ) {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let (address, instead) = (service.address().unwrap(), other.address().unwrap());
    let open = timing::at_most(Duration::from_millis(800));
    let guardd = start_breakers(
        address,
        &format!("fallback = \"{instead}\""),
        &format!("failure_threshold = 3\nopen_timeout = \"{}ms\"", open.as_millis()),
        "",
    );
    ready(&guardd);
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut neighbour = agent(&guardd, WRITING, &url(address), &[]);
    assert_eq!(status(&mut sick), OF_SERVICE);
    service.set(Behaviour::ResetAfterRequest);
    for _ in 0..3 {
        assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    let opened = Instant::now();
    for _ in 0..5 {
        assert_eq!(status(&mut sick), OF_FALLBACK);
    }
    assert!(opened.elapsed() < open, "{:?}", opened.elapsed());
    // The neighbour's own breaker is closed: it sees the failure itself.
    assert_eq!(neighbour.call(LIMIT).unwrap().outcome, "ECONNRESET");
    state_when(&guardd, RESEARCH, "open");
    assert_eq!(breaker(&guardd, RESEARCH)["rejected"], 0);
    assert_eq!(of_research(&guardd, "guard_fallback_connects_total"), 5.0);
    let answered = [r#"bulkhead="research""#, r#"result="answered""#];
    assert_eq!(metric(&guardd, "guard_fallback_calls_total", &answered), 5.0);
    assert_eq!(metric(&guardd, "guard_fallback_connects_total", &[r#"bulkhead="writing""#]), 0.0);
    // The first after the open time asks the service, and fails; the next is the fallback's again:
    // good answers of a fallback close nothing.
    std::thread::sleep((open + Duration::from_millis(50)).saturating_sub(opened.elapsed()));
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNRESET");
    let opened = Instant::now();
    assert_eq!(status(&mut sick), OF_FALLBACK);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "open");
    service.set(Behaviour::answer(OF_SERVICE, 10));
    std::thread::sleep((open + Duration::from_millis(50)).saturating_sub(opened.elapsed()));
    for _ in 0..3 {
        assert_eq!(status(&mut sick), OF_SERVICE);
    }
    state_when(&guardd, RESEARCH, "closed");
    calls_are(&guardd, RESEARCH, "api", &[("success", 4), ("reset", 4)]);
    let told = [events_when(&guardd, "fallback_on", 1), events_when(&guardd, "fallback_off", 1)];
    assert!(told.iter().flatten().all(|event| event["bulkhead"] == RESEARCH), "{told:?}");
    assert!(of_research(&guardd, "guard_fallback_seconds_total") > open.as_secs_f64());
    assert_eq!(of_research(&guardd, "guard_fallback_active"), 0.0);
    drop((sick, neighbour));
    guardd.finish().unwrap();
}

#[test]
fn a_dead_first_fallback_is_passed_over_and_without_any_calls_fail_fast() {
    if !requires::cgroups("a_dead_first_fallback_is_passed_over_and_without_any_calls_fail_fast") {
        return;
    }
    let service = server("127.0.0.1:0", OF_SERVICE);
    let (mut first, mut second) =
        (server("127.0.0.1:0", OF_ANOTHER), server("127.0.0.1:0", OF_FALLBACK));
    first.refuse();
    let address = service.address().unwrap();
    let list = [first.address().unwrap(), second.address().unwrap()];
    let guardd = start_breakers(
        address,
        &format!("fallback = [\"{}\", \"{}\"]\nfallback_check = \"500ms\"", list[0], list[1]),
        "open_timeout = \"10m\"",
        "",
    );
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&guardd);
    assert_eq!(status(&mut agent), OF_FALLBACK);
    first.listen().unwrap();
    wait::until("the first again", LIMIT, || status(&mut agent) == OF_ANOTHER).unwrap();
    first.refuse();
    second.refuse();
    events_when(&guardd, "fallback_down", 1);
    let refused = |agent: &mut AgentProcess| agent.call(LIMIT).unwrap().outcome == "ECONNREFUSED";
    wait::until("a refusal by the breaker", LIMIT, || {
        refused(&mut agent) && breaker(&guardd, RESEARCH)["rejected"].as_u64() > Some(0)
    })
    .unwrap();
    let begin = Instant::now();
    assert!(refused(&mut agent));
    assert!(begin.elapsed() < timing::at_most(Duration::from_millis(100)), "{:?}", begin.elapsed());
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_redirects_nothing() {
    if !requires::cgroups("monitor_mode_redirects_nothing") {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let line = format!("fallback = \"{}\"", other.address().unwrap());
    let config = breaker_config(address, &line, "open_timeout = \"10m\"", "");
    let guardd = Guardd::start(config.daemon("mode", "\"monitor\"")).unwrap();
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&guardd);
    for _ in 0..3 {
        assert_eq!(status(&mut agent), OF_SERVICE);
    }
    assert_eq!(of_research(&guardd, "guard_fallback_connects_total"), 0.0);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_fault_of_the_service_is_none_of_its_fallback() {
    if !requires::cgroups("a_fault_of_the_service_is_none_of_its_fallback") {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let line = format!("fallback = \"{}\"", other.address().unwrap());
    let breakers = "failure_threshold = 3\nopen_timeout = \"10m\"";
    let guardd = start_breakers(address, &line, breakers, "");
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    inject(&guardd, RESEARCH, "--service api --refuse 100% --for 60s");
    inject(&guardd, RESEARCH, "--service api --loss 100% --for 60s");
    for _ in 0..3 {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    }
    // A drill's faults open the breaker, and the fallback answers as it would for real ones.
    for _ in 0..5 {
        assert_eq!(status(&mut agent), OF_FALLBACK);
    }
    assert_eq!(of_research(&guardd, "guard_fallback_connects_total"), 5.0);
    assert_eq!(service.counts().requests, 0);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn calls_that_a_fallback_answers_are_no_retries() {
    if !requires::cgroups("calls_that_a_fallback_answers_are_no_retries") {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let line = format!("fallback = \"{}\"", other.address().unwrap());
    let breakers = "failure_threshold = 2\nopen_timeout = \"10m\"";
    let limit = "retries = { max = 2, window = \"10m\" }";
    let guardd = start_breakers(address, &line, breakers, limit);
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    service.set(Behaviour::ResetAfterRequest);
    for _ in 0..2 {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    for _ in 0..10 {
        assert_eq!(status(&mut agent), OF_FALLBACK);
    }
    let retries = [r#"bulkhead="research""#, r#"reason="retries""#];
    assert_eq!(metric(&guardd, "guard_bulkhead_rejected_total", &retries), 0.0);
    drop(agent);
    guardd.finish().unwrap();
}
