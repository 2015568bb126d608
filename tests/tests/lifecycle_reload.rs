//! Reload: the new configuration applies without touching what stays, or not at all.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;

use nix::sys::signal::Signal;
use safety_support::{LIMIT, agent, calls, config, connects, inject, url};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{requires, wait};

fn changes(answer: &serde_json::Value) -> String {
    answer["changes"].to_string()
}

/// Services and bulkheads come, go and change; a connection and the counters live through it.
#[test]
fn what_stays_is_not_touched() {
    if !requires::cgroups("what_stays_is_not_touched") {
        return;
    }
    let (first, second) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (one, two) = (first.address().unwrap(), second.address().unwrap());
    let mut guardd = Guardd::start(config(&[one], &["a"])).unwrap();
    let mut keeping = agent(&guardd, "a", &url(one), &["--keep-alive"]);
    let mut other = agent(&guardd, "a", &url(two), &[]);
    for _ in 0..3 {
        assert!(keeping.call(LIMIT).unwrap().is_ok());
    }
    assert!(other.call(LIMIT).unwrap().is_ok());
    wait::until("three calls", LIMIT, || calls(&guardd, "a", "api") == 3).unwrap();
    assert_eq!((connects(&guardd, "a", "api"), connects(&guardd, "a", "other")), (1, 1));

    // Added: a service and a bulkhead. First only asked.
    let more = GuarddConfig::simple(&[("api", &[one]), ("second", &[two])], &["a", "b"]);
    guardd.set_config(more).unwrap();
    let dry = guardd.ctl(&["reload", "--dry-run"]).unwrap();
    assert_eq!(dry.code, 1, "{dry:?}");
    assert!(dry.stdout.contains("service second added") && dry.stdout.contains("bulkhead b added"));
    assert!(!guardd.bulkhead("b").exists(), "a dry run applies nothing");
    let done = guardd.ctl_json(&["reload"]).unwrap();
    assert!(changes(&done).contains("service second added"), "{done}");
    assert!(guardd.bulkhead("b").is_dir());
    assert_eq!(guardd.ctl(&["reload", "--dry-run"]).unwrap().code, 0, "nothing is left to do");
    assert!(keeping.call(LIMIT).unwrap().reused);
    assert!(other.call(LIMIT).unwrap().is_ok());
    wait::until("the fourth call", LIMIT, || calls(&guardd, "a", "api") == 4).unwrap();
    assert_eq!((connects(&guardd, "a", "api"), connects(&guardd, "a", "second")), (1, 1));
    let mut in_b = agent(&guardd, "b", &url(one), &[]);
    assert!(in_b.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "b", "api"), 1);
    drop(in_b);
    let empty = || fs::read_to_string(guardd.bulkhead("b").join("cgroup.procs")).unwrap() == "";
    wait::until("b to be empty", LIMIT, empty).unwrap();

    // Changed and removed, this time by signal: api moves, second and b go.
    guardd.set_config(config(&[two], &["a"])).unwrap();
    guardd.signal(Signal::SIGHUP).unwrap();
    wait::until("b to go", LIMIT, || !guardd.bulkhead("b").exists()).unwrap();
    wait::until("the end of the reload", LIMIT, || {
        guardd.ctl(&["reload", "--dry-run"]).unwrap().code == 0
    })
    .unwrap();
    let record = keeping.call(LIMIT).unwrap();
    assert!(record.is_ok() && record.reused, "{record:?}");
    assert!(other.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 2, "the new endpoint is api");
    keeping.close().unwrap();
    assert!(keeping.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "other"), 2, "the old endpoint is not");
    assert_eq!(first.counts().connections, 3, "one kept, one of b, one new");
    drop((keeping, other));
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

/// The old configuration goes on, and everybody can see that.
#[test]
fn a_broken_file_changes_nothing_and_shows() {
    if !requires::cgroups("a_broken_file_changes_nothing_and_shows") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(&[address], &["a"])).unwrap();
    let good = fs::read_to_string(guardd.config_path()).unwrap();
    let successful = |guardd: &Guardd| {
        guardd.metric("guard_config_last_reload_successful", &[]).unwrap().unwrap()
    };
    let health = |guardd: &Guardd| {
        guardd.ctl_json(&["status"]).unwrap()["health"].as_str().unwrap().to_owned()
    };
    assert!((successful(&guardd) - 1.0).abs() < 1e-9 && health(&guardd) == "ok");
    inject(&guardd, &["--refuse", "100%"]);

    let broken = good.replace("[bulkheads.a]", "[bulkheads.a]\nmemry_max = 1\n[bulkheads.b]");
    fs::write(guardd.config_path(), &broken).unwrap();
    let dry = guardd.ctl(&["reload", "--dry-run"]).unwrap();
    assert_eq!(dry.code, 2, "{dry:?}");
    assert!(successful(&guardd) > 0.5, "a dry run is no reload");
    let reload = guardd.ctl(&["reload"]).unwrap();
    assert_eq!(reload.code, 2, "{reload:?}");
    let line = 1 + broken.lines().position(|line| line.starts_with("memry_max")).unwrap();
    assert!(reload.stderr.contains(&format!("guard.toml:{line}:1")), "{}", reload.stderr);
    assert!(reload.stderr.contains("memory_max"), "{}", reload.stderr);
    assert!(successful(&guardd) < 0.5);
    assert_eq!(health(&guardd), "degraded");
    let status = guardd.ctl(&["status"]).unwrap();
    assert!(status.stdout.contains("last reload failed"), "{}", status.stdout);
    assert!(!guardd.bulkhead("b").exists());
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED", "the fault goes on");
    assert_eq!(connects(&guardd, "a", "api"), 1);

    // Mended: well again. Then broken by signal, and gone altogether.
    fs::write(guardd.config_path(), &good).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(successful(&guardd) > 0.5 && health(&guardd) == "ok");
    fs::remove_file(guardd.config_path()).unwrap();
    guardd.signal(Signal::SIGHUP).unwrap();
    wait::until("the failure to show", LIMIT, || successful(&guardd) < 0.5).unwrap();
    let missing = guardd.ctl(&["reload"]).unwrap();
    assert!(missing.code == 2 && missing.stderr.contains("guard.toml"), "{missing:?}");
    assert!(guardd.is_running());
    fs::write(guardd.config_path(), &good).unwrap();
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
}

