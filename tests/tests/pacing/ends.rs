//! What becomes of calls that are held when somebody ends: guardd, its engine, the peer's patience.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{requires, wait};

use super::rig::{
    LIMIT, RESEARCH, Rules, agent, breaker, events_when, good_calls, start_breakers, url,
};
use super::{burst, ends, limit};

/// A call each 10 s, after the first.
const SLOW: &str = "max_calls_per_second = 0.1\nmax_calls_burst = 1";
/// A held call has gone by then, if nothing holds it any more.
const SOON: Duration = Duration::from_secs(6);

/// A guardd and a caller whose second call is held.
fn held(server: &Server) -> (Guardd, testbed::agent::AgentProcess) {
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", SLOW);
    let mut caller = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    good_calls(&mut caller, 1);
    caller.start_call().unwrap();
    let counted = || limit(&guardd, RESEARCH, Some("api"))["paced"] == 1;
    wait::until("a call to be held", LIMIT, counted).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.counts().requests, 1, "it waits");
    (guardd, caller)
}

#[test]
fn a_killed_guardd_frees_held_calls() {
    if !requires::cgroups("a_killed_guardd_frees_held_calls") {
        return;
    }
    let server = Server::loopback().unwrap();
    let (mut guardd, mut caller) = held(&server);
    guardd.sigkill().unwrap();
    let since = Instant::now();
    assert!(caller.next(LIMIT).unwrap().is_ok());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    // Nothing is held any more once the lease is over.
    std::thread::sleep(Duration::from_millis(2_500));
    let began = Instant::now();
    good_calls(&mut caller, 5);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // The next guardd paces again, and cleans up after the first.
    guardd.restart().unwrap();
    good_calls(&mut caller, 1);
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn a_stop_frees_held_calls_and_leaves_nothing() {
    if !requires::cgroups("a_stop_frees_held_calls_and_leaves_nothing") {
        return;
    }
    let server = Server::loopback().unwrap();
    let (mut guardd, mut caller) = held(&server);
    let rules = Rules::of(&guardd);
    let chains = rules.chains();
    assert!(!chains.is_empty(), "so that their end below says something");
    let since = Instant::now();
    guardd.signal(Signal::SIGTERM).unwrap();
    assert!(caller.next(LIMIT).unwrap().is_ok());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop(caller);
    guardd.stop().unwrap();
    rules.gone(&chains);
}

#[test]
fn a_stopped_guardd_frees_held_calls_when_its_lease_is_over() {
    if !requires::cgroups("a_stopped_guardd_frees_held_calls_when_its_lease_is_over") {
        return;
    }
    let server = Server::loopback().unwrap();
    let (mut guardd, mut caller) = held(&server);
    guardd.signal(Signal::SIGSTOP).unwrap();
    let since = Instant::now();
    let freed = caller.next(LIMIT);
    guardd.signal(Signal::SIGCONT).unwrap();
    assert!(freed.unwrap().is_ok());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn an_engine_that_dies_is_replaced() {
    if !requires::cgroups("an_engine_that_dies_is_replaced") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let pace = "max_calls_per_second = 4\nmax_calls_burst = 1";
    let guardd = start_breakers(address, "", "", pace);
    burst(&guardd, RESEARCH, address, 3);
    let pid = engine_of(guardd.pid().unwrap()).expect("an engine");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    events_when(&guardd, "pacing_engine_failed", 1);
    let replaced = || engine_of(guardd.pid().unwrap()).is_some_and(|new| new != pid);
    wait::until("another engine", LIMIT, replaced).unwrap();
    // Its rule comes a moment later.
    let rules = Rules::of(&guardd);
    wait::until("its rule", LIMIT, || rules.chains().len() >= 2).unwrap();
    let came = ends(&burst(&guardd, RESEARCH, address, 6));
    assert!(came[5] > 0.9, "{came:?}");
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    guardd.finish().unwrap();
}

/// The child process of a guardd that is its engine.
fn engine_of(guardd: u32) -> Option<i32> {
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let is = |line: &str| status.lines().any(|found| found == line);
        (is(&format!("PPid:\t{guardd}")) && is("Name:\tguard-delay")).then_some(pid)
    });
    children.max()
}
