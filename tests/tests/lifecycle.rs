//! A guardd's life with real agents: start, stop, what it leaves and what it must leave alone.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use safety_support::{LIMIT, agent, calls, config, connects, inject, spawn, url};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{http, requires, timing, wait};

/// Programs off, faults off, every file off, except the state directory and what is not guard's.
#[test]
fn a_stop_takes_guard_off_the_host() {
    if !requires::cgroups("a_stop_takes_guard_off_the_host") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::prepare(config(&[address], &["a", "b"])).unwrap();
    // Bulkhead a exists already, with an agent in it.
    let theirs = guardd.cgroup().child("a").unwrap();
    let mut agent = agent(&guardd, "a", &url(address), &[]);
    assert!(agent.call(LIMIT).unwrap().is_ok());
    guardd.restart().unwrap();
    assert!(agent.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 1, "calls before the start are not counted");
    inject(&guardd, &["--refuse", "100%"]);
    inject(&guardd, &["--latency", "50ms"]);
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert!(guardd.bulkhead("b").exists());

    assert!(guardd.stop().unwrap().success());
    let before = Instant::now();
    assert!(agent.call(LIMIT).unwrap().is_ok(), "the programs are off");
    assert!(before.elapsed() < timing::at_most(Duration::from_secs(5)));
    // What is left: the cgroup that guard adopted, with the agent in it.
    assert_eq!(guardd.leftovers(), [format!("cgroup {}", theirs.display())]);
    assert_eq!(guardd.cgroup().processes(), [agent.pid()]);
    let mut files: Vec<_> = fs::read_dir(guardd.directory()).unwrap().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    let names: Vec<_> = files.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(names, ["guard.toml", "state"]);

    // The next life knows nothing of the calls in between.
    guardd.restart().unwrap();
    assert_eq!(connects(&guardd, "a", "api"), 0);
    assert!(agent.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 1);
    assert!(guardd.stop().unwrap().success());
    drop(agent);
    wait::until("the agent to leave", LIMIT, || fs::remove_dir(&theirs).is_ok()).unwrap();
    guardd.finish().unwrap();
}

/// A cgroup that guard made stays while a process is in it, is named, and goes at a later stop.
#[test]
fn a_process_keeps_the_cgroup_that_guard_made() {
    if !requires::cgroups("a_process_keeps_the_cgroup_that_guard_made") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(&[address], &["a"])).unwrap();
    let mut agent = agent(&guardd, "a", &url(address), &[]);
    assert!(agent.call(LIMIT).unwrap().is_ok());
    assert!(guardd.stop().unwrap().success());
    let path = guardd.bulkhead("a");
    let said = guardd.process().unwrap().stderr().join("\n");
    let pid = agent.pid().to_string();
    let named = said.lines().any(|line| {
        line.contains("stays") && line.contains(&*path.to_string_lossy()) && line.contains(&pid)
    });
    assert!(named, "{said}");
    assert!(path.exists());
    assert!(agent.call(LIMIT).unwrap().is_ok(), "its process goes on");

    // It is still guard's: empty at the next stop, it goes.
    guardd.restart().unwrap();
    drop(agent);
    wait::until("the agent to end", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    assert!(guardd.stop().unwrap().success());
    assert!(!path.exists(), "{:?}", guardd.leftovers());
}

#[test]
fn nested_paths_are_made_and_removed_one_by_one() {
    if !requires::cgroups("nested_paths_are_made_and_removed_one_by_one") {
        return;
    }
    let body = |names: &[&str]| {
        let tables = names.iter().map(|n| format!("[bulkheads.{n}]\ncgroup = \"x/y/{n}\"\n"));
        tables.collect::<Vec<_>>().concat()
    };
    let mut guardd = Guardd::prepare(GuarddConfig::new(body(&["one", "two"]))).unwrap();
    // The outermost is somebody else's.
    let outer = guardd.cgroup().child("x").unwrap();
    guardd.restart().unwrap();
    for name in ["x/y/one", "x/y/two"] {
        assert!(guardd.bulkhead(name).is_dir(), "{name}");
    }
    guardd.set_config(GuarddConfig::new(body(&["two"]))).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(!guardd.bulkhead("x/y/one").exists());
    assert!(guardd.bulkhead("x/y/two").is_dir());
    assert!(guardd.stop().unwrap().success());
    assert!(!guardd.bulkhead("x/y").exists() && outer.is_dir());
    fs::remove_dir(outer).unwrap();
}

