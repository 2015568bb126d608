//! Each way in which a call can end is counted as what it was, once, and reported as an event.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig, free_port};
use testbed::netns::Network;
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires, wait};

use crate::rig::{
    self, LIMIT, RESEARCH, WRITING, agent, calls_are, events_when, good_calls, metric, start, url,
};

/// What every event of a call or connect of this agent must say.
fn check(event: &Value, service: &str, outcome: &str, agent: &AgentProcess) {
    assert_eq!(event["bulkhead"], RESEARCH, "{event}");
    assert_eq!(event["service"], service, "{event}");
    assert_eq!(event["outcome"], outcome, "{event}");
    assert_eq!(event["origin"], "real", "{event}");
    assert_eq!(event["pid"], agent.pid(), "{event}");
}

#[test]
fn a_closed_port_is_refused() {
    if !requires::cgroups("a_closed_port_is_refused") {
        return;
    }
    let closed = free_port().unwrap();
    let guardd = start(&[("api", &[closed])]);
    let mut agent = agent(&guardd, RESEARCH, &url(closed), &[]);
    for _ in 0..3 {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    }
    let seen = calls_are(&guardd, RESEARCH, "api", &[("refused", 3)]);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (3, 0, 0));
    assert!(seen.calls_injected.is_empty());
    let events = events_when(&guardd, "connect_failed", 3);
    assert_eq!(events.len(), 3);
    for event in &events {
        check(event, "api", "refused", &agent);
        assert_eq!(event["peer"], closed.to_string());
        assert!(event["message"].as_str().unwrap().contains("ECONNREFUSED"), "{event}");
    }
    let labels = [r#"outcome="refused""#, r#"origin="real""#, r#"bulkhead="research""#];
    assert_eq!(metric(&guardd, "guard_calls_total", &labels), 3.0);
    assert!(rig::services(&guardd, WRITING).is_empty());
}

#[test]
fn breaks_before_an_answer() {
    if !requires::cgroups("breaks_before_an_answer") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &["--timeout", "10s"]);
    // Reset, or closed without an answer: on a fresh connection both are the service's failure.
    server.set(Behaviour::ResetAfterRequest);
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNRESET");
    calls_are(&guardd, RESEARCH, "api", &[("reset", 1)]);
    server.set(Behaviour::CloseAfterRequest);
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "eof");
    let seen = calls_are(&guardd, RESEARCH, "api", &[("reset", 2)]);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (2, 2, 0));
    for event in &events_when(&guardd, "call_failed", 2) {
        check(event, "api", "reset", &agent);
    }
    assert!(rig::services(&guardd, WRITING).is_empty());
}

#[test]
fn pooled_connections_that_died() {
    if !requires::cgroups("pooled_connections_that_died") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let gone = || server.counts().open == 0;

    // Closed while idle, and used again.
    good_calls(&mut agent, 1);
    server.close_all();
    wait::until("the connection to be gone", LIMIT, gone).unwrap();
    let stale = agent.call(LIMIT).unwrap();
    assert!(!stale.is_ok() && stale.reused, "{stale:?}");
    calls_are(&guardd, RESEARCH, "api", &[("success", 1), ("stale_connection", 1)]);

    // Reset by the server at the very moment of its second use.
    good_calls(&mut agent, 1);
    server.push(Behaviour::ResetAfterRequest);
    let stale = agent.call(LIMIT).unwrap();
    assert!(stale.outcome == "ECONNRESET" && stale.reused, "{stale:?}");
    calls_are(&guardd, RESEARCH, "api", &[("success", 2), ("stale_connection", 2)]);
    for event in &events_when(&guardd, "call_failed", 2) {
        check(event, "api", "stale_connection", &agent);
    }

    // Reset while idle, and used again: the agent's write fails without a packet, so the kernel
    // shows no call. It must not look like a failure of the service.
    good_calls(&mut agent, 1);
    server.reset_all();
    wait::until("the connection to be gone", LIMIT, gone).unwrap();
    let stale = agent.call(LIMIT).unwrap();
    assert!(stale.outcome == "ECONNRESET" && stale.reused, "{stale:?}");
    let seen = calls_are(&guardd, RESEARCH, "api", &[("success", 3), ("stale_connection", 2)]);
    assert_eq!((seen.connects, seen.connections), (3, 0));
    let labels = [r#"bulkhead="research""#, r#"destination="api""#];
    assert_eq!(metric(&guardd, "guard_stale_connections_total", &labels), 2.0);
    let status = guardd.ctl_json(&["status"]).unwrap();
    let research = status["bulkheads"].as_array().unwrap().iter().find(|b| b["name"] == RESEARCH);
    let ratio = &research.unwrap()["services"][0]["success_ratio"];
    assert_eq!(*ratio, 1.0, "stale connections say nothing of the service");
}

#[test]
fn an_agent_that_gives_up_waiting() {
    if !requires::cgroups("an_agent_that_gives_up_waiting") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    server.set(Behaviour::Hang);
    let guardd = start(&[("api", &[address])]);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &["--timeout", "300ms"]);
    let record = agent.call(LIMIT).unwrap();
    assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("timeout", "receive"));
    let seen = calls_are(&guardd, RESEARCH, "api", &[("aborted", 1)]);
    assert_eq!(seen.connections, 0);
    let event = &events_when(&guardd, "call_failed", 1)[0];
    check(event, "api", "aborted", &agent);
    let seconds = event["seconds"].as_f64().unwrap();
    // The agent's time runs from before the request left, and it closed before it reported.
    let connect_seconds = record.connect_us.unwrap() / 1e6;
    let total_seconds = record.total_us / 1e6;
    let range = 0.25..=total_seconds - connect_seconds;
    assert!(range.contains(&seconds), "{seconds}: {record:?}");
}

