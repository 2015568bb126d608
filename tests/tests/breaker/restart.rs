//! Breakers outlive the daemon: killed, stopped, restarted with another configuration, or gone for
//! good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use testbed::agent::AgentProcess;
use testbed::guardd::{Ctl, Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};
use testbed::{requires, timing, wait};

use super::rig::{breaker_config, events, pair_when, services};
use super::*;

/// Trips the breaker of the agent's bulkhead.
fn trip(server: &Server, agent: &mut AgentProcess) {
    server.set(Behaviour::ResetAfterRequest);
    for _ in 0..THRESHOLD {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    server.set(Behaviour::answer(200, 10));
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
}

fn told(guardd: &Guardd) -> Vec<String> {
    let told = events(guardd, "breaker").into_iter().filter(|event| event["bulkhead"] == RESEARCH);
    told.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn cleanup(guardd: &Guardd) -> Ctl {
    guardd.ctl(&["cleanup", "--state-dir", &guardd.state_dir().display().to_string()]).unwrap()
}

/// An open time that is not over before a test's end.
const LONG: Duration = Duration::from_mins(10);

/// An open time that a restart fits into.
fn short() -> Duration {
    timing::at_most(Duration::from_secs(2))
}

fn sleep_until_over(tripped: Instant) {
    let over = short() + Duration::from_millis(50);
    std::thread::sleep(over.saturating_sub(tripped.elapsed()));
}

fn config(address: SocketAddr, open_timeout: Duration) -> GuarddConfig {
    let open = open_timeout.as_millis();
    let breaker = format!("failure_threshold = {THRESHOLD}\nopen_timeout = \"{open}ms\"");
    breaker_config(address, "", &breaker, "")
}

#[test]
fn a_killed_guardd_leaves_breakers_at_work_and_the_next_one_takes_them_over() {
    if !requires::cgroups(
        "a_killed_guardd_leaves_breakers_at_work_and_the_next_one_takes_them_over",
    ) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(address, short())).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut other = super::agent(&guardd, WRITING, &url(address), &[]);
    trip(&server, &mut agent);
    let tripped = Instant::now();
    wait::until("the event", LIMIT, || told(&guardd).len() == 1).unwrap();
    let mut chain = told(&guardd);
    let name = format!("{RESEARCH}/other");
    assert_ne!(guardd.ctl(&["breaker", "trip", &name]).unwrap().code, 0, "there is none");
    guardd.sigkill().unwrap();
    // It refuses, lets one probe through, closes and opens again: all by itself.
    if tripped.elapsed() < short() / 2 {
        assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    }
    sleep_until_over(tripped);
    good_calls(&mut agent, 2);
    trip(&server, &mut agent);
    good_calls(&mut other, 2);
    let tripped = Instant::now();
    guardd.restart().unwrap();
    let open = breaker(&guardd, RESEARCH);
    let refused = agent.call(LIMIT).unwrap();
    assert!(tripped.elapsed() < short(), "a restart took {:?}", tripped.elapsed());
    assert_eq!(refused.outcome, "ECONNREFUSED");
    assert_eq!(open["state"], "open", "{open}");
    assert!(open["last_outcomes"].as_array().unwrap().len() >= 6, "{open}");
    // What happened without a daemon is told by the next one, once and in order.
    wait::until("the events", LIMIT, || told(&guardd).len() >= 3).unwrap();
    chain.extend(told(&guardd));
    let path: Vec<_> = chain.iter().map(|message| message.split(": ").next().unwrap()).collect();
    assert_eq!(
        path,
        ["closed -> open", "open -> half_open", "half_open -> closed", "closed -> open"],
        "{chain:?}"
    );
    for (message, generation) in chain.iter().zip(2..) {
        assert!(message.ends_with(&format!("(generation {generation})")), "{chain:?}");
    }
    good_calls(&mut other, 2);
    assert_eq!(breaker(&guardd, WRITING)["state"], "closed");
    sleep_until_over(tripped);
    good_calls(&mut agent, 2);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    drop((agent, other));
    guardd.finish().unwrap();
}

/// Every connect and every call is counted once, whatever becomes of the daemon meanwhile, and
/// never for another service.
#[test]
fn no_call_is_missed_or_counted_twice_while_guardd_is_killed_and_restarted() {
    if !requires::cgroups("no_call_is_missed_or_counted_twice_while_guardd_is_killed_and_restarted")
    {
        return;
    }
    const RESTARTS: usize = 5;
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    // By name: its addresses are known again before the name is resolved again.
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"localhost:{}\"]\n[bulkheads.{RESEARCH}]\n",
        address.port()
    ));
    let mut guardd = Guardd::start(config).unwrap();
    let resolved = || guardd.ctl_json(&["doctor"]).unwrap().to_string();
    let mut first = agent(&guardd, RESEARCH, &url(address), &[]);
    wait::until("the name to resolve", LIMIT, || {
        good_calls(&mut first, 1);
        services(&guardd, RESEARCH).contains_key("api")
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", resolved()));
    drop(first);
    let before = services(&guardd, RESEARCH);
    let of = |name: &str| before.get(name).cloned().unwrap_or_default();
    let (api, other) = (of("api"), of("other"));
    let mut fresh = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut pooled = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let stop = AtomicBool::new(false);
    let count = |agent: &mut AgentProcess| {
        let mut calls = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            good_calls(agent, 1);
            calls += 1;
        }
        calls
    };
    let (fresh_calls, pooled_calls) = std::thread::scope(|scope| {
        let fresh = scope.spawn(|| count(&mut fresh));
        let pooled = scope.spawn(|| count(&mut pooled));
        for _ in 0..RESTARTS {
            guardd.sigkill().unwrap();
            std::thread::sleep(Duration::from_millis(50));
            guardd.restart().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        (fresh.join().unwrap(), pooled.join().unwrap())
    });
    println!("{fresh_calls} calls with connections of their own, {pooled_calls} in one");
    assert!(fresh_calls > 20 && pooled_calls > 20, "{fresh_calls} {pooled_calls}");
    let calls = api.call("success") + fresh_calls + pooled_calls;
    let now = pair_when(&guardd, RESEARCH, "api", "all calls", |p| p.call("success") >= calls);
    assert_eq!(now.call("success"), calls, "{now:?}");
    assert_eq!(now.connects, api.connects + fresh_calls + 1, "{now:?}");
    assert_eq!(now.all_calls(), calls, "{now:?}");
    let others = services(&guardd, RESEARCH).remove("other").unwrap_or_default();
    assert_eq!(others.connects, other.connects, "counted for another service");
    drop((fresh, pooled));
    guardd.finish().unwrap();
}

#[test]
fn a_probe_keeps_its_lease_over_a_restart() {
    if !requires::cgroups("a_probe_keeps_its_lease_over_a_restart") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    // The lease of a probe is as long as the open time.
    let mut guardd = Guardd::start(config(address, short())).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&server, &mut agent);
    server.set(Behaviour::Hang);
    sleep_until_over(Instant::now());
    let mut probe = super::agent(&guardd, RESEARCH, &url(address), &[]);
    probe.start_call().unwrap();
    state_when(&guardd, RESEARCH, "half_open");
    let begun = Instant::now();
    guardd.sigkill().unwrap();
    guardd.restart().unwrap();
    let state = breaker(&guardd, RESEARCH);
    let refused = agent.call(LIMIT).unwrap();
    if begun.elapsed() < short() {
        assert_eq!(state["state"], "half_open", "{state}");
        assert_eq!(refused.outcome, "ECONNREFUSED");
    }
    // Its end gives the lease back, and the next call is the probe.
    drop(probe);
    server.set(Behaviour::answer(200, 10));
    wait::until("the lease", LIMIT, || agent.call(LIMIT).unwrap().is_ok()).unwrap();
    state_when(&guardd, RESEARCH, "closed");
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn on_exit_keep_leaves_breakers_to_the_next_start_or_to_cleanup() {
    if !requires::cgroups("on_exit_keep_leaves_breakers_to_the_next_start_or_to_cleanup") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let keep = config(address, LONG).daemon("on_exit", "\"keep\"");
    let mut guardd = Guardd::start(keep).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&server, &mut agent);
    let name = format!("{WRITING}/api");
    guardd.ctl_json(&["breaker", "mode", &name, "force_open"]).unwrap();
    assert!(guardd.stop().unwrap().success());
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.restart().unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "open");
    // So does what the operator said.
    assert_eq!(breaker(&guardd, WRITING)["mode"], "force_open");
    assert!(guardd.stop().unwrap().success());
    let partly = cleanup(&guardd);
    assert_eq!(partly.code, 3, "an agent keeps its cgroup: {partly:?}");
    good_calls(&mut agent, 1);
    drop(agent);
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    let rest = cleanup(&guardd);
    assert_eq!((rest.code, guardd.leftovers().len()), (0, 0), "{rest:?} {:?}", guardd.leftovers());
    guardd.finish().unwrap();
}

