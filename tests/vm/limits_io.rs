//! Limits of block devices where cgroup v2 has the controller: set, felt, noticed, taken back. It
//! needs a disk of its own, so it runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::{cgroup, requires, wait};

#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::{Hog, LIMIT, RESEARCH, events_when, metric};

const AGENTS: &str = "agents/research";
/// Made by the kernel's module `null_blk`; it forgets what is written.
const DISK: &str = "/dev/nullb0";
const MIB: usize = 1 << 20;

/// Whether this is a guest; then it has a disk, and its top cgroup hands the controller down.
fn ready(test: &str) -> bool {
    if !requires::vm(test) {
        return false;
    }
    if !Path::new(DISK).exists() {
        let done = Command::new("modprobe").args(["null_blk", "nr_devices=1"]).status().unwrap();
        assert!(done.success(), "no null_blk");
    }
    wait::until("the disk", LIMIT, || Path::new(DISK).exists()).unwrap();
    let control = cgroup::mount_point().unwrap().join("cgroup.subtree_control");
    fs::write(control, "+memory +io").unwrap();
    true
}

/// `MAJOR:MINOR` of the disk.
fn number() -> String {
    fs::read_to_string("/sys/block/nullb0/dev").unwrap().trim().to_owned()
}

fn config(research: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[bulkheads.research]\ncgroup = \"{AGENTS}\"\n{research}\n[defaults.breaker]\nmode = \"off\"\n"
    ))
}

fn value(guardd: &Guardd, name: &str) -> String {
    fs::read_to_string(guardd.bulkhead(AGENTS).join(name)).unwrap().trim().to_owned()
}

fn resources(guardd: &Guardd) -> Value {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    bulkheads.iter().find(|b| b["name"] == RESEARCH).unwrap()["resources"].clone()
}

fn limit(guardd: &Guardd, resource: &str) -> Value {
    let resources = resources(guardd);
    let limits = resources["limits"].as_array().unwrap();
    limits.iter().find(|l| l["resource"] == resource).cloned().unwrap_or_default()
}

fn reload(guardd: &mut Guardd, body: &str) {
    guardd.set_config(config(body)).unwrap();
    let said = guardd.ctl(&["reload"]).unwrap();
    assert_eq!(said.code, 0, "{said:?}");
}

fn empty(guardd: &Guardd) {
    wait::until("empty bulkheads", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
}

#[test]
fn device_limits_are_set_changed_noticed_and_taken_back() {
    if !ready("device_limits_are_set_changed_noticed_and_taken_back") {
        return;
    }
    let disk = number();
    let body = format!(
        "io_weight = 70\nio_max = [{{ device = \"{DISK}\", rbps = \"10MiB\", wiops = 120 }}]\n"
    );
    let mut guardd = Guardd::start(config(&body).daemon("strict", "true")).unwrap();
    assert_eq!(value(&guardd, "io.weight"), "default 70");
    let all = format!("{disk} rbps=10485760 wbps=max riops=max wiops=120");
    assert_eq!(value(&guardd, "io.max"), all);
    let (rbps, wiops) = (format!("io_max {DISK} rbps"), format!("io_max {DISK} wiops"));
    for (name, number) in [(&rbps, 10_485_760.0), (&wiops, 120.0)] {
        assert_eq!(limit(&guardd, name)["state"], "enforced", "{name}");
        let label = format!("resource=\"{name}\"");
        let labels = ["bulkhead=\"research\"", label.as_str()];
        assert_eq!(metric(&guardd, "guard_bulkhead_limit", &labels), number);
        assert_eq!(metric(&guardd, "guard_bulkhead_limit_enforced", &labels), 1.0);
    }
    // No device is shared out by weight here, and that is said.
    let weight = limit(&guardd, "io_weight");
    assert_eq!(weight["state"], "enforced", "{weight}");
    assert!(weight["remark"].as_str().unwrap().contains("io.cost.qos"), "{weight}");
    let status = guardd.ctl(&["status"]).unwrap().stdout;
    assert!(status.contains(&rbps) && status.contains("10MiB/s"), "{status}");

    // Another hand's field is its own affair; a changed one of guard's is told and left.
    let file = guardd.bulkhead(AGENTS).join("io.max");
    fs::write(&file, format!("{disk} wbps=777777 wiops=99")).unwrap();
    events_when(&guardd, "limit_changed", 1);
    assert_eq!(limit(&guardd, &wiops)["state"], "changed");
    assert_eq!(limit(&guardd, &rbps)["state"], "enforced");

    // Reloaded: what is not wanted any more is as before, and theirs stays.
    reload(&mut guardd, &format!("io_max = [{{ device = \"{DISK}\", rbps = \"20MiB\" }}]\n"));
    assert_eq!(
        value(&guardd, "io.max"),
        format!("{disk} rbps=20971520 wbps=777777 riops=max wiops=99")
    );
    assert_eq!(value(&guardd, "io.weight"), "default 100");
    fs::write(&file, format!("{disk} wbps=max wiops=max")).unwrap();

    // Killed, and cleaned up after: nothing stays, and the controller is off again.
    guardd.sigkill().unwrap();
    assert!(value(&guardd, "io.max").contains("rbps=20971520"), "limits outlive a killed daemon");
    let said = guardd.cleanup().unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!file.exists());
}

