//! Limits of a bulkhead in the cgroups of others that its pattern matches, where cgroup v2 has all
//! controllers: so it runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use testbed::cgroup::{ScratchCgroup, mount_point};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::{requires, wait};

#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::{LIMIT, events_when, metric};

/// Whether this is a guest; then controllers reach the children of `others`, as a manager of units
/// hands them down.
fn ready(test: &str, others: impl FnOnce() -> ScratchCgroup) -> Option<ScratchCgroup> {
    if !requires::vm(test) {
        return None;
    }
    let control = mount_point().unwrap().join("cgroup.subtree_control");
    fs::write(control, "+memory +cpu +pids").unwrap();
    let others = others();
    fs::write(others.path().join("cgroup.subtree_control"), "+memory +cpu +pids").unwrap();
    Some(others)
}

fn scratch() -> ScratchCgroup {
    ScratchCgroup::new("units").unwrap()
}

fn config(others: &ScratchCgroup, body: &str) -> GuarddConfig {
    let tree = others.path().strip_prefix(mount_point().unwrap()).unwrap().display().to_string();
    GuarddConfig::new(format!(
        "[bulkheads.units]\ncgroup = \"/{tree}/unit-*.scope\"\n{body}\n[defaults.breaker]\n\
         mode = \"off\"\n"
    ))
}

fn value(cgroup: &Path, name: &str) -> String {
    fs::read_to_string(cgroup.join(name)).unwrap().trim().to_owned()
}

fn limit(guardd: &Guardd, key: &str) -> Value {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let units = status["bulkheads"].as_array().unwrap()[0].clone();
    let limits = units["resources"]["limits"].as_array().unwrap();
    limits.iter().find(|l| l["resource"] == key).cloned().unwrap_or_default()
}

fn becomes(cgroup: &Path, name: &str, wanted: &str) {
    let what = format!("{name} of {} to be {wanted}", cgroup.display());
    wait::until(&what, LIMIT, || value(cgroup, name) == wanted).unwrap();
}

const LIMITS: &str = "memory_max = \"128MiB\"\npids_max = 40\ncpu_weight = 50\n";

#[test]
fn each_match_gets_the_limits_and_keeps_what_is_stricter() {
    let Some(others) = ready("each_match_gets_the_limits_and_keeps_what_is_stricter", scratch)
    else {
        return;
    };
    let (one, strict) =
        (others.child("unit-1.scope").unwrap(), others.child("unit-2.scope").unwrap());
    let beside = others.child("beside.scope").unwrap();
    fs::write(one.join("memory.max"), "209715200").unwrap();
    fs::write(strict.join("memory.max"), "67108864").unwrap();
    fs::write(strict.join("cpu.weight"), "300").unwrap();
    let mut guardd = Guardd::start(config(&others, LIMITS)).unwrap();
    assert_eq!(value(&one, "memory.max"), "134217728");
    assert_eq!((value(&one, "pids.max"), value(&one, "cpu.weight")), ("40".into(), "50".into()));
    assert_eq!(value(&strict, "memory.max"), "67108864", "stricter than the bulkhead's");
    assert_eq!(value(&strict, "cpu.weight"), "300", "its maker's share");
    assert_eq!(value(&strict, "pids.max"), "40");
    assert_eq!(value(&beside, "pids.max"), "max");
    let memory = limit(&guardd, "memory_max");
    assert_eq!(memory["state"], "enforced", "{memory}");
    assert_eq!((&memory["matches"], &memory["matches_limited"]), (&2.into(), &2.into()));
    assert!(memory["remark"].as_str().unwrap().contains("keeps its own"), "{memory}");

    // One that comes later.
    let late = others.child("unit-3.scope").unwrap();
    becomes(&late, "memory.max", "134217728");
    becomes(&late, "pids.max", "40");
    assert_eq!(limit(&guardd, "pids_max")["matches"], 3);
    // One that goes leaves nothing open, and comes back under its name.
    fs::remove_dir(&late).unwrap();
    events_when(&guardd, "cgroup_unmatched", 1);
    let late = others.child("unit-3.scope").unwrap();
    becomes(&late, "pids.max", "40");

    // Its maker writes another value: told, and left.
    fs::write(one.join("pids.max"), "77").unwrap();
    let changed = events_when(&guardd, "limit_changed", 1);
    assert!(changed[0]["message"].as_str().unwrap().contains("unit-1.scope"), "{changed:?}");
    assert_eq!(value(&one, "pids.max"), "77");
    let pids = limit(&guardd, "pids_max");
    assert_eq!(
        (&pids["state"], &pids["matches_limited"]),
        (&"changed".into(), &2.into()),
        "{pids}"
    );
    let enforced = ["bulkhead=\"units\"", "resource=\"pids_max\""];
    assert_eq!(metric(&guardd, "guard_bulkhead_limit_enforced", &enforced), 0.0);

    // A reload: a stricter limit than the strict one's own, which comes back when it is taken away.
    guardd.set_config(config(&others, "memory_max = \"32MiB\"\n")).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(value(&strict, "memory.max"), "33554432");
    assert_eq!(value(&one, "pids.max"), "77", "theirs");
    assert_eq!((value(&late, "pids.max"), value(&one, "cpu.weight")), ("max".into(), "100".into()));
    guardd.set_config(config(&others, LIMITS)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(value(&strict, "memory.max"), "67108864", "its own again");

    // Killed: limits stay; cleaned up: everything as before.
    guardd.sigkill().unwrap();
    assert_eq!(value(&late, "memory.max"), "134217728");
    let said = guardd.cleanup().unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(value(&one, "memory.max"), "209715200");
    assert_eq!(
        (value(&strict, "memory.max"), value(&late, "memory.max")),
        ("67108864".into(), "max".into())
    );
    assert_eq!(value(&strict, "pids.max"), "max");
    // And after an ordinary stop.
    guardd.restart().unwrap();
    assert_eq!(value(&late, "pids.max"), "40");
    guardd.stop().unwrap();
    assert_eq!(
        (value(&late, "pids.max"), value(&one, "memory.max")),
        ("max".into(), "209715200".into())
    );
}

/// No controller is switched on in a tree of others.
#[test]
fn a_match_without_the_controller_is_said() {
    let Some(others) = ready("a_match_without_the_controller_is_said", scratch) else { return };
    fs::write(others.path().join("cgroup.subtree_control"), "-pids").unwrap();
    let one = others.child("unit-1.scope").unwrap();
    let guardd = Guardd::start(config(&others, LIMITS)).unwrap();
    let pids = limit(&guardd, "pids_max");
    assert_eq!(pids["state"], "not_enforced", "{pids}");
    let why = pids["why"].as_str().unwrap();
    assert!(why.contains("in 1 of 1 cgroups") && why.contains("does not hand"), "{pids}");
    assert!(!one.join("pids.max").exists());
    assert_eq!(limit(&guardd, "memory_max")["state"], "enforced");
    guardd.finish().unwrap();
}