/// Removed from the configuration while no daemon runs: programs and cgroup go, the others stay.
#[test]
fn what_left_the_configuration_meanwhile_is_taken_off_the_host() {
    if !requires::cgroups("what_left_the_configuration_meanwhile_is_taken_off_the_host") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(address, LONG)).unwrap();
    let mut staying = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut leaving = agent(&guardd, WRITING, &url(address), &[]);
    trip(&server, &mut staying);
    trip(&server, &mut leaving);
    guardd.sigkill().unwrap();
    let mut fewer = config(address, LONG);
    fewer.replace(&format!("[bulkheads.{WRITING}]"), "[bulkheads.another]");
    guardd.set_config(fewer).unwrap();
    guardd.restart().unwrap();
    good_calls(&mut leaving, 1);
    assert_eq!(staying.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "open");
    // A new name never gets the state of an old one.
    assert_eq!(breaker(&guardd, "another")["state"], "closed");
    drop((staying, leaving));
    guardd.finish().unwrap();
}

/// Refused without a daemon for as long as the configuration says, and again when one is there.
#[test]
fn fail_open_lets_calls_pass_without_a_daemon() {
    if !requires::cgroups("fail_open_lets_calls_pass_without_a_daemon") {
        return;
    }
    // The shortest that may be configured.
    let timeout = timing::at_most(Duration::from_secs(1)).max(Duration::from_secs(2));
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let open = config(address, LONG)
        .daemon("fail", "\"open\"")
        .daemon("heartbeat_timeout", &format!("\"{}s\"", timeout.as_secs()));
    let mut guardd = Guardd::start(open).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&server, &mut agent);
    // A daemon that lives beats.
    std::thread::sleep(timeout + Duration::from_millis(500));
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    // One that is stopped does not, and neither does one that is dead.
    guardd.signal(Signal::SIGSTOP).unwrap();
    std::thread::sleep(timeout + Duration::from_millis(100));
    good_calls(&mut agent, 2);
    guardd.signal(Signal::SIGCONT).unwrap();
    wait::until("a beat", LIMIT, || agent.call(LIMIT).unwrap().outcome == "ECONNREFUSED").unwrap();
    guardd.sigkill().unwrap();
    let refused_at_first = agent.call(LIMIT).unwrap().outcome;
    std::thread::sleep(timeout + Duration::from_millis(600));
    good_calls(&mut agent, 2);
    assert_eq!(refused_at_first, "ECONNREFUSED");
    guardd.restart().unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    let open = breaker(&guardd, RESEARCH);
    assert!(open["would_have"].as_u64().unwrap() >= 4, "{open}");
    drop(agent);
    guardd.finish().unwrap();
}

