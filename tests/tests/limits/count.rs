//! The count of connections is exact: whoever closes them, and however they end.

use std::time::Duration;

use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires, wait};

use super::rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker_config, clear, inject, pair, start_breakers,
    url,
};
use super::{counted, limit};

fn callers(guardd: &Guardd, target: &str, callers: u32, calls: u32) -> AgentProcess {
    let path = guardd.bulkhead(RESEARCH);
    let (callers, calls) = (callers.to_string(), calls.to_string());
    let args = ["--target", target, "--concurrency", &callers, "--count", &calls, "--quiet"];
    AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap()
}

/// The same with a million is in `cargo xtask bench limits`.
#[test]
fn many_callers_never_have_one_too_many_and_leave_none() {
    if !requires::cgroups("many_callers_never_have_one_too_many_and_leave_none") {
        return;
    }
    const MOST: u64 = 8;
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let research = format!("max_connections = {MOST}");
    let guardd = start_breakers(address, "", "mode = \"off\"", &research);
    // All at once, and nobody goes: exactly so many get in.
    server.set(Behaviour::Hang);
    let agent = callers(&guardd, &url(address), 64, 64);
    counted(&guardd, RESEARCH, MOST);
    let refused = || limit(&guardd, RESEARCH, Some("api"))["rejected"]["connections"].clone();
    wait::until("the refusals", LIMIT, || refused() == 64 - MOST).unwrap();
    assert_eq!(server.counts().connections, MOST);
    drop(agent);
    counted(&guardd, RESEARCH, 0);
    // And in and out.
    server.set(Behaviour::slow(Duration::from_millis(2)));
    let agent = callers(&guardd, &url(address), 32, 3_000);
    let (_, summary) = agent.finish(LIMIT * 3).unwrap();
    let refused = summary.outcomes.get("ECONNREFUSED").copied().unwrap_or(0);
    let good = summary.outcomes.get("ok").copied().unwrap_or(0);
    assert!(refused > 0 && good > 0 && refused + good == 3_000, "{summary:?}");
    counted(&guardd, RESEARCH, 0);
    let refused = refused + 64 - MOST;
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["rejected"]["connections"], refused);
    guardd.finish().unwrap();
}