/// All or nothing also where the host says no: one bulkhead of two cannot be made.
#[test]
fn a_reload_that_the_host_refuses_is_taken_back() {
    if !requires::cgroups("a_reload_that_the_host_refuses_is_taken_back") {
        return;
    }
    let mut guardd = Guardd::start(GuarddConfig::new("[bulkheads.a]\n")).unwrap();
    // Room for one more cgroup, not for two.
    let limit = guardd.cgroup().path().join("cgroup.max.descendants");
    fs::write(&limit, "2").unwrap();
    guardd.set_config(GuarddConfig::new("[bulkheads.a]\n[bulkheads.b]\n[bulkheads.z]\n")).unwrap();
    let reload = guardd.ctl(&["reload"]).unwrap();
    assert_eq!(reload.code, 1, "{reload:?}");
    assert!(reload.stderr.contains("bulkhead z"), "{reload:?}");
    assert!(!guardd.bulkhead("b").exists(), "b was made before z, and taken back");
    assert!(guardd.bulkhead("a").is_dir());
    assert_eq!(guardd.ctl_json(&["status"]).unwrap()["health"], "degraded");
    fs::write(&limit, "max").unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(guardd.bulkhead("b").is_dir() && guardd.bulkhead("z").is_dir());
    guardd.finish().unwrap();
}

/// Keys that a reload cannot change are named, and keep their old values until the restart.
#[test]
fn keys_that_need_a_restart_are_named() {
    if !requires::cgroups("keys_that_need_a_restart_are_named") {
        return;
    }
    let body = "[bulkheads.a]\n";
    let mut guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
    let elsewhere = guardd.cgroup().child("elsewhere").unwrap();
    let quoted = |text: &str| format!("\"{text}\"");
    let new = GuarddConfig::new(body)
        .daemon("metrics_listen", &quoted("off"))
        .daemon("state_dir", &quoted("/nonexistent/guard-test"))
        .daemon("control_socket", &quoted("/nonexistent/guard-test/s"))
        .daemon("cgroup_root", &quoted(&elsewhere.display().to_string()))
        .daemon("fault_lease", &quoted("5s"));
    guardd.set_config(new).unwrap();
    for command in [&["reload", "--dry-run"][..], &["reload"]] {
        let reload = guardd.ctl(command).unwrap();
        assert_eq!(reload.code, i32::from(command.len() == 2), "{reload:?}");
        for key in ["metrics_listen", "state_dir", "control_socket", "cgroup_root"] {
            let line = reload.stdout.lines().find(|l| l.contains(&format!("daemon.{key}")));
            let named = line.is_some_and(|line| line.starts_with('!'));
            assert!(named, "{key} in {}", reload.stdout);
        }
        assert!(reload.stdout.contains("daemon.fault_lease: "), "{}", reload.stdout);
    }
    // In force is what was: it answers where it answered.
    assert!(guardd.metrics().unwrap().ends_with("# EOF\n"));
    assert!(guardd.bulkhead("a").is_dir() && !elsewhere.join("a").exists());
    guardd.set_config(GuarddConfig::new(body)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    fs::remove_dir(elsewhere).unwrap();
    guardd.finish().unwrap();
}

/// A removed bulkhead with a process in it: the process goes on unguarded, the cgroup stays.
#[test]
fn a_removed_bulkhead_lets_its_processes_go() {
    if !requires::cgroups("a_removed_bulkhead_lets_its_processes_go") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    inject(&guardd, &["--refuse", "100%"]);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.set_config(config(&[address], &["b"])).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(caller.call(LIMIT).unwrap().is_ok(), "neither guarded nor faulted any more");
    let faults = guardd.ctl_json(&["fault", "list"]).unwrap();
    assert_eq!(faults["faults"][0]["ended"], "reloaded", "{faults}");
    assert!(guardd.bulkhead("a").is_dir());
    // Back again: adopted with the process in it, and counted on.
    guardd.set_config(config(&[address], &["a", "b"])).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(caller.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 2);
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}
