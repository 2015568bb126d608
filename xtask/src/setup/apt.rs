//! Debian packages: which are installed, which version apt would install, and installing them.
//! apt is called only if a package is missing, `apt-get update` only if apt does not know a
//! package or could not fetch it.

use std::process::Command;

use anyhow::{Result, bail, ensure};

use super::piece::State;
use crate::cargo;

/// Needed whatever the compiler is, as (program, package): a C linker, and the tools of tests and
/// of the delay engine. Programs are looked for, so that this works without dpkg too.
const BASE: [(&str, &str); 4] = [
    ("cc", "build-essential"),
    ("pkg-config", "pkg-config"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
];

pub(crate) fn check_base() -> State {
    let missing = missing_base();
    if missing.is_empty() {
        State::Ok(BASE.map(|(program, _)| program).join(", "))
    } else {
        State::Missing(missing.join(", "))
    }
}

pub(crate) fn install_base(may_use_apt: bool) -> Result<()> {
    install(&missing_base(), may_use_apt)
}

fn missing_base() -> Vec<&'static str> {
    BASE.iter().filter(|(program, _)| !in_path(program)).map(|(_, package)| *package).collect()
}

/// Those of `packages` that dpkg does not have; all of them on a machine without dpkg.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output();
    // Its exit code is 1 if one package is unknown; what it prints about the rest is right.
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let installed = |name: &str| text.lines().any(|line| line == format!("{name} installed"));
    packages.iter().copied().filter(|name| !installed(name)).collect()
}

/// The version that apt would install, as `(major, minor)`; `None` if it knows none.
pub(crate) fn candidate(package: &str) -> Option<(u32, u32)> {
    let output =
        Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output().ok()?;
    version(&String::from_utf8_lossy(&output.stdout))
}

fn version(policy: &str) -> Option<(u32, u32)> {
    let text = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    // An epoch ("1:22.1.8-1") is no part of the version.
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

/// Installs packages, without those that they merely recommend.
pub(crate) fn install(packages: &[&str], may_use_apt: bool) -> Result<()> {
    ensure!(may_use_apt, "--no-apt: install these packages yourself: {}", packages.join(" "));
    require_apt(packages)?;
    let mut updated = false;
    if packages.iter().any(|package| candidate(package).is_none()) {
        update()?;
        updated = true;
    }
    let unknown: Vec<_> = packages.iter().filter(|p| candidate(p).is_none()).collect();
    ensure!(unknown.is_empty(), "apt knows no package {unknown:?} even after `apt-get update`");

    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(["-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"]);
    arguments.extend(packages);
    if cargo::succeeds(&mut apt_get(&arguments)?)? {
        return Ok(());
    }
    // The usual reason: the lists name versions that the mirror has replaced since.
    if !updated {
        update()?;
        if cargo::succeeds(&mut apt_get(&arguments)?)? {
            return Ok(());
        }
    }
    bail!("apt-get could not install {}: see above", packages.join(" "))
}

/// Fetches apt's lists.
pub(crate) fn update() -> Result<()> {
    require_apt(&[])?;
    let mut command = apt_get(&["update", "-q", "-o", "DPkg::Lock::Timeout=600"])?;
    ensure!(cargo::succeeds(&mut command)?, "`apt-get update` failed: see above");
    Ok(())
}

fn require_apt(packages: &[&str]) -> Result<()> {
    ensure!(
        in_path("apt-get") && in_path("apt-cache"),
        "this machine has no apt. guard needs, from its own package manager: a C compiler and \
         linker, pkg-config, iptables, iproute2; rustup with `rustup toolchain install nightly \
         --component rust-src`, or a rustc with a `core` for bpfel-unknown-none (GUARD_BPF_RUSTC); \
         bpf-linker 0.13 for that compiler's LLVM, in PATH or named by GUARD_BPF_LINKER. \
         Debian's names of what is missing here: {}",
        packages.join(" ")
    );
    Ok(())
}

/// `apt-get …` as root, which asks nothing.
fn apt_get(arguments: &[&str]) -> Result<Command> {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("apt-get")
    } else if in_path("sudo") {
        let mut sudo = Command::new("sudo");
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        let mut shown = Command::new("apt-get");
        shown.args(arguments);
        bail!("needs root, and there is no sudo. As root, run: {}", cargo::line(&shown));
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// Whether a program can be found; the directories of root's programs count for everyone.
pub(super) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn candidate_versions_are_read_with_and_without_epoch() {
        let policy = |v: &str| format!("rustc:\n  Installed: (none)\n  Candidate: {v}\n");
        assert_eq!(version(&policy("1.96.0+dfsg1-1~deb12u2")), Some((1, 96)));
        assert_eq!(version(&policy("1:22.1.8-1~deb12u1")), Some((22, 1)));
        assert_eq!(version(&policy("(none)")), None);
        assert_eq!(version(""), None);
    }
}