/// A guardd whose agents run in a namespace with its own routes.
fn inside(
    network: &Network,
    services: &[(&str, Ipv4Addr)],
    timeout: &str,
) -> (Guardd, AgentProcess) {
    let body: String = services
        .iter()
        .map(|(name, address)| format!("[services.{name}]\nendpoints = [\"{address}\"]\n"))
        .chain([RESEARCH, WRITING].map(|b| format!("[bulkheads.{b}]\ncgroup = \"{b}\"\n")))
        .collect();
    let guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
    let path = guardd.bulkhead(RESEARCH);
    let wrap = |command| cgroup::wrap(&path, &network.client.wrap(&command));
    let first = format!("connect://{}:80", services[0].1);
    let agent = AgentProcess::stepped(&first, &["--connect-timeout", timeout], wrap).unwrap();
    (guardd, agent)
}

fn network(test: &str) -> Option<Network> {
    if !requires::cgroups(test)
        || !requires::program(test, "ip")
        || !requires::program(test, "nsenter")
    {
        return None;
    }
    Network::new()
        .map_err(|error| requires::skip(test, &format!("no namespaces here: {error:#}")))
        .ok()
}

#[test]
fn no_way_to_the_host() {
    let Some(network) = network("no_way_to_the_host") else { return };
    // Inside the documentation network, but on no route of the namespace.
    let no_route = Ipv4Addr::new(198, 51, 100, 200);
    let services = [("told", Network::UNREACHABLE), ("no_route", no_route)];
    let (guardd, mut agent) = inside(&network, &services, "0ms");
    // An ICMP message comes back (for the second SYN: the first one's arrives while connect()
    // still owns the socket, as only on one machine it can).
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "EHOSTUNREACH");
    let seen = calls_are(&guardd, RESEARCH, "told", &[("unreachable", 1)]);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (1, 0, 0));
    check(&events_when(&guardd, "connect_failed", 1)[0], "told", "unreachable", &agent);
    // Not even a packet leaves.
    let record = agent.call_to(&format!("connect://{no_route}:80"), LIMIT).unwrap();
    assert_eq!(record.outcome, "ENETUNREACH");
    let seen = calls_are(&guardd, RESEARCH, "no_route", &[("unreachable", 1)]);
    assert_eq!((seen.connects, seen.connections), (1, 0));
    assert!(rig::services(&guardd, WRITING).is_empty());
}

#[test]
fn a_host_that_never_answers() {
    let Some(network) = network("a_host_that_never_answers") else { return };
    let (guardd, mut patient) = inside(&network, &[("void", Network::BLACKHOLE)], "1300ms");
    let record = patient.call(LIMIT).unwrap();
    assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("timeout", "connect"));
    let seen = calls_are(&guardd, RESEARCH, "void", &[("connect_timeout", 1)]);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (1, 0, 0));
    let event = &events_when(&guardd, "connect_failed", 1)[0];
    check(event, "void", "connect_timeout", &patient);
    assert!(event["seconds"].as_f64().unwrap() >= 1.3, "{event}");

    // Who gives up before the first SYN is even sent again has changed its mind.
    let path = guardd.bulkhead(RESEARCH);
    let wrap = |command| cgroup::wrap(&path, &network.client.wrap(&command));
    let target = format!("connect://{}", SocketAddr::from((Network::BLACKHOLE, 80)));
    let mut hasty = AgentProcess::stepped(&target, &["--connect-timeout", "200ms"], wrap).unwrap();
    let start = Instant::now();
    assert_eq!(hasty.call(LIMIT).unwrap().outcome, "timeout");
    if start.elapsed() > Duration::from_millis(900) {
        return requires::skip("a_host_that_never_answers/hasty", "the machine is too busy");
    }
    calls_are(&guardd, RESEARCH, "void", &[("connect_timeout", 1), ("aborted", 1)]);
    check(&events_when(&guardd, "connect_failed", 2)[1], "void", "aborted", &hasty);
    assert!(rig::services(&guardd, WRITING).is_empty());
}
