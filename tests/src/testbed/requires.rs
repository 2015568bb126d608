//! What a test needs from the machine. A test that cannot run says so in one line that
//! `cargo xtask test` collects and counts; it is never silently passed.

use crate::cgroup;

/// Says that `test` leaves itself out. The leading newline keeps the line apart from libtest's
/// own `test name ... `.
pub fn skip(test: &str, reason: &str) {
    println!("\nSKIPPED {test}: {reason}");
}

/// Whether we are root; otherwise `test` is reported as skipped: `if !requires::root("x") { return }`.
#[must_use]
pub fn root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "it needs root");
    }
    root
}

/// Whether this is a guest of `cargo xtask vm`, whose host a test may change.
#[must_use]
pub fn vm(test: &str) -> bool {
    let vm = std::env::var_os("GUARD_VM").is_some();
    if !vm {
        skip(test, "it changes the host: `cargo xtask vm` runs it in a virtual machine");
    }
    vm
}

/// Whether we are root and there is a cgroup2 mount.
#[must_use]
pub fn cgroups(test: &str) -> bool {
    if !root(test) {
        return false;
    }
    if let Err(error) = cgroup::mount_point() {
        skip(test, &format!("{error:#}"));
        return false;
    }
    true
}

/// Whether a program can be started.
#[must_use]
pub fn program(test: &str, program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    let there = std::env::split_paths(&path).chain(usual).any(|dir| dir.join(program).is_file());
    if !there {
        skip(test, &format!("the program `{program}` is not installed"));
    }
    there
}
