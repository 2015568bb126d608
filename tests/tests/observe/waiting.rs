//! `waits`: who waits for what, since when.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires, wait};

use crate::rig::{LIMIT, RESEARCH, WRITING, agent, good_calls, metric, start, url, waits};

/// Waits for exactly one hanging call in this state.
fn one_wait(guardd: &Guardd, state: &str) -> Value {
    let mut last = Vec::new();
    let came = wait::until(state, LIMIT, || {
        last = waits(guardd);
        last.len() == 1 && last[0]["state"] == state
    });
    assert!(came.is_ok(), "no single wait `{state}`: {last:?}");
    last.remove(0)
}

fn none(guardd: &Guardd) {
    let mut last = Vec::new();
    let came = wait::until("no waits", LIMIT, || {
        last = waits(guardd);
        last.is_empty()
    });
    assert!(came.is_ok(), "{last:?}");
}

fn check(wait: &Value, service: &str, peer: &str, agent: &AgentProcess) {
    assert_eq!(wait["bulkhead"], RESEARCH, "{wait}");
    assert_eq!(wait["service"], service, "{wait}");
    assert_eq!(wait["peer"], peer, "{wait}");
    assert_eq!(wait["pid"], agent.pid(), "{wait}");
    assert_eq!(wait["process"], "testbed-agent", "{wait}");
    assert_eq!(wait["injected"], false, "{wait}");
}

#[test]
fn a_server_that_is_silent_and_one_that_has_closed() {
    if !requires::cgroups("a_server_that_is_silent_and_one_that_has_closed") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    none(&guardd);
    let args = ["--keep-alive", "--payload-bytes", "1000"];
    let mut pooled = agent(&guardd, RESEARCH, &url(address), &args);
    good_calls(&mut pooled, 2);
    let mut calm = agent(&guardd, WRITING, &url(address), &["--keep-alive"]);
    good_calls(&mut calm, 1);
    none(&guardd);

    // Silent: from the request on.
    server.push(Behaviour::Hang);
    let before = Instant::now();
    pooled.start_call().unwrap();
    let requests = || server.counts().requests == 4;
    wait::until("the request", LIMIT, requests).unwrap();
    let asked = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let least = asked.elapsed().as_secs_f64();
    let silent = one_wait(&guardd, "first_byte");
    let most = before.elapsed().as_secs_f64();
    check(&silent, "api", &address.to_string(), &pooled);
    let seconds = silent["seconds"].as_f64().unwrap();
    assert!(seconds >= least && seconds <= most, "{least} <= {seconds} <= {most}");
    assert!(silent["sent_bytes"].as_u64().unwrap() > 3000, "{silent}");
    assert_eq!(silent["unacknowledged_bytes"], 0, "{silent}");
    let labels = [r#"bulkhead="research""#, r#"destination="api""#, r#"state="first_byte""#];
    assert_eq!(metric(&guardd, "guard_waits", &labels), 1.0);

    // Its end is the end of the wait.
    server.close_all();
    assert!(!pooled.next(LIMIT).unwrap().is_ok());
    // `calm` still pools a connection that its server has closed.
    let closed = one_wait(&guardd, "peer_closed");
    assert_eq!((&closed["bulkhead"], &closed["pid"]), (&WRITING.into(), &calm.pid().into()));
    assert_eq!(closed["process"], "testbed-agent");
    assert!(closed["seconds"].as_f64().unwrap() <= before.elapsed().as_secs_f64(), "{closed}");
    calm.close().unwrap();
    none(&guardd);
    assert_eq!(metric(&guardd, "guard_waits", &[]), 0.0);
}

#[test]
fn a_host_that_never_answers() {
    let test = "waiting::a_host_that_never_answers";
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
    let peer = format!("{}:80", Network::BLACKHOLE);
    let config = GuarddConfig::simple(&[("void", &[peer.parse().unwrap()])], &[RESEARCH, WRITING]);
    let guardd = Guardd::start(config).unwrap();
    let path = guardd.bulkhead(RESEARCH);
    let wrap = |command| cgroup::wrap(&path, &network.client.wrap(&command));
    let mut agent = AgentProcess::stepped(&format!("connect://{peer}"), &[], wrap).unwrap();
    none(&guardd);
    let before = Instant::now();
    agent.start_call().unwrap();
    let first = one_wait(&guardd, "connecting");
    check(&first, "void", &peer, &agent);
    // Since when is since the connect, however often one asks.
    std::thread::sleep(Duration::from_millis(400));
    let later = one_wait(&guardd, "connecting");
    let grown = later["seconds"].as_f64().unwrap() - first["seconds"].as_f64().unwrap();
    assert!(grown >= 0.4, "{first} {later}");
    assert!(later["seconds"].as_f64().unwrap() <= before.elapsed().as_secs_f64());
    agent.process().kill().unwrap();
    none(&guardd);
}
