//! `cargo xtask lint`: format, lints, documentation, file lengths, licences. It changes no file.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow};

use crate::bpf_toolchain::BpfToolchain;
use crate::cargo;
use crate::executables::PACKAGES;
use crate::report::report;
use crate::setup::{Clippy, clippy_driver};
use crate::stage::{Outcome, Stage};

mod length;

/// All checks, as the command of its own; `false` if one failed.
pub(crate) fn run_alone() -> bool {
    let stage = run();
    let well = stage.failed().count() == 0;
    println!("{}", report(&[Stage { tests: true, ..stage }]).0);
    well
}

/// All checks; a failed one does not keep the others from running.
pub(crate) fn run() -> Stage {
    let mut stage = Stage::new("lint", false);
    stage.check("format", || plain(&["fmt", "--all", "--check"]));
    stage.check("file lengths", length::check);
    stage.check("clippy", || {
        let mut command = cargo::cargo(&["clippy", "--all-targets"])?;
        // Tests that are not run here are not among `--all-targets`.
        command.args(PACKAGES).args(["--features", "guard-tests/bench", "--test", "*"]);
        Ok(cargo::succeeds(command.args(["--", "-D", "warnings"]))?.into())
    });
    stage.check("clippy of the kernel programs", kernel_programs);
    stage.check("documentation", || {
        let mut command = cargo::cargo(&["doc", "--no-deps"])?;
        command.args(PACKAGES).env("RUSTDOCFLAGS", "-Dwarnings");
        Ok(cargo::succeeds(&mut command)?.into())
    });
    stage.check("licences and advisories", || {
        let mut probe = cargo::cargo(&["deny", "--version"])?;
        let there = probe.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success();
        if !there {
            return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
        }
        plain(&["deny", "--workspace", "check"])
    });
    stage
}

fn plain(args: &[&str]) -> Result<Outcome> {
    Ok(cargo::succeeds(&mut cargo::cargo(args)?)?.into())
}

/// clippy for the kernel's target with the compiler that builds the programs; where that has no
/// clippy, its own warnings, as errors.
fn kernel_programs() -> Result<Outcome> {
    let toolchain = BpfToolchain::find().map_err(|error| anyhow!(error))?;
    let dir = BpfToolchain::target_dir(&cargo::target_dir()?);
    let inner = |subcommand| -> Result<Command> {
        let mut command = toolchain.cargo(subcommand, env::consts::ARCH, &dir);
        command.current_dir(cargo::root()?);
        Ok(command)
    };
    let mut command = match clippy_driver(&toolchain.compiler) {
        Clippy::Driver(driver) => {
            // What `cargo clippy` itself does, but with the driver of the other compiler.
            let mut command = inner("check")?;
            command.env("RUSTC_WORKSPACE_WRAPPER", driver);
            command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
            command
        }
        Clippy::Rustup => {
            let mut command = inner("clippy")?;
            command.args(["--", "-D", "warnings"]);
            command
        }
        Clippy::Missing => {
            eprintln!("no clippy of {}: its warnings count", toolchain.compiler.description);
            let mut flags = toolchain.rustflags(env::consts::ARCH);
            flags.push("-Dwarnings".to_owned());
            let mut command = inner("check")?;
            command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
            command
        }
    };
    Ok(cargo::succeeds(&mut command)?.into())
}
