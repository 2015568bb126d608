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

/// Exact to 5 % or 50 ms, and never early.
fn is_about(record: &Record, wanted: Duration) {
    let took = Duration::from_micros(record.total_us as u64);
    let late = at_most((wanted / 20).max(Duration::from_millis(50)));
    assert!(took >= wanted && took <= wanted + late, "{took:?} instead of {wanted:?}: {record:?}");
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
        let record = agent.call(LIMIT).unwrap();
        assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("ECONNABORTED", "connect"));
        is_about(&record, wanted);
        let again = agent.call(LIMIT).unwrap();
        is_about(&again, wanted);
        calls_are(&guardd, RESEARCH, "api", &[("connect_timeout", 2)]);
        let cause = if service.starts_with("call") { "call_timeout" } else { "connect_timeout" };
        let reason = [&*format!("reason=\"{cause}\"")];
        assert_eq!(metric(&guardd, "guard_connections_ended_total", &reason), 2.0);
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
        let record = hanging.call(LIMIT).unwrap();
        assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("ECONNABORTED", "receive"));
        is_about(&record, wanted);
        calls_are(&guardd, RESEARCH, "api", &[("response_timeout", 1)]);
        drop(hanging);
        guardd.finish().unwrap();
    }
}
