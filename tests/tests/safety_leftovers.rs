//! What a killed guardd leaves is taken off the host by its next life and by `guardctl cleanup`,
//! and nothing else is.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use safety_support::{LIMIT, agent, config, connects, guardctl, inject, spawn, url};
use testbed::guardd::{Ctl, Guardd};
use testbed::server::Server;
use testbed::{requires, timing, wait};

fn cleanup(guardd: &Guardd) -> Ctl {
    guardd.ctl(&["cleanup", "--state-dir", &guardd.state_dir().display().to_string()]).unwrap()
}

/// A guardd that was killed with all three kinds of fault active.
fn killed(server: &Server) -> Guardd {
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    for effect in [["--latency", "100ms"], ["--loss", "10%"], ["--refuse", "10%"]] {
        inject(&guardd, &effect);
    }
    guardd.sigkill().unwrap();
    // It is dead: that it had something on the host is what the test is about.
    let left = guardd.leftovers().join("\n");
    for what in ["cgroup ", "control socket", "mount guard ", "iptables-save: ", "gates"] {
        assert!(left.contains(what), "{what}? {left}");
    }
    guardd
}

#[test]
fn cleanup_removes_what_a_killed_guardd_left() {
    if !requires::cgroups("cleanup_removes_what_a_killed_guardd_left") {
        return;
    }
    let server = Server::loopback().unwrap();
    let guardd = killed(&server);
    let done = cleanup(&guardd);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(guardd.leftovers(), [""; 0], "{done:?}");
    assert!(guardd.state_dir().is_dir());
    let again = cleanup(&guardd);
    assert!(again.code == 0 && again.stdout.contains("nothing of guard"), "{again:?}");
    // A directory that never was one of guard's is no error, and is not made.
    let nowhere = guardd.directory().join("nowhere");
    let done = guardd.ctl(&["cleanup", "--state-dir", &nowhere.display().to_string()]).unwrap();
    assert!(done.code == 0 && !nowhere.exists(), "{done:?}");
}

#[test]
fn the_next_start_removes_what_a_killed_guardd_left() {
    if !requires::cgroups("the_next_start_removes_what_a_killed_guardd_left") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = killed(&server);
    let before = chains(&guardd);
    assert!(!before.is_empty());
    guardd.restart().unwrap();
    assert_eq!(chains(&guardd), [""; 0]);
    assert!(!guardd.directory().join("gates").exists());
    let list = guardd.ctl_json(&["fault", "list"]).unwrap();
    assert_eq!(list["faults"].as_array().unwrap().len(), 0, "faults do not come back: {list}");
    // And it works as if nothing had been.
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    assert!(caller.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 1);
    let id = inject(&guardd, &["--latency", "200ms"]);
    assert!(caller.call(LIMIT).unwrap().total_us >= 400_000.0);
    assert_eq!(guardd.ctl(&["fault", "clear", &id.to_string()]).unwrap().code, 0);
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

/// Lines of netfilter that name this guardd's cgroups or files.
fn chains(guardd: &Guardd) -> Vec<String> {
    guardd.leftovers().into_iter().filter(|line| line.contains("tables-save: ")).collect()
}

#[test]
fn cleanup_names_what_a_process_keeps() {
    if !requires::cgroups("cleanup_names_what_a_process_keeps") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    inject(&guardd, &["--latency", "100ms"]);
    guardd.sigkill().unwrap();
    let partly = cleanup(&guardd);
    assert_eq!(partly.code, 3, "{partly:?}");
    let path = guardd.bulkhead("a").display().to_string();
    let named = partly.stdout.lines().any(|l| l.starts_with("LEFT") && l.contains(&path));
    assert!(named, "{}", partly.stdout);
    assert_eq!(guardd.leftovers(), [format!("cgroup {path}")], "all the rest went");
    assert!(caller.call(LIMIT).unwrap().is_ok());
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    let rest = cleanup(&guardd);
    assert_eq!((rest.code, guardd.leftovers().len()), (0, 0), "{rest:?}");
}

/// Never while a guardd runs, however it is asked; and other guardds lose nothing by it.
#[test]
fn cleanup_harms_no_running_guardd() {
    if !requires::cgroups("cleanup_harms_no_running_guardd") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let running = Guardd::start(config(&[address], &["a"])).unwrap();
    let mut caller = agent(&running, "a", &url(address), &[]);
    inject(&running, &["--latency", "300ms"]);
    let refused = cleanup(&running);
    assert_eq!(refused.code, 2, "{refused:?}");
    let pid = running.pid().unwrap().to_string();
    assert!(refused.stderr.contains(&pid), "{}", refused.stderr);
    // Under another socket nobody answers, but the state directory is taken.
    let state = running.state_dir().display().to_string();
    let no_socket = running.directory().join("none").display().to_string();
    let (code, _, said) = guardctl(&["--socket", &no_socket, "cleanup", "--state-dir", &state]);
    assert!(code == 2 && said.contains(&pid), "{code} {said}");
    // The cleanup of another, dead one leaves this one's fault alone.
    let other = killed(&server);
    let done = cleanup(&other);
    assert_eq!((done.code, other.leftovers().len()), (0, 0), "{done:?}");
    assert!(caller.call(LIMIT).unwrap().total_us >= 600_000.0, "the fault still acts");
    drop(caller);
    wait::until("a to be empty", LIMIT, || running.cgroup().processes().is_empty()).unwrap();
    running.finish().unwrap();
}

/// Two guardds with latency faults at the same time: neither sees the other.
#[test]
fn two_guardds_delay_side_by_side() {
    if !requires::cgroups("two_guardds_delay_side_by_side") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let first = Guardd::start(config(&[address], &["a"])).unwrap();
    let second = Guardd::start(config(&[address], &["a"])).unwrap();
    let mut one = agent(&first, "a", &url(address), &[]);
    let mut two = agent(&second, "a", &url(address), &[]);
    inject(&first, &["--latency", "300ms"]);
    inject(&second, &["--latency", "600ms"]);
    assert!(two.call(LIMIT).unwrap().total_us >= 1_200_000.0);
    assert!((600_000.0..1_200_000.0).contains(&one.call(LIMIT).unwrap().total_us));
    drop(two);
    wait::until("b to be empty", LIMIT, || second.cgroup().processes().is_empty()).unwrap();
    second.finish().unwrap();
    assert!(one.call(LIMIT).unwrap().total_us >= 600_000.0, "the first one's fault goes on");
    drop(one);
    wait::until("a to be empty", LIMIT, || first.cgroup().processes().is_empty()).unwrap();
    first.finish().unwrap();
}

/// A small generator: the moments of the kills, repeatable from the seed that is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit * 1000))
    }
}

