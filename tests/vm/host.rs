//! guard on a host that is as plain as can be: cgroup2 alone, no bpffs, no tracefs, no systemd,
//! and everything else a module. Runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use std::fs;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;

const BODY: &str = "[services.api]\nendpoints = [\"127.0.0.1:9\"]\n[bulkheads.a]\ncgroup = \"a\"\n";

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

fn kinds_at(mounts: &str, path: &str) -> Vec<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f[1] == path).map(|f| f[2].to_owned()).collect()
}

#[test]
fn pure_cgroup2_is_found_and_used() {
    if !requires::vm("pure_cgroup2_is_found_and_used") {
        return;
    }
    assert_eq!(kinds_at(&mounts(), "/sys/fs/cgroup"), ["cgroup2"]);
    assert!(!mounts().lines().any(|line| line.contains(" cgroup ")), "no version 1 anywhere");
    let guardd = Guardd::start(GuarddConfig::new(BODY)).unwrap();
    let doctor = guardd.ctl(&["doctor"]).unwrap();
    assert!(doctor.stdout.contains("cgroup2 (pure) at /sys/fs/cgroup"), "{}", doctor.stdout);
    assert_eq!(doctor.code, 0, "{}", doctor.stdout);
    assert!(guardd.bulkhead("a").join("cgroup.procs").is_file());
}

#[test]
fn no_bpffs_is_needed_and_none_is_left() {
    if !requires::vm("no_bpffs_is_needed_and_none_is_left") {
        return;
    }
    let before = mounts();
    assert!(!before.lines().any(|line| line.contains(" bpf ")), "{before}");
    let guardd = Guardd::start(GuarddConfig::new(BODY)).unwrap();
    guardd.finish().unwrap();
    assert_eq!(mounts(), before);
}
