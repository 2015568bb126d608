//! A guardd that is killed or stopped leaves no fault behind: how long until traffic is normal.
//! `GUARD_TEST_KILLS=N` asks for more kills than the usual ten.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use safety_support::{LIMIT, config, counter, inject, url};
use testbed::agent::{AgentProcess, Record};
use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{cgroup, requires, timing, wait};

/// Half the default, to save time. Shorter, a busy host loses its faults before they were tried.
const LEASE: Duration = Duration::from_secs(1);
/// What the issue grants on top of the lease.
const GRACE: Duration = Duration::from_millis(500);
/// A call with the latency takes two seconds, one whose SYN is lost at least one. So much longer than
/// a call without, that a host which is busy otherwise is not taken for a fault.
const DISTURBED_US: f64 = 900_000.0;
/// What each kind of fault is tried with.
const FAULTS: [[&str; 2]; 3] = [["--latency", "1s"], ["--refuse", "100%"], ["--loss", "100%"]];
/// So many good calls show that traffic is normal; an emulated processor makes thirty in the time.
const ENOUGH: usize = 10;
/// How long calls are watched after the kill.
const WATCH: Duration = Duration::from_secs(3);

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn disturbed(record: &Record) -> bool {
    record.outcome != "ok" || record.total_us > DISTURBED_US
}

fn end_ns(record: &Record) -> u64 {
    record.start_unix_ns + (record.total_us * 1000.0) as u64
}

/// An agent that calls all the time, each time over a new connection.
fn caller(path: &Path, target: &str) -> AgentProcess {
    let patience = ["--connect-timeout", "5s", "--timeout", "5s"];
    let pace = ["--target", target, "--interval", "10ms", "--concurrency", "4"];
    AgentProcess::start(&[&pace[..], &patience].concat(), |c| cgroup::wrap(path, &c)).unwrap()
}

/// When the last disturbed call of those after `from_ns` began, and when the last disturbed call
/// ended. The second may be later by what TCP waits before it sends a lost packet again: 1 s for
/// a SYN, and as much again if the dying guardd still held it then.
fn recovery(records: &[Record], from_ns: u64) -> (Duration, Duration) {
    let (mut began, mut ended) = (0, 0);
    for record in records.iter().filter(|r| disturbed(r) && end_ns(r) > from_ns) {
        began = began.max(record.start_unix_ns.saturating_sub(from_ns));
        ended = ended.max(end_ns(record) - from_ns);
    }
    (Duration::from_nanos(began), Duration::from_nanos(ended))
}

/// A guardd whose bulkheads outlive it, because others made them.
fn rig(server: &Server) -> Guardd {
    let address = server.address().unwrap();
    let config = config(&[address], &["a", "b"]).daemon("fault_lease", "\"1s\"");
    let guardd = Guardd::prepare(config).unwrap();
    guardd.cgroup().child("a").unwrap();
    guardd.cgroup().child("b").unwrap();
    guardd
}

/// Waits until a call that began after `since_ns` was disturbed.
fn wait_disturbed(agent: &AgentProcess, since_ns: u64) {
    let seen = || agent.records().iter().any(|r| r.start_unix_ns > since_ns && disturbed(r));
    wait::until("the fault to act", LIMIT, seen).unwrap();
}

fn remove_bulkheads(guardd: &Guardd) {
    for name in ["a", "b"] {
        let gone = || std::fs::remove_dir(guardd.bulkhead(name)).is_ok();
        wait::until("the agents to end", LIMIT, gone).unwrap();
    }
}

