//! The gateway, end to end: real agents, whose connects the kernel sends to guardd, and services that
//! fail, stay away or hang.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server, ServerProcess};
use testbed::{requires, timing, wait};

#[path = "../rig/mod.rs"]
mod rig;

use rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker, breaker_config, calls_are, inject, metric,
    state_when, url,
};

mod faults;
mod life;
mod stale;

const DESTINATION: &str = r#"destination="api""#;

/// What a failing service answers.
const SICK: u16 = 503;

fn server() -> Server {
    Server::start_with(&["127.0.0.1:0".parse().unwrap()], &[], Behaviour::answer(200, 10)).unwrap()
}

/// Waits until the kernel sends calls to the gateway.
fn ready(guardd: &Guardd) {
    let usable = || metric(guardd, "guard_gateway_usable", &[DESTINATION]) == 1.0;
    wait::until("a gateway", LIMIT, usable).unwrap();
}

/// Requests that ended so.
fn requests(guardd: &Guardd, result: &str) -> f64 {
    let result = format!("result=\"{result}\"");
    metric(guardd, "guard_gateway_requests_total", &[DESTINATION, &result])
}

fn retries(guardd: &Guardd, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    metric(guardd, "guard_gateway_retries_total", &[DESTINATION, &reason])
}

fn outcome(agent: &mut AgentProcess) -> String {
    agent.call(LIMIT).unwrap().outcome
}

/// The policy that the gateway follows here: quicker than a person's patience.
const QUICK: &str = "[retry_policies.network_error]\nmax_retries = 5\nbackoff = \"exponential\"\n\
                     initial_delay = \"100ms\"\nmax_delay = \"1s\"\n";

/// A guardd with a gateway for `api` (`service` = more of its keys).
fn start(address: SocketAddr, service: &str, breaker: &str) -> Guardd {
    let guardd = Guardd::start(config(address, service, breaker)).unwrap();
    ready(&guardd);
    guardd
}

fn config(address: SocketAddr, service: &str, breaker: &str) -> GuarddConfig {
    breaker_config(address, &format!("gateway = true\n{service}\n{QUICK}"), breaker, "")
}

#[test]
fn each_kind_of_socket_goes_through_it_and_sees_the_service() {
    if !requires::cgroups("each_kind_of_socket_goes_through_it_and_sees_the_service") {
        return;
    }
    let at = ["127.0.0.1:0", "[::1]:0"].map(|at| at.parse().unwrap());
    let service = Server::start_with(&at, &[], Behaviour::answer(200, 10)).unwrap();
    let [four, six] = service.addresses()[..] else { panic!("two were asked for") };
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{four}\", \"{six}\"]\ngateway = true\n\
         [bulkheads.{RESEARCH}]\n"
    )))
    .unwrap();
    ready(&guardd);
    let mut probe = Probe::start(&guardd, RESEARCH);
    let mapped = format!("[::ffff:127.0.0.1]:{}", four.port());
    for (count, to) in (1..).zip([four.to_string(), six.to_string(), mapped]) {
        probe.must(&format!("tcp c {to}"));
        assert_eq!(probe.must("peername c")["peer"], to, "getpeername() shows what was asked for");
        probe.must("http c");
        probe.must("close c");
        assert_eq!(service.counts().requests, count, "{to}");
    }
    assert_eq!(requests(&guardd, "answered"), 3.0);
    calls_are(&guardd, RESEARCH, "api", &[("success", 3)]);
    drop(probe);
    guardd.finish().unwrap();
}

/// Clients and servers that speak HTTP/1.0 are judged like others.
#[test]
fn the_old_protocol_is_no_failure() {
    if !requires::cgroups("the_old_protocol_is_no_failure") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let guardd = start(address, "stale_if_error = \"1h\"", "failure_threshold = 1");
    let mut probe = Probe::start(&guardd, RESEARCH);
    for _ in 0..3 {
        probe.must(&format!("tcp c {address}"));
        assert_eq!(probe.must("http10 c")["status"], "http/1.0 200 ok");
        probe.must("close c");
    }
    drop(probe);
    calls_are(&guardd, RESEARCH, "api", &[("success", 3)]);
    guardd.finish().unwrap();
}

#[test]
fn what_fails_for_a_moment_is_tried_again_and_no_breaker_hears_of_it() {
    if !requires::cgroups("what_fails_for_a_moment_is_tried_again_and_no_breaker_hears_of_it") {
        return;
    }
    let mut service = server();
    let guardd = start(service.address().unwrap(), "", "failure_threshold = 1");
    let mut agent = agent(&guardd, RESEARCH, &url(service.address().unwrap()), &[]);
    assert_eq!(outcome(&mut agent), "ok");
    for (reason, fails) in
        [("broken", Behaviour::ResetAfterRequest), ("server_error", Behaviour::answer(SICK, 5))]
    {
        service.push(fails);
        assert_eq!(outcome(&mut agent), "ok", "{reason}");
        assert_eq!(retries(&guardd, reason), 1.0, "{reason}");
    }
    // Gone for a moment, as in a restart.
    service.refuse();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(150));
            service.listen().unwrap();
        });
        assert_eq!(outcome(&mut agent), "ok");
    });
    assert!(retries(&guardd, "connect") >= 1.0);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    calls_are(&guardd, RESEARCH, "api", &[("success", 4)]);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn what_stays_sick_opens_the_breaker_and_then_nobody_is_asked() {
    if !requires::cgroups("what_stays_sick_opens_the_breaker_and_then_nobody_is_asked") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let guardd = start(address, "", "failure_threshold = 2\nopen_timeout = \"10m\"");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    service.set(Behaviour::answer(SICK, 5));
    for _ in 0..2 {
        assert_eq!(outcome(&mut agent), format!("http_{SICK}"));
    }
    state_when(&guardd, RESEARCH, "open");
    let asked = service.counts().requests;
    let begin = Instant::now();
    assert_eq!(outcome(&mut agent), "ECONNREFUSED", "in the kernel, not by the gateway");
    assert!(begin.elapsed() < timing::at_most(Duration::from_millis(100)));
    assert_eq!(service.counts().requests, asked);
    assert_eq!(breaker(&guardd, RESEARCH)["rejected"], 1);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_call_that_hangs_ends_at_its_timeout_on_both_sides() {
    if !requires::cgroups("a_call_that_hangs_ends_at_its_timeout_on_both_sides") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let guardd = start(address, "call_timeout = \"500ms\"", "mode = \"off\"");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    service.set(Behaviour::Hang);
    let ended = outcome(&mut agent);
    assert!(ended != "ok" && ended.starts_with('E'), "{ended}");
    wait::until("no connection left", LIMIT, || {
        metric(&guardd, "guard_gateway_connections", &[DESTINATION]) == 0.0
            && service.counts().open == 0
    })
    .unwrap();
    calls_are(&guardd, RESEARCH, "api", &[("response_timeout", 1)]);
    drop(agent);
    guardd.finish().unwrap();
}
