//! `cargo xtask test`: everything that must be well before a change is merged, with one table
//! at the end. It never hides that something was left out.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::executables::{self, Executable, Needs};
use crate::report::{junit, report};
use crate::stage::{Outcome, Stage};
use crate::{cargo, lint, setup, vm};
use stream::Stream;

pub(crate) mod parse;
pub(crate) mod second_try;
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
    let (build, executables) = build();
    stages.push(build);
    if !executables.is_empty() {
        stages.extend(tests(&executables, options, deadline)?);
    }
    let (text, well) = report(&stages);
    println!("\nlogs and JUnit files: {}", results_dir()?.display());
    println!("{text}");
    Ok(well)
}

/// The stages that run tests.
fn tests(
    executables: &[Executable],
    options: &Options,
    deadline: Option<Instant>,
) -> Result<Vec<Stage>> {
    let mut stages = vec![unit(executables, options)?, native(executables, options)?];
    if options.no_clients {
        stages.push(Stage::left_out("clients", "--no-clients"));
    } else if !options.no_root {
        stages.push(clients(executables, &options.filter)?);
    }
    if options.no_vm {
        stages.push(Stage::left_out("vm", "--no-vm"));
    } else {
        stages.extend(machines(options, deadline));
    }
    Ok(stages)
}

/// What the stages run; nothing if it does not build, which the stage tells.
fn build() -> (Stage, Vec<Executable>) {
    let mut stage = Stage::new("build", false);
    let mut built = Vec::new();
    stage.check("binaries and tests", || {
        built = executables::build()?;
        Ok(Outcome::Passed)
    });
    (stage, built)
}

/// Everything that runs without the kernel's help.
fn unit(executables: &[Executable], options: &Options) -> Result<Stage> {
    stage("unit", |stream| {
        let words = words(&["--show-output"], &options.filter);
        let mut success = true;
        for executable in executables.iter().filter(|one| one.needs() == Needs::Nothing) {
            success &= stream.executable(executable, &words)?;
        }
        let mut examples = cargo::cargo(&["test", "--doc", "--no-fail-fast"])?;
        examples.args(executables::PACKAGES).arg("--").args(&options.filter);
        success &= stream.command(&mut examples)?;
        Ok(success)
    })
}

/// The test-bed's own tests and the native suite, one at a time where they measure.
fn native(executables: &[Executable], options: &Options) -> Result<Stage> {
    // The test-bed's own tests leave out by themselves what needs root.
    let chosen = |executable: &&Executable| !options.no_root || executable.name == "testbed";
    let executables: Vec<_> = executables.iter().filter(chosen).cloned().collect();
    let mut stage = stage("native", |stream| {
        let success = patiently(stream, &executables, Needs::Kernel, &options.filter)?;
        Ok(patiently(stream, &executables, Needs::AnyKernel, &options.filter)? && success)
    })?;
    if options.no_root {
        let reason = "it needs root (--no-root)".to_owned();
        stage.add("native suite", Outcome::Skipped(reason));
    }
    Ok(stage)
}

/// Clients that nobody here wrote. What keeps them from being installed is a failure among the
/// results, so that those of the other stages are still shown.
fn clients(executables: &[Executable], filter: &[String]) -> Result<Stage> {
    let ready = setup::ensure_clients().and_then(|()| setup::clients::copy_scripts());
    if let Err(error) = ready {
        eprintln!("clients ... FAILED: {error:#}");
        let mut stage = Stage::new("clients", true);
        stage.add("the installation of the clients", Outcome::Failed);
        stage.cases[0].output = format!("{error:#}");
        return Ok(stage);
    }
    stage("clients", |stream| patiently(stream, executables, Needs::Clients, filter))
}

/// Runs the tests of all executables with these needs, where real time counts: several at once if
/// they mostly wait, and with a second try. Whether all passed at last.
fn patiently(
    stream: &mut Stream,
    executables: &[Executable],
    needs: Needs,
    filter: &[String],
) -> Result<bool> {
    let mut success = true;
    for executable in executables.iter().filter(|executable| executable.needs() == needs) {
        let threads = if executable.waits() { "--test-threads=3" } else { "--test-threads=1" };
        success &= stream.patiently(executable, &words(&["--show-output", threads], filter))?;
    }
    Ok(success)
}

fn words<'a>(own: &[&'a str], filter: &'a [String]) -> Vec<&'a str> {
    own.iter().copied().chain(filter.iter().map(String::as_str)).collect()
}

/// `cargo xtask clients`.
pub(crate) fn run_clients(filter: &[String]) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "the clients run inside bulkheads: run as root");
    setup::ensure()?;
    let (build, executables) = build();
    let mut stages = vec![build];
    if !executables.is_empty() {
        stages.push(clients(&executables, filter)?);
    }
    let (text, well) = report(&stages);
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

/// Runs a stage of tests and keeps its results.
fn stage(name: &str, run: impl FnOnce(&mut Stream) -> Result<bool>) -> Result<Stage> {
    let start = Instant::now();
    let dir = results_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut stream = Stream::new(&dir.join(format!("{name}.log")))?;
    let success = run(&mut stream)?;
    let (cases, seconds) = (stream.finish(), start.elapsed().as_secs_f64());
    let mut stage = Stage { name: name.to_owned(), tests: true, cases, seconds };
    if !success && stage.failed().count() == 0 {
        // It has said why, above.
        stage.add("the commands as a whole: see their output", Outcome::Failed);
    }
    junit::write(&dir, &stage)?;
    Ok(stage)
}

/// Where logs and results are left.
fn results_dir() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("xtask"))
}