/// The service manager hears of each step.
#[test]
fn systemd_is_told() {
    if !requires::cgroups("systemd_is_told") {
        return;
    }
    let mut guardd = Guardd::prepare(GuarddConfig::new("[bulkheads.a]\n")).unwrap();
    let path = guardd.directory().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let watched = std::cell::Cell::new(0);
    let next = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut process = spawn(&guardd.config_path(), |mut command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
        command
    });
    // Signs of life come as soon as it ticks, from another thread.
    let next = || loop {
        let note = next();
        if note != "WATCHDOG=1\n" {
            return note;
        }
        watched.set(watched.get() + 1);
    };
    let ready = next();
    assert!(ready.starts_with("READY=1\nSTATUS=1 bulkheads"), "{ready}");
    assert!(guardd.socket().exists() && guardd.bulkhead("a").exists(), "ready means ready");
    guardd.set_config(GuarddConfig::new("[bulkheads.a]\n[bulkheads.b]\n")).unwrap();
    process.signal(Signal::SIGHUP).unwrap();
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    let ready = next();
    assert!(ready.starts_with("READY=1\nSTATUS=2 bulkheads"), "{ready}");
    std::thread::sleep(Duration::from_secs(3));
    assert!(process.stop(LIMIT).unwrap().success());
    let stopping = next();
    assert!(watched.get() >= 2, "{} signs of life in 3 s", watched.get());
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    assert_eq!(guardd.leftovers(), [""; 0]);
}

/// SIGINT, as from a terminal, is a clean stop too.
#[test]
fn an_interrupt_is_a_stop() {
    if !requires::cgroups("an_interrupt_is_a_stop") {
        return;
    }
    let mut guardd = Guardd::start(GuarddConfig::new("[bulkheads.a]\n")).unwrap();
    guardd.signal(Signal::SIGINT).unwrap();
    let status = guardd.process().unwrap().wait(LIMIT).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(guardd.leftovers(), [""; 0]);
}

/// Alive and ready are different questions.
#[test]
fn health_and_readiness() {
    if !requires::cgroups("health_and_readiness") {
        return;
    }
    let mut guardd = Guardd::start(GuarddConfig::new("[bulkheads.a]\n")).unwrap();
    let address = guardd.metrics_address();
    let get = |path| http::get(address, path, LIMIT).unwrap();
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(get("/nothing").0, 404);
    // A bulkhead that is gone: alive, but not doing all of its work, and why.
    fs::remove_dir(guardd.bulkhead("a")).unwrap();
    let (code, why) = get("/readyz");
    assert!(code == 503 && why.contains("bulkhead a is detached"), "{code} {why}");
    assert_eq!(get("/healthz").0, 200);
    assert!(guardd.stop().unwrap().success());
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

/// Removed, or removed and made again by somebody else: guard notices and guards again.
#[test]
fn a_cgroup_removed_behind_guards_back_is_guarded_again() {
    if !requires::cgroups("a_cgroup_removed_behind_guards_back_is_guarded_again") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    let attached = |name: &str| {
        let status = guardd.ctl_json(&["status"]).unwrap();
        let bulkheads = status["bulkheads"].as_array().unwrap().clone();
        bulkheads.iter().any(|b| b["name"] == name && b["state"] == "attached")
    };
    inject(&guardd, &["--latency", "10ms"]);
    fs::remove_dir(guardd.bulkhead("a")).unwrap();
    fs::remove_dir(guardd.bulkhead("b")).unwrap();
    fs::create_dir(guardd.bulkhead("b")).unwrap();
    assert!(!attached("a") && !attached("b"), "status must not lie meanwhile");
    // The upkeep runs every 5 s.
    let repaired = wait::until("both to be attached", Duration::from_secs(20), || {
        attached("a") && attached("b")
    });
    println!("repaired after {:?}", repaired.unwrap());
    // The fault was about the cgroup that is gone.
    let list = guardd.ctl_json(&["fault", "list"]).unwrap();
    assert_eq!(list["faults"][0]["ended"], "cgroup removed", "{list}");
    for name in ["a", "b"] {
        let mut agent = agent(&guardd, name, &url(address), &[]);
        assert!(agent.call(LIMIT).unwrap().is_ok());
        assert_eq!(connects(&guardd, name, "api"), 1, "{name}");
        wait::until("the call to be counted", LIMIT, || calls(&guardd, name, "api") == 1).unwrap();
    }
    let events = guardd.ctl_json(&["events", "--kind", "bulkhead_repaired"]).unwrap();
    assert_eq!(events["events"].as_array().unwrap().len(), 2, "{events}");
    guardd.finish().unwrap();
}