#[test]
fn after_sigkill_traffic_is_normal_within_lease_and_half_a_second() {
    if !requires::cgroups("after_sigkill_traffic_is_normal_within_lease_and_half_a_second") {
        return;
    }
    let kills: usize =
        std::env::var("GUARD_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let server = Server::loopback().unwrap();
    let target = url(server.address().unwrap());
    let mut guardd = rig(&server);
    let mut worst = [(Duration::ZERO, Duration::ZERO); FAULTS.len()];
    for number in 0..kills {
        let kind = number % FAULTS.len();
        guardd.restart().unwrap();
        let agent = caller(&guardd.bulkhead("a"), &target);
        let bystander = caller(&guardd.bulkhead("b"), &target);
        let calm = || agent.records().len() > 20;
        wait::until("calls without a fault", LIMIT, calm).unwrap();
        let injected_ns = now_ns();
        inject(&guardd, &FAULTS[kind]);
        // With a loss of everything no call ends before its packets are sent again.
        if kind == 2 {
            sleep(Duration::from_millis(300));
        } else {
            wait_disturbed(&agent, injected_ns);
        }
        assert_eq!(counter(&guardd, "guard_faulted_total", "b", "api"), 0, "only a is faulted");
        assert!(counter(&guardd, "guard_faulted_total", "a", "api") > 0);
        let killed_ns = now_ns();
        guardd.sigkill().unwrap();
        let gone = Duration::from_nanos(now_ns() - killed_ns);
        sleep(WATCH);
        let (records, _) = agent.stop().unwrap();
        let (began, ended) = recovery(&records, killed_ns);
        let fault = FAULTS[kind];
        println!(
            "kill {number} {fault:?}: dead after {gone:?}; the last disturbed call began at \
             {began:?}, the last one under way ended at {ended:?}"
        );
        worst[kind] = (worst[kind].0.max(began), worst[kind].1.max(ended));
        assert!(began <= LEASE + GRACE, "{fault:?}: calls are disturbed until {began:?}");
        let after = killed_ns + (LEASE + GRACE).as_nanos() as u64;
        let late = records.iter().filter(|r| r.start_unix_ns > after);
        let (late, bad): (Vec<_>, Vec<_>) = late.partition(|r| !disturbed(r));
        assert!(bad.is_empty() && late.len() > ENOUGH, "{} good, {bad:?}", late.len());
        assert!(ended < Duration::from_secs(4), "{fault:?}: {ended:?}");
        let (records, _) = bystander.stop().unwrap();
        let failed: Vec<_> = records.iter().filter(|r| r.outcome != "ok").collect();
        assert!(failed.is_empty(), "the bystander: {failed:?}");
    }
    for (fault, (began, ended)) in FAULTS.iter().zip(worst) {
        println!("worst of {kills} kills, {fault:?}: began {began:?}, ended {ended:?}");
    }
    guardd.restart().unwrap();
    assert!(guardd.stop().unwrap().success());
    remove_bulkheads(&guardd);
    guardd.finish().unwrap();
}

/// A stopped guardd renews nothing: the kernel lets every packet pass that is sent when the lease
/// is over. Once it goes on, so does the fault, but never beyond its deadline.
///
/// Packets that the delay engine held at the stop go then too: calls that were under way end.
#[test]
fn a_stopped_guardd_loses_its_faults_with_the_lease() {
    if !requires::cgroups("a_stopped_guardd_loses_its_faults_with_the_lease") {
        return;
    }
    let server = Server::loopback().unwrap();
    let target = url(server.address().unwrap());
    let mut guardd = rig(&server);
    guardd.restart().unwrap();
    for fault in FAULTS {
        let early = caller(&guardd.bulkhead("a"), &target);
        wait::until("calls without a fault", LIMIT, || early.records().len() > 20).unwrap();
        let injected_ns = now_ns();
        let id = inject(&guardd, &fault);
        if fault[0] == "--loss" {
            sleep(Duration::from_millis(300));
        } else {
            wait_disturbed(&early, injected_ns);
        }
        let stopped_ns = now_ns();
        guardd.signal(Signal::SIGSTOP).unwrap();
        sleep(LEASE + GRACE);
        let agent = caller(&guardd.bulkhead("a"), &target);
        wait::until("calls of a new agent", LIMIT, || agent.records().len() > 100).unwrap();
        let bad: Vec<_> = agent.records().into_iter().filter(disturbed).collect();
        assert!(bad.is_empty(), "{fault:?}: {bad:?}");
        let (began, ended) = recovery(&early.records(), stopped_ns);
        let after = stopped_ns + (LEASE + GRACE).as_nanos() as u64;
        let calm = || early.records().iter().any(|r| r.start_unix_ns > after && !disturbed(r));
        wait::until("the old agent to be well while guardd is stopped", LIMIT, calm).unwrap();
        println!("stopped, {fault:?}: last disturbed call began {began:?}, ended {ended:?}");
        // With a loss it waits for TCP's next try.
        assert!(fault[0] == "--loss" || ended <= LEASE + GRACE, "{fault:?}: {ended:?}");

        // It goes on, and so does the fault: its deadline is far.
        let continued_ns = now_ns();
        guardd.signal(Signal::SIGCONT).unwrap();
        if fault[0] == "--loss" {
            let faulted = counter(&guardd, "guard_faulted_total", "a", "api");
            wait::until("the loss to go on", LIMIT, || {
                counter(&guardd, "guard_faulted_total", "a", "api") > faulted
            })
            .unwrap();
        } else {
            wait_disturbed(&agent, continued_ns);
        }
        let cleared = guardd.ctl_json(&["fault", "clear", &id.to_string()]).unwrap();
        let expired = cleared["faults"][0]["counters"]["expired"].as_u64().unwrap();
        assert!(expired > 0, "what the lease let pass is counted: {cleared}");
        // The old agent calls as before.
        let cleared_ns = now_ns();
        wait::until("the old agent to be well", LIMIT, || {
            early.records().iter().any(|r| r.start_unix_ns > cleared_ns && !disturbed(r))
        })
        .unwrap();
    }
    assert!(guardd.stop().unwrap().success());
    remove_bulkheads(&guardd);
    guardd.finish().unwrap();
}

/// Stopped beyond the deadline: the fault never comes back, and its end is known.
#[test]
fn a_fault_whose_deadline_passes_while_guardd_is_stopped_is_over() {
    if !requires::cgroups("a_fault_whose_deadline_passes_while_guardd_is_stopped_is_over") {
        return;
    }
    let server = Server::loopback().unwrap();
    let target = url(server.address().unwrap());
    let mut guardd = rig(&server);
    guardd.restart().unwrap();
    let agent = caller(&guardd.bulkhead("a"), &target);
    wait::until("calls without a fault", LIMIT, || agent.records().len() > 20).unwrap();
    // Its time runs from the request on: setting up the rules is a part of it.
    let lasting = timing::at_most(Duration::from_millis(1500)).max(Duration::from_secs(2));
    let words = format!("fault inject --bulkhead a --service api --for {}s", lasting.as_secs());
    for effect in [["--latency", "1s"], ["--refuse", "100%"]] {
        let injected_ns = now_ns();
        let command: Vec<_> = words.split(' ').collect();
        guardd.ctl_json(&[&command[..], &effect].concat()).unwrap();
        wait_disturbed(&agent, injected_ns);
        guardd.signal(Signal::SIGSTOP).unwrap();
        sleep(lasting + Duration::from_secs(1));
        let continued_ns = now_ns();
        guardd.signal(Signal::SIGCONT).unwrap();
        let since = || {
            agent
                .records()
                .into_iter()
                .filter(|r| r.start_unix_ns > continued_ns)
                .collect::<Vec<_>>()
        };
        wait::until("calls after it went on", LIMIT, || since().len() > 100).unwrap();
        // A call with the latency takes two seconds.
        let hit = |r: &Record| r.outcome != "ok" || r.total_us > 2.0 * DISTURBED_US;
        let bad: Vec<_> = since().into_iter().filter(hit).collect();
        assert!(bad.is_empty(), "{effect:?}: {bad:?}");
        let list = guardd.ctl_json(&["fault", "list"]).unwrap();
        let last = list["faults"].as_array().unwrap().last().unwrap().clone();
        assert!(last["state"] == "ended" && last["ended"] == "done", "{last}");
    }
    drop(agent);
    assert!(guardd.stop().unwrap().success());
    remove_bulkheads(&guardd);
    guardd.finish().unwrap();
}

/// The rule of a killed guardd feeds its queue number until the lease is over.
#[test]
fn the_packets_of_a_killed_guardd_do_not_go_to_another() {
    if !requires::cgroups("the_packets_of_a_killed_guardd_do_not_go_to_another") {
        return;
    }
    let server = Server::loopback().unwrap();
    let target = url(server.address().unwrap());
    let mut killed = rig(&server);
    killed.restart().unwrap();
    let other = Guardd::start(config(&[server.address().unwrap()], &["a"])).unwrap();
    let agent = caller(&killed.bulkhead("a"), &target);
    let injected_ns = now_ns();
    inject(&killed, &FAULTS[0]);
    wait_disturbed(&agent, injected_ns);
    killed.sigkill().unwrap();
    let killed_ns = now_ns();
    inject(&other, &FAULTS[0]);
    sleep(WATCH);
    let (records, _) = agent.stop().unwrap();
    // What was under way at the kill may have been held or lost.
    let new = |r: &&Record| r.start_unix_ns > killed_ns;
    let slow: Vec<_> = records.iter().filter(new).filter(|r| disturbed(r)).collect();
    assert!(slow.is_empty(), "{slow:?}");
    assert!(records.iter().filter(new).count() > ENOUGH);
    assert!(other.finish().is_ok());
    killed.restart().unwrap();
    assert!(killed.stop().unwrap().success());
    remove_bulkheads(&killed);
}
