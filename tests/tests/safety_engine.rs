//! Packets held by a latency never hang with the process that holds them, or with guardd: each is
//! stopped, killed and asked to end in turn, while a call waits in the queue.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use safety_support::{LIMIT, agent, config, inject, run, url};
use serde_json::Value;
use testbed::agent::{AgentProcess, Record};
use testbed::cgroup::ScratchCgroup;
use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{requires, wait};

/// Long enough that a busy host does not let it run out by itself.
const LEASE: Duration = Duration::from_secs(1);
/// What the contract grants on top of it.
const GRACE: Duration = Duration::from_millis(500);
const LATENCY: Duration = Duration::from_secs(2);
/// A call without the latency never takes this long.
const CALM_US: f64 = 1_000_000.0;

/// A guardd with a latency on its bulkhead, an agent in it, and the engine process.
struct Scene {
    // Dropped in this order.
    agent: AgentProcess,
    guardd: Guardd,
    engine: Pid,
    fault: u64,
    url: String,
    _server: Server,
}

/// `None` where latency is not made by NFQUEUE.
fn scene(test: &str, lease: &str, latency: &str) -> Option<Scene> {
    if !requires::cgroups(test) {
        return None;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = config(&[address], &["a", "b"]).daemon("fault_lease", &format!("\"{lease}\""));
    let guardd = Guardd::start(config).unwrap();
    assert_eq!(engines_of(&guardd), [], "none without a fault");
    let mut agent = agent(&guardd, "a", &url(address), &["--keep-alive"]);
    // A connection that is open already.
    assert!(agent.call(LIMIT).unwrap().is_ok());
    let fault = inject(&guardd, &["--latency", latency]);
    if listed(&guardd, fault)["engine"] != "nfqueue" {
        requires::skip(test, "latency is not made by NFQUEUE here");
        return None;
    }
    let engines = engines_of(&guardd);
    assert_eq!(engines.len(), 1, "{engines:?}");
    Some(Scene { agent, guardd, engine: engines[0], fault, url: url(address), _server: server })
}

/// Child processes of a guardd that are engines.
fn engines_of(guardd: &Guardd) -> Vec<Pid> {
    let parent = guardd.pid().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // `PID (NAME) STATE PPID …`; gone by now is none of ours.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.split_once(" (").and_then(|(_, s)| s.rsplit_once(") "))
        else {
            continue;
        };
        if name == "guard-delay" && rest.split(' ').nth(1) == Some(&parent.to_string()) {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

fn proc_of(pid: Pid) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Whether it has not ended. One that has may wait for its new parent to look after it.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(proc_of(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_gone(pid: Pid) -> Duration {
    wait::until("the engine to be gone", LIMIT, || !lives(pid)).unwrap()
}

fn listed(guardd: &Guardd, fault: u64) -> Value {
    let answer = guardd.ctl_json(&["fault", "list"]).unwrap();
    let faults = answer["faults"].as_array().unwrap();
    faults.iter().find(|f| f["id"] == fault).unwrap().clone()
}

/// One call, which `disturb` meets while its packet is held; how long after that it ended.
fn held_call(
    agent: &mut AgentProcess,
    guardd: &mut Guardd,
    disturb: impl FnOnce(&mut Guardd),
) -> (Record, Duration) {
    agent.start_call().unwrap();
    sleep(LATENCY / 10);
    let (from, from_unix) = (Instant::now(), SystemTime::now());
    disturb(guardd);
    let record = agent.next(LIMIT).unwrap();
    let after = from.elapsed();
    let ended_unix_ns = u128::from(record.start_unix_ns) + (record.total_us * 1000.0) as u128;
    let from_unix_ns = from_unix.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    assert!(ended_unix_ns >= from_unix_ns, "it was held until then: {record:?}");
    (record, after)
}

/// Calls until one is delayed in full: on a busy host a lease may run out now and then.
fn wait_delayed(agent: &mut AgentProcess) {
    let full = LATENCY.as_micros() as f64 * 0.99;
    let delayed = || agent.call(LIMIT).is_ok_and(|record| record.total_us >= full);
    wait::until("a call with the whole latency", LIMIT, delayed).unwrap();
}

/// The fault has ended by itself, everybody can know why, and all else goes on.
fn ended_with_reason(scene: &mut Scene, reason: &[&str]) {
    let Scene { agent, guardd, engine, fault, .. } = scene;
    let mut last = Value::Null;
    let ended = wait::until("the end of the fault", LIMIT, || {
        last = listed(guardd, *fault);
        last["state"] == "ended"
    });
    assert!(ended.is_ok(), "{last}");
    assert_eq!(last["ended"], "engine failed", "{last}");
    let warning = last["warnings"].to_string();
    let events = guardd.ctl_json(&["events"]).unwrap();
    let of_kind = |kind: &str| -> Vec<Value> {
        let all = events["events"].as_array().unwrap();
        all.iter().filter(|e| e["kind"] == kind && e["fault"] == *fault).cloned().collect()
    };
    let failed = of_kind("delay_engine_failed");
    assert_eq!((failed.len(), of_kind("fault_ended").len()), (1, 1), "{events}");
    for word in reason {
        assert!(warning.contains(word), "{word}? {warning}");
        assert!(failed[0]["message"].as_str().unwrap().contains(word), "{word}? {failed:?}");
    }
    assert_eq!(wait_gone(*engine).as_secs(), 0);
    assert_eq!(engines_of(guardd), [], "not started again");
    assert!(guardd.leftovers().iter().all(|l| !l.contains("tables-save: ")), "rules are gone");
    // guardd lives, traffic is normal, and another fault acts.
    assert_eq!(guardd.ctl_json(&["status"]).unwrap()["health"], "ok");
    for _ in 0..5 {
        let record = agent.call(LIMIT).unwrap();
        assert!(record.is_ok() && record.total_us < CALM_US, "{record:?}");
    }
    let again = inject(guardd, &["--latency", "2s"]);
    wait_delayed(agent);
    guardd.ctl_json(&["fault", "clear", &again.to_string()]).unwrap();
    assert_eq!(engines_of(guardd), [], "gone with its last fault");
}

fn finish(scene: Scene) {
    let Scene { agent, guardd, .. } = scene;
    drop(agent);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn a_stopped_guardd_does_not_keep_held_packets() {
    let test = "a_stopped_guardd_does_not_keep_held_packets";
    let Some(mut scene) = scene(test, "1s", "2s") else { return };
    let Scene { agent, guardd, fault, engine, .. } = &mut scene;
    for _ in 0..2 {
        let (record, after) = held_call(agent, guardd, |guardd| {
            guardd.signal(Signal::SIGSTOP).unwrap();
        });
        println!("held call ended {after:?} after SIGSTOP of guardd ({} us)", record.total_us);
        assert!(record.is_ok() && after <= LEASE + GRACE, "{after:?} {record:?}");
        // Much later it is still so.
        sleep(LEASE + GRACE);
        for _ in 0..5 {
            let record = agent.call(LIMIT).unwrap();
            assert!(record.is_ok() && record.total_us < CALM_US, "{record:?}");
        }
        // It goes on: so does the fault, with the same engine. Nobody is blamed.
        guardd.signal(Signal::SIGCONT).unwrap();
        sleep(LEASE);
        wait_delayed(agent);
        assert_eq!(listed(guardd, *fault)["state"], "active");
        assert_eq!(engines_of(guardd), [*engine]);
    }
    let cleared = guardd.ctl_json(&["fault", "clear", &fault.to_string()]).unwrap();
    assert_eq!(cleared["faults"][0]["warnings"].as_array().map_or(0, Vec::len), 0, "{cleared}");
    assert!(agent.call(LIMIT).unwrap().total_us < CALM_US);
    finish(scene);
}

/// As by the freezer. Nobody is there to let go what is held: it waits for either of the two. What
/// is sent meanwhile passes, and going on is clean.
#[test]
fn both_stopped_hold_what_they_have_and_nothing_more() {
    let test = "both_stopped_hold_what_they_have_and_nothing_more";
    let Some(mut scene) = scene(test, "1s", "2s") else { return };
    let Scene { agent, guardd, fault, engine, url, .. } = &mut scene;
    let mut fresh = safety_support::agent(guardd, "a", url, &[]);
    let (record, after) = held_call(agent, guardd, |guardd| {
        guardd.signal(Signal::SIGSTOP).unwrap();
        kill(*engine, Signal::SIGSTOP).unwrap();
        sleep(LEASE * 2);
        let record = fresh.call(LIMIT).unwrap();
        assert!(record.is_ok() && record.total_us < CALM_US, "new packets pass: {record:?}");
        // The lease is over for long: all goes at once.
        kill(*engine, Signal::SIGCONT).unwrap();
    });
    println!("held call ended {after:?} after SIGSTOP of both, for {:?}", LEASE * 2);
    assert!(record.is_ok() && after < LEASE * 2 + GRACE, "{after:?} {record:?}");
    guardd.signal(Signal::SIGCONT).unwrap();
    wait_delayed(agent);
    assert_eq!(listed(guardd, *fault)["state"], "active");
    assert_eq!(engines_of(guardd), [*engine], "nobody is blamed");
    drop(fresh);
    finish(scene);
}

#[test]
fn a_stopped_engine_is_ended_and_lets_go() {
    let Some(mut scene) = scene("a_stopped_engine_is_ended_and_lets_go", "1s", "2s") else {
        return;
    };
    let engine = scene.engine;
    let (record, after) = held_call(&mut scene.agent, &mut scene.guardd, |_| {
        kill(engine, Signal::SIGSTOP).unwrap();
    });
    println!("held call ended {after:?} after SIGSTOP of the engine ({} us)", record.total_us);
    assert!(record.is_ok() && after <= LEASE + GRACE, "{after:?} {record:?}");
    // Stopped it may be, but it was asked to end before it was killed: nothing was lost.
    ended_with_reason(&mut scene, &["has not answered", "guardd has ended it", "exit status: 0"]);
    finish(scene);
}

#[test]
fn a_killed_engine_ends_its_fault() {
    let Some(mut scene) = scene("a_killed_engine_ends_its_fault", "1s", "2s") else { return };
    let engine = scene.engine;
    let (record, after) = held_call(&mut scene.agent, &mut scene.guardd, |_| {
        kill(engine, Signal::SIGKILL).unwrap();
    });
    // The kernel drops what it held; TCP sends it again.
    println!("held call ended {after:?} after SIGKILL of the engine ({} us)", record.total_us);
    assert!(record.is_ok() && after < Duration::from_secs(4), "{after:?} {record:?}");
    ended_with_reason(&mut scene, &["ended by itself", "signal: 9"]);
    finish(scene);
}

/// As by a service manager that signals every process of a service.
#[test]
fn an_engine_that_is_asked_to_end_loses_nothing() {
    let test = "an_engine_that_is_asked_to_end_loses_nothing";
    let Some(mut scene) = scene(test, "1s", "2s") else { return };
    let engine = scene.engine;
    let (record, after) = held_call(&mut scene.agent, &mut scene.guardd, |_| {
        kill(engine, Signal::SIGTERM).unwrap();
    });
    println!("held call ended {after:?} after SIGTERM of the engine ({} us)", record.total_us);
    assert!(record.is_ok() && after < GRACE, "{after:?} {record:?}");
    ended_with_reason(&mut scene, &["ended by itself", "exit status: 0"]);
    finish(scene);
}

#[test]
fn a_killed_guardd_takes_its_engine_along() {
    let test = "a_killed_guardd_takes_its_engine_along";
    for stopped in [false, true] {
        let Some(mut scene) = scene(test, "1s", "2s") else { return };
        let engine = scene.engine;
        let mut gone = Duration::MAX;
        let (record, after) = held_call(&mut scene.agent, &mut scene.guardd, |guardd| {
            if stopped {
                kill(engine, Signal::SIGSTOP).unwrap();
            }
            guardd.sigkill().unwrap();
            gone = wait_gone(engine);
        });
        println!(
            "engine stopped: {stopped}; gone {gone:?} after SIGKILL of guardd, held call ended \
             {after:?} after it ({} us)",
            record.total_us
        );
        assert!(record.is_ok() && after <= LEASE + GRACE, "{after:?} {record:?}");
        assert!(gone < GRACE, "{gone:?}");
        for _ in 0..5 {
            let record = scene.agent.call(LIMIT).unwrap();
            assert!(record.is_ok() && record.total_us < CALM_US, "{record:?}");
        }
        let state = scene.guardd.state_dir().display().to_string();
        drop(scene.agent);
        wait::until("a to be empty", LIMIT, || scene.guardd.cgroup().processes().is_empty())
            .unwrap();
        let cleanup = scene.guardd.ctl(&["cleanup", "--state-dir", &state]).unwrap();
        assert_eq!((cleanup.code, scene.guardd.leftovers().len()), (0, 0), "{cleanup:?}");
    }
}

/// Programs are on the host as long as anybody has their links open. The engine is frozen, so that
/// it lives on for sure, and the lease is long: only the links' end, at the cleanup, can end the
/// refusals.
#[test]
fn an_engine_that_lives_on_keeps_neither_programs_nor_sockets_alive() {
    let test = "an_engine_that_lives_on_keeps_neither_programs_nor_sockets_alive";
    let Some(mut scene) = scene(test, "60s", "1ms") else { return };
    let Scene { guardd, engine, url, .. } = &mut scene;
    let refuse = ["fault", "inject", "--bulkhead", "b", "--service", "api", "--for", "60s"];
    guardd.ctl_json(&[&refuse[..], &["--refuse", "100%"]].concat()).unwrap();
    let freezer = ScratchCgroup::new("freezer").unwrap();
    fs::write(freezer.path().join("cgroup.procs"), engine.to_string()).unwrap();
    fs::write(freezer.path().join("cgroup.freeze"), "1").unwrap();
    let frozen = || {
        let events = fs::read_to_string(freezer.path().join("cgroup.events")).unwrap();
        events.contains("frozen 1")
    };
    wait::until("the engine to be frozen", LIMIT, frozen).unwrap();
    let mut fresh = agent(guardd, "b", url, &[]);
    assert_eq!(fresh.call(LIMIT).unwrap().outcome, "ECONNREFUSED", "guard refuses");
    let metrics = guardd.metrics_address();
    guardd.sigkill().unwrap();
    assert!(lives(*engine), "frozen: it lives on");
    let state = guardd.state_dir().display().to_string();
    let cleanup = guardd.ctl(&["cleanup", "--state-dir", &state]).unwrap();
    assert_eq!(cleanup.code, 3, "agents keep their cgroups: {cleanup:?}");
    let record = fresh.call(LIMIT).unwrap();
    assert!(record.is_ok(), "no program is left: {record:?}");
    let (_, links, _) =
        run(std::process::Command::new("ls").arg("-l").arg(proc_of(*engine).join("fd")));
    assert!(links.contains("socket:") && !links.contains("bpf"), "{links}");
    // Nobody listens any more, neither for scrapes nor for guardctl.
    assert!(std::net::TcpListener::bind(metrics).is_ok());
    let dead = guardd.ctl(&["status"]).unwrap();
    assert_eq!(dead.code, 4, "{dead:?}");
    fs::write(freezer.path().join("cgroup.freeze"), "0").unwrap();
    wait_gone(*engine);
    drop(fresh);
    drop(scene.agent);
    wait::until("a to be empty", LIMIT, || scene.guardd.cgroup().processes().is_empty()).unwrap();
    assert_eq!(scene.guardd.ctl(&["cleanup", "--state-dir", &state]).unwrap().code, 0);
    assert_eq!(scene.guardd.leftovers(), [""; 0]);
}
