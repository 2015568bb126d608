//! A kernel that lacks what guard needs (Linux 5.10: no `bpf_set_retval`): guard says so, with the
//! reason and the cure, and leaves nothing. Runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::binary;
use testbed::requires;

const NEEDED: &str = "guard needs Linux 5.18 or newer";
const CURE: &str = "boot a newer kernel";
const BODY: &str = "[services.api]\nendpoints = [\"127.0.0.1:9\"]\n[bulkheads.a]\ncgroup = \"a\"\n";

/// All that guard could have put on the host.
fn host() -> (String, Vec<String>, Vec<String>) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut cgroups = Vec::new();
    directories(Path::new("/sys/fs/cgroup"), &mut cgroups);
    let output = Command::new("iptables-save").output().unwrap();
    let rules = String::from_utf8_lossy(&output.stdout).into_owned();
    // Listing a table makes its empty base chains; rules and chains of guard's do not come so.
    let made = |line: &&str| line.starts_with("-A") || line.starts_with(":GUARD");
    (mounts, cgroups, rules.lines().filter(made).map(ToOwned::to_owned).collect())
}

fn directories(below: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(below).unwrap().flatten() {
        // Those of the test itself come and go.
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() && !name.starts_with("guard-test-") {
            found.push(entry.path().display().to_string());
            directories(&entry.path(), found);
        }
    }
}

fn guardctl(arguments: &[&str]) -> Output {
    Command::new(binary("guardctl").unwrap()).args(arguments).output().unwrap()
}

#[test]
fn guardd_ends_at_once_with_the_reason_and_leaves_nothing() {
    if !requires::vm("guardd_ends_at_once_with_the_reason_and_leaves_nothing") {
        return;
    }
    let before = host();
    let mut guardd = Guardd::prepare(GuarddConfig::new(BODY)).unwrap();
    let process = guardd.launch().unwrap();
    let status = process.wait(Duration::from_secs(10)).unwrap();
    let said = process.stderr().join("\n");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(NEEDED) && said.contains(CURE), "{said}");
    assert_eq!(guardd.leftovers(), [""; 0]);
    assert_eq!(host(), before);
}

#[test]
fn doctor_names_the_kernel_as_the_failure() {
    if !requires::vm("doctor_names_the_kernel_as_the_failure") {
        return;
    }
    let before = host();
    let doctor = guardctl(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains(NEEDED) && said.contains(CURE), "{said}");
    assert!(said.contains("Linux 5."), "{said}");
    assert_eq!(host(), before);
}

#[test]
fn what_needs_no_kernel_works() {
    if !requires::vm("what_needs_no_kernel_works") {
        return;
    }
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), BODY).unwrap();
    let check = guardctl(&["check", &file.path().display().to_string()]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert_eq!(guardctl(&["version"]).status.code(), Some(0));
}