#[test]
fn connections_that_end_in_bad_ways_count_no_more() {
    if !requires::cgroups("connections_that_end_in_bad_ways_count_no_more") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "mode = \"off\"", "max_connections = 1000");
    let url = url(address);
    for behaviour in [
        Behaviour::ResetOnAccept,
        Behaviour::CloseOnAccept,
        Behaviour::ResetAfterRequest,
        Behaviour::CloseAfterRequest,
    ] {
        server.set(behaviour.clone());
        callers(&guardd, &url, 4, 200).finish(LIMIT).unwrap();
        counted(&guardd, RESEARCH, 0);
    }
    // Nobody listens there.
    let gone = Server::loopback().unwrap();
    let nowhere = gone.address().unwrap();
    drop(gone);
    callers(&guardd, &format!("http://{nowhere}/"), 4, 200).finish(LIMIT).unwrap();
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn a_killed_owner_leaves_no_count() {
    if !requires::cgroups("a_killed_owner_leaves_no_count") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", "max_connections = 64");
    server.set(Behaviour::Hang);
    let agent = callers(&guardd, &url(address), 32, 32);
    counted(&guardd, RESEARCH, 32);
    // SIGKILL.
    drop(agent);
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn a_connection_counts_as_long_as_any_process_has_it() {
    if !requires::cgroups("a_connection_counts_as_long_as_any_process_has_it") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", "max_connections = 1");
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp a {address}"));
    probe.must("lend a");
    probe.must("close a");
    counted(&guardd, RESEARCH, 1);
    assert_eq!(probe.ask(&format!("tcp b {address}"))["error"], "ECONNREFUSED");
    probe.must("take_back a");
    counted(&guardd, RESEARCH, 0);
    probe.must(&format!("tcp b {address}"));
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn half_open_connections_count_until_they_are_given_up() {
    if !requires::cgroups("half_open_connections_count_until_they_are_given_up") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "mode = \"off\"", "max_connections = 4");
    // No SYN leaves.
    let fault = inject(&guardd, RESEARCH, "--service api --for 60s --loss 100%");
    let path = guardd.bulkhead(RESEARCH);
    let target = url(address);
    let args = ["--target", &target, "--concurrency", "4", "--count", "4"];
    let args: Vec<&str> = args.into_iter().chain(["--connect-timeout", "3s"]).collect();
    let calling = AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap();
    counted(&guardd, RESEARCH, 4);
    let mut fresh = agent(&guardd, RESEARCH, &target, &[]);
    assert_eq!(fresh.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    calling.finish(LIMIT).unwrap();
    counted(&guardd, RESEARCH, 0);
    clear(&guardd, &fault);
    assert!(fresh.call(LIMIT).unwrap().is_ok());
    drop(fresh);
    guardd.finish().unwrap();
}

#[test]
fn connections_that_are_older_than_guardd_count_from_their_first_packet_on() {
    if !requires::cgroups("connections_that_are_older_than_guardd_count_from_their_first_packet_on")
    {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = breaker_config(address, "", "", "max_connections = 2");
    let mut guardd = Guardd::start(config).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    // A stop with the default on_exit takes everything off.
    guardd.stop().unwrap();
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    guardd.restart().unwrap();
    counted(&guardd, RESEARCH, 0);
    for (name, connections) in [("a", 1), ("b", 2), ("c", 3)] {
        probe.must(&format!("http {name}"));
        counted(&guardd, RESEARCH, connections);
    }
    assert_eq!(probe.ask(&format!("tcp d {address}"))["error"], "ECONNREFUSED");
    for name in ["a", "b", "c"] {
        probe.must(&format!("close {name}"));
    }
    counted(&guardd, RESEARCH, 0);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn a_guardd_that_takes_over_takes_the_count_over() {
    if !requires::cgroups("a_guardd_that_takes_over_takes_the_count_over") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = start_breakers(address, "", "", "max_connections = 3");
    let mut probe = Probe::start(&guardd, RESEARCH);
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    guardd.sigkill().unwrap();
    // Without a daemon, too.
    assert_eq!(probe.ask(&format!("tcp d {address}"))["error"], "ECONNREFUSED");
    probe.must("close a");
    guardd.restart().unwrap();
    counted(&guardd, RESEARCH, 2);
    probe.must(&format!("tcp d {address}"));
    assert_eq!(probe.ask(&format!("tcp e {address}"))["error"], "ECONNREFUSED");
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["rejected"]["connections"], 2);
    drop(probe);
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

/// A bulkhead that is removed and comes again while its connections live: they count for nobody, and
/// their ends take nothing from the new count.
#[test]
fn a_bulkhead_that_comes_again_begins_at_zero() {
    if !requires::cgroups("a_bulkhead_that_comes_again_begins_at_zero") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let with = |research: &str| {
        GuarddConfig::new(format!(
            "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{WRITING}]\n{research}"
        ))
    };
    let both = format!("[bulkheads.{RESEARCH}]\nmax_connections = 2\n");
    let mut guardd = Guardd::start(with(&both)).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp a {address}"));
    probe.must(&format!("tcp b {address}"));
    for body in ["", both.as_str()] {
        guardd.set_config(with(body)).unwrap();
        guardd.ctl_json(&["reload"]).unwrap();
    }
    counted(&guardd, RESEARCH, 0);
    probe.must(&format!("tcp c {address}"));
    counted(&guardd, RESEARCH, 1);
    probe.must("close a");
    probe.must("close b");
    wait::until("the ends", LIMIT, || pair(&guardd, RESEARCH, "api").connections == 1).unwrap();
    counted(&guardd, RESEARCH, 1);
    drop(probe);
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}