/// `GUARD_TEST_SEED=N` repeats a run (as far as timing lets it).
fn seed() -> u64 {
    let given = std::env::var("GUARD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    given.unwrap_or_else(|| u64::from(now()) | 1)
}

/// `guardctl ARGS` in the background, whatever becomes of it.
fn ctl_in_background(guardd: &Guardd, arguments: &[&str]) -> testbed::process::Process {
    let mut command = Command::new(testbed::process::binary("guardctl").unwrap());
    command.arg("--socket").arg(guardd.socket()).args(arguments);
    testbed::process::Process::spawn(&mut command).unwrap()
}

#[test]
fn a_kill_at_any_moment_can_be_cleaned_up() {
    if !requires::cgroups("a_kill_at_any_moment_can_be_cleaned_up") {
        return;
    }
    let seed = seed();
    println!("GUARD_TEST_SEED={seed}");
    let mut random = Random(seed);
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let target = ["--bulkhead", "a", "--service", "api", "--for", "60s", "--latency", "10ms"];
    let inject = [&["fault", "inject"][..], &target].concat();
    // Each moment once at least.
    for round in 0..timing::fewer(20).max(4) as usize {
        let mut guardd = Guardd::prepare(config(&[address], &["a", "b"])).unwrap();
        let moment = ["start", "inject", "clear", "stop"][round % 4];
        let wait;
        if moment == "start" {
            guardd.launch().unwrap();
            wait = random.millis(1_200);
            sleep(wait);
        } else {
            guardd.restart().unwrap();
            if moment == "clear" || moment == "stop" {
                assert_eq!(guardd.ctl(&inject).unwrap().code, 0);
            }
            let arguments =
                if moment == "clear" { vec!["fault", "clear", "--all"] } else { inject.clone() };
            let asked = (moment != "stop").then(|| ctl_in_background(&guardd, &arguments));
            if moment == "stop" {
                guardd.signal(Signal::SIGTERM).unwrap();
            }
            // Threads are waited for before anything is taken down.
            wait = random.millis(if moment == "stop" { 600 } else { 120 });
            sleep(wait);
            drop(asked);
        }
        guardd.sigkill().unwrap();
        // A command that guardd was running when it died may still come to its end.
        sleep(Duration::from_millis(200));
        let left = guardd.leftovers();
        let done = cleanup(&guardd);
        println!("round {round}: killed {wait:?} into {moment}; left {}", left.len());
        assert_eq!(done.code, 0, "round {round}, {moment} after {wait:?}: {done:?}");
        assert_eq!(guardd.leftovers(), [""; 0], "round {round}, {moment} after {wait:?}: {done:?}");
    }
}

/// A log with a torn last line, as a crash in the middle of a write leaves it, is no obstacle.
#[test]
fn a_torn_undo_log_does_not_stop_a_cleanup_or_a_start() {
    if !requires::cgroups("a_torn_undo_log_does_not_stop_a_cleanup_or_a_start") {
        return;
    }
    let server = Server::loopback().unwrap();
    let mut guardd = killed(&server);
    let log: PathBuf = guardd.state_dir().join("undo.log");
    let mut text = std::fs::read_to_string(&log).unwrap();
    text.push_str("{\"seq\":99,\"boot_id\":\"torn");
    std::fs::write(&log, text).unwrap();
    guardd.restart().unwrap();
    assert_eq!(chains(&guardd), [""; 0]);
    assert!(guardd.stop().unwrap().success());
    assert_eq!(guardd.leftovers(), [""; 0]);
    // A line that cannot be read at all is told.
    std::fs::write(&log, "this is no log\n").unwrap();
    let mut process = spawn(&guardd.config_path(), |command| command);
    wait::until("guardd to be ready", LIMIT, || guardd.socket().exists()).unwrap();
    let said = || process.stderr().join("\n");
    wait::until("the damage to be told", LIMIT, || said().contains("undo log")).unwrap();
    process.stop(LIMIT).unwrap();
}
