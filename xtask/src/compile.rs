//! Builds the workspace, and builds and starts the demonstration and the benchmarks. It never
//! decides which toolchain the kernel programs are built with: `guard-daemon/build.rs` does.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, setup};

/// Packages with binaries that people and tests run.
const PACKAGES: [&str; 4] = ["-p", "guard-daemon", "-p", "guard-tests"];

/// `cargo build` of all that runs on the host.
pub(crate) fn build(release: bool) -> Result<bool> {
    build_with(release, &[])
}

fn build_with(release: bool, features: &[&str]) -> Result<bool> {
    let mut command = cargo::cargo(&["build"])?;
    command.args(PACKAGES).args(features);
    if release {
        command.arg("--release");
    }
    cargo::succeeds(&mut command)
}

/// Builds everything optimised, with the features that the binary `name` needs, and becomes it.
pub(crate) fn run_binary(name: &str, features: &[&str], args: &[String]) -> Result<bool> {
    setup::ensure()?;
    ensure!(build_with(true, features)?, "the build failed: see above");
    let directory = cargo::target_dir()?.join("release");
    let mut command = Command::new(directory.join(name));
    command.args(args).env("GUARD_BIN_DIR", &directory).current_dir(cargo::root()?);
    cargo::show(&command);
    Err(command.exec()).with_context(|| format!("cannot start {name}"))
}
