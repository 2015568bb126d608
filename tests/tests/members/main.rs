//! Who is in a bulkhead, against the real kernel: commands under other users and on terminals, cgroups
//! of runs, cgroups of others by pattern, what is left of runs, and owners who are not root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers, also where metrics are f64")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "helpers of tests")]

mod exec;
mod nested;
mod orphans;
mod owners;
mod patterns;
#[path = "../rig/mod.rs"]
mod rig;

use std::fs;
use std::process::Command;

use testbed::guardd::Guardd;
use testbed::process::binary;

/// A user and group without rights; no entry in any database is needed.
pub const NOBODY: u32 = 65_534;

/// `guardctl` as this test's own user.
pub fn ctl(guardd: &Guardd, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("guardctl").unwrap());
    command.arg("--socket").arg(guardd.socket()).args(arguments);
    command
}

/// Exit code and both outputs.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The cgroup of a process, from the root of the tree; empty once it has ended.
pub fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// Whether it runs: a zombie does not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

/// Lets every user into a directory.
pub fn open(directory: &std::path::Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory, mode).unwrap();
}
