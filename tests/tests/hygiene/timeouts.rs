//! How long a connect and a call may take, by bulkhead, by service, and by both.

use std::net::SocketAddr;
use std::time::Duration;

use testbed::agent::{AgentProcess, Record};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::server::{Behaviour, Server};
use testbed::timing::at_most;
use testbed::{cgroup, requires};

use crate::rig::{LIMIT, RESEARCH, WRITING, agent, calls_are, metric, url};

/// The configuration: what `api` says, what `research` says.
fn start(api: SocketAddr, service: &str, bulkhead: &str) -> Guardd {
    Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{api}\"]\n{service}\n[defaults.breaker]\nmode = \"off\"\n\
         [bulkheads.{WRITING}]\n[bulkheads.{RESEARCH}]\n{bulkhead}\n"
    )))
    .unwrap()
}

/// Calls that one after the other must all end this way.
const CALLS: usize = 3;

/// Makes calls, which guard ends: none of them early, and the best exact to 5 % or 50 ms. (The others
/// tell how long this machine lets a process wait.)
fn ends_after(agent: &mut AgentProcess, wanted: Duration, phase: &str) {
    let calls: Vec<Record> = (0..CALLS).map(|_| agent.call(LIMIT).unwrap()).collect();
    for call in &calls {
        assert_eq!((call.outcome.as_str(), call.phase.as_str()), ("ECONNABORTED", phase));
    }
    let times = calls.iter().map(|call| Duration::from_micros(call.total_us as u64));
    let best = times.min().unwrap();
    let late = at_most((wanted / 20).max(Duration::from_millis(50)));
    assert!(best >= wanted && best <= wanted + late, "{wanted:?}: {calls:?}");
}

#[test]
fn a_connect_ends_at_its_timeout() {
    let test = "timeouts::a_connect_ends_at_its_timeout";
    if !requires::cgroups(test)
        || !requires::program(test, "ip")
        || !requires::program(test, "nsenter")
    {
        return;
    }
    let network = match Network::new() {
        Ok(network) => network,
        Err(error) => return requires::skip(test, &format!("no namespaces here: {error:#}")),
    };
    let peer = SocketAddr::from((Network::BLACKHOLE, 80));
    for (service, bulkhead, wanted) in [
        ("", "connect_timeout = \"300ms\"", Duration::from_millis(300)),
        ("connect_timeout = \"500ms\"", "", Duration::from_millis(500)),
        // The nearer word counts.
        ("connect_timeout = \"9s\"", "connect_timeout = \"400ms\"", Duration::from_millis(400)),
        (
            "connect_timeout = \"9s\"",
            "connect_timeout = \"8s\"\ntimeouts.services.api = { connect_timeout = \"2s\" }",
            Duration::from_secs(2),
        ),
        // The whole call is bounded by its own timeout, the connect included.
        ("call_timeout = \"350ms\"", "", Duration::from_millis(350)),
    ] {
        let guardd = start(peer, service, bulkhead);
        let path = guardd.bulkhead(RESEARCH);
        let wrap = |command| cgroup::wrap(&path, &network.client.wrap(&command));
        let mut agent = AgentProcess::stepped(&format!("connect://{peer}"), &[], wrap).unwrap();
        ends_after(&mut agent, wanted, "connect");
        let calls = CALLS as u64;
        calls_are(&guardd, RESEARCH, "api", &[("connect_timeout", calls)]);
        let cause = if service.starts_with("call") { "call_timeout" } else { "connect_timeout" };
        let reason = [&*format!("reason=\"{cause}\"")];
        assert_eq!(metric(&guardd, "guard_connections_ended_total", &reason), CALLS as f64);
        drop(agent);
        guardd.finish().unwrap();
    }
}

#[test]
fn a_connect_that_comes_about_is_left_alone() {
    if !requires::cgroups("a_connect_that_comes_about_is_left_alone") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "connect_timeout = \"200ms\"", "");
    server.set("answer delay=900ms".parse().unwrap());
    let mut slow = agent(&guardd, RESEARCH, &url(address), &[]);
    assert!(slow.call(LIMIT).unwrap().is_ok(), "it limits the connect alone");
    drop(slow);
    guardd.finish().unwrap();
}

#[test]
fn a_service_has_a_call_timeout_of_its_own() {
    if !requires::cgroups("a_service_has_a_call_timeout_of_its_own") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    server.set(Behaviour::Hang);
    for (service, bulkhead, wanted) in [
        ("call_timeout = \"600ms\"", "", Duration::from_millis(600)),
        ("call_timeout = \"9s\"", "call_timeout = \"400ms\"", Duration::from_millis(400)),
        (
            "",
            "call_timeout = \"9s\"\n[bulkheads.research.timeouts.services.api]\ncall_timeout = \"1s\"",
            Duration::from_secs(1),
        ),
    ] {
        let guardd = start(address, service, bulkhead);
        let mut hanging = agent(&guardd, RESEARCH, &url(address), &[]);
        ends_after(&mut hanging, wanted, "receive");
        calls_are(&guardd, RESEARCH, "api", &[("response_timeout", CALLS as u64)]);
        drop(hanging);
        guardd.finish().unwrap();
    }
}
