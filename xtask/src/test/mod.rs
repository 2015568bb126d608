//! `cargo xtask test`: everything that must be well before a change is merged, with one table
//! at the end. It never hides that something was left out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::report::{junit, report};
use crate::stage::{Outcome, Stage};
use crate::{cargo, lint, setup, vm};

pub(crate) mod parse;
mod stream;

/// Options of `test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the native tests, which load programs into the kernel and need root.
    #[arg(long)]
    no_root: bool,
    /// Leave out the tests with clients that people use, and with it their installation.
    #[arg(long)]
    no_clients: bool,
    /// Leave out the virtual machines with other kernels.
    #[arg(long)]
    no_vm: bool,
    /// Longest time for everything: guests that are not done by then are ended, and what they have
    /// not tried is listed as skipped.
    #[arg(long)]
    minutes: Option<u64>,
    /// Leave out format, lints and documentation.
    #[arg(long)]
    no_lint: bool,
    /// Passed on to every test executable: names to filter by, libtest's options.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// Runs all stages and prints the table; `Ok(false)` if anything failed or no test ran.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let deadline = options.minutes.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let root = nix::unistd::geteuid().is_root();
    ensure!(
        root || options.no_root,
        "the native tests load programs into the kernel and need root: run as root, or leave them \
         out with `cargo xtask test --no-root`"
    );
    setup::ensure()?;
    let mut stages = Vec::new();
    if options.no_lint {
        stages.push(Stage::left_out("lint", "--no-lint"));
    } else {
        stages.push(lint::run());
    }
    stages.push(unit(options)?);
    stages.push(native(options)?);
    if options.no_clients {
        stages.push(Stage::left_out("clients", "--no-clients"));
    } else if !options.no_root {
        stages.push(clients(&options.filter)?);
    }
    if options.no_vm {
        stages.push(Stage::left_out("vm", "--no-vm"));
    } else {
        stages.extend(machines(options, deadline));
    }
    let (text, well) = report(&stages);
    println!("\nlogs and JUnit files: {}", results_dir()?.display());
    println!("{text}");
    Ok(well)
}

/// Everything that runs without the kernel's help.
fn unit(options: &Options) -> Result<Stage> {
    let mut command = cargo::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    command.args(["--exclude", "guard-ebpf", "--exclude", "guard-tests"]);
    command.args(["--", "--show-output"]).args(&options.filter);
    stage("unit", &mut command)
}

/// The test-bed's own tests and the native suite, one at a time: they measure.
fn native(options: &Options) -> Result<Stage> {
    let binaries = cargo::target_dir()?.join("debug");
    let start = Instant::now();
    if !build_binaries()? {
        return Ok(not_built("native"));
    }
    let built_seconds = start.elapsed().as_secs_f64();
    let mut command = cargo::cargo(&["test", "-p", "guard-tests", "--no-fail-fast"])?;
    if options.no_root {
        // The test-bed's own tests leave out by themselves what needs root.
        command.args(["--lib", "--test", "testbed"]);
    }
    command.args(["--", "--show-output", "--test-threads=1"]).args(&options.filter);
    command.env("GUARD_BIN_DIR", binaries);
    let mut stage = stage("native", &mut command)?;
    stage.seconds += built_seconds;
    if options.no_root {
        let reason = "it needs root (--no-root)".to_owned();
        stage.add("native suite", Outcome::Skipped(reason));
    }
    Ok(stage)
}

/// The programs that tests start.
fn build_binaries() -> Result<bool> {
    let mut build = cargo::cargo(&["build", "-p", "guard-daemon", "-p", "guard-tests", "--bins"])?;
    cargo::succeeds(&mut build)
}

fn not_built(name: &str) -> Stage {
    let mut stage = Stage::new(name, true);
    stage.add("the build of the binaries", Outcome::Failed);
    stage
}

/// Clients that nobody here wrote. What keeps them from being installed is a failure among the
/// results, so that those of the other stages are still shown.
fn clients(filter: &[String]) -> Result<Stage> {
    let ready = setup::ensure_clients().and_then(|()| setup::clients::copy_scripts());
    if let Err(error) = ready {
        eprintln!("clients ... FAILED: {error:#}");
        let mut stage = Stage::new("clients", true);
        stage.add("the installation of the clients", Outcome::Failed);
        stage.cases[0].output = format!("{error:#}");
        return Ok(stage);
    }
    if !build_binaries()? {
        return Ok(not_built("clients"));
    }
    let mut command = cargo::cargo(&["test", "-p", "guard-tests", "--test", "clients"])?;
    command.args(["--", "--show-output", "--test-threads=1"]).args(filter);
    command.env("GUARD_BIN_DIR", cargo::target_dir()?.join("debug"));
    command.env("GUARD_CLIENTS_DIR", setup::clients::directory()?);
    stage("clients", &mut command)
}

/// `cargo xtask clients`.
pub(crate) fn run_clients(filter: &[String]) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "the clients run inside bulkheads: run as root");
    setup::ensure()?;
    let (text, well) = report(&[clients(filter)?]);
    println!("{text}");
    Ok(well)
}

/// The same on Debian's kernels. What keeps the guests from starting is one failure among the
/// results, so that those of the other stages are still shown.
fn machines(options: &Options, deadline: Option<Instant>) -> Vec<Stage> {
    vm::stages(&vm::Options::all(&options.filter, deadline)).unwrap_or_else(|error| {
        eprintln!("vm ... FAILED: {error:#}");
        let mut stage = Stage::new("vm", true);
        stage.add("the virtual machines as a whole", Outcome::Failed);
        stage.cases[0].output = format!("{error:#}");
        vec![stage]
    })
}

/// Runs a test command and keeps its results.
fn stage(name: &str, command: &mut Command) -> Result<Stage> {
    let start = Instant::now();
    cargo::show(command);
    let dir = results_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (cases, success) = stream::run(command, &dir.join(format!("{name}.log")))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut stage = Stage { name: name.to_owned(), tests: true, cases, seconds };
    if !success && stage.failed().count() == 0 {
        // It did not build: cargo has said why, above.
        stage.add("the command as a whole: see its output", Outcome::Failed);
    }
    junit::write(&dir, &stage)?;
    Ok(stage)
}

/// Where logs and results are left.
fn results_dir() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("xtask"))
}