/// What becomes of the file; `None` = there is none any more.
type Damage = fn(&str) -> Option<String>;

/// A file of another layout, a damaged one, none: breakers start afresh, and the log says why.
#[test]
fn what_cannot_be_taken_over_starts_afresh() {
    if !requires::cgroups("what_cannot_be_taken_over_starts_afresh") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(address, LONG)).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    let kept = guardd.state_dir().join("kept.json");
    let damages: [(&str, Damage); 4] = [
        ("layout", |text| Some(text.replace("\"abi", "\"abi9"))),
        ("line 1", |_| Some("{\"pins\": ".to_owned())),
        ("No such file", |_| None),
        ("is missing", |text| Some(text.replace('-', "-0"))),
    ];
    for (why, damage) in damages {
        trip(&server, &mut agent);
        guardd.sigkill().unwrap();
        match damage(&std::fs::read_to_string(&kept).unwrap()) {
            Some(text) => std::fs::write(&kept, text).unwrap(),
            None => std::fs::remove_file(&kept).unwrap(),
        }
        guardd.restart().unwrap();
        let log = guardd.process().unwrap().stderr().join("\n");
        let said = log.lines().find(|line| line.contains("start afresh")).unwrap_or_default();
        assert!(said.contains(why), "{why}: {said}\n{log}");
        good_calls(&mut agent, 1);
        assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed", "{why}");
    }
    drop(agent);
    guardd.finish().unwrap();
}