#[test]
fn writes_are_held_to_wbps_and_counted() {
    if !ready("writes_are_held_to_wbps_and_counted") {
        return;
    }
    let mut guardd = Guardd::start(config("")).unwrap();
    let mut hog = Hog::start(&guardd, AGENTS);
    let mut seconds = |mib: usize| {
        let start = Instant::now();
        let order = format!("write {} {DISK}", mib * MIB);
        assert_eq!(hog.ask(&order), format!("written {}", mib * MIB));
        start.elapsed().as_secs_f64()
    };
    let free = seconds(8);
    reload(&mut guardd, &format!("io_max = [{{ device = \"{DISK}\", wbps = \"2MiB\" }}]\n"));
    let held = seconds(8);
    println!("8 MiB written in {free:.2} s, at wbps = 2MiB in {held:.2} s");
    assert!(held > 2.5, "{held} s for 8 MiB at 2 MiB/s");
    assert!(free < held / 2.0, "{free} s without a limit");
    let bytes =
        metric(&guardd, "guard_bulkhead_io_written_bytes_total", &["bulkhead=\"research\""]);
    // Counted since the controller is on.
    assert!(bytes >= (8 * MIB) as f64, "{bytes}");
    assert!(metric(&guardd, "guard_bulkhead_io_writes_total", &["bulkhead=\"research\""]) >= 1.0);
    assert!(resources(&guardd)["io_written_bytes"].as_u64().unwrap() >= 8 * MIB as u64);
    // Gone from the file: as fast as before.
    reload(&mut guardd, "");
    let after = seconds(8);
    assert!(after < held / 2.0, "{after} s after the limit is gone");
    drop(hog);
    empty(&guardd);
    guardd.finish().unwrap();
}

#[test]
fn a_device_that_is_none_is_said_and_does_not_stop_the_others() {
    if !ready("a_device_that_is_none_is_said_and_does_not_stop_the_others") {
        return;
    }
    let body = format!(
        "io_max = [{{ device = \"/dev/nothing\", rbps = \"1MiB\" }}, \
         {{ device = \"/tmp\", rbps = \"1MiB\" }}, {{ device = \"{DISK}\", riops = 50 }}]\n"
    );
    let guardd = Guardd::start(config(&body)).unwrap();
    for (device, part) in [("/dev/nothing", "cannot be looked at"), ("/tmp", "on no block device")]
    {
        let found = limit(&guardd, &format!("io_max {device} rbps"));
        assert_eq!(found["state"], "not_enforced", "{found}");
        assert!(found["why"].as_str().unwrap().contains(part), "{found}");
    }
    assert_eq!(limit(&guardd, &format!("io_max {DISK} riops"))["state"], "enforced");
    let path = guardd.config_path().display().to_string();
    let check = guardd.ctl(&["check", &path]).unwrap();
    assert!(check.code == 0 && check.stderr.contains("/dev/nothing"), "{check:?}");
    guardd.finish().unwrap();

    let mut guardd = Guardd::prepare(config(&body).daemon("strict", "true")).unwrap();
    guardd.launch().unwrap();
    let error = format!("{:#}", guardd.wait_ready().unwrap_err());
    assert!(error.contains("daemon.strict") && error.contains("/dev/nothing"), "{error}");
    wait::until("the end", Duration::from_secs(20), || guardd.leftovers().is_empty()).unwrap();
}
