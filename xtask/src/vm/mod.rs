//! `cargo xtask vm`: the native suite, and tests that only a guest can run, on Debian's kernels
//! under QEMU. It changes nothing outside cargo's target directory, and a guest can reach nothing
//! outside itself: it has no network card.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::report::{junit, report};
use crate::stage::Stage;
use crate::{cargo, setup};
use kernels::{Kernel, Role};
use results::Report;
use suite::Suite;

mod archive;
mod bench;
mod console;
mod initramfs;
mod kernels;
mod modules;
mod programs;
mod qemu;
mod results;
mod suite;
mod table;
mod verifier;

/// How much more time at least tests give to things in a guest, whose processor is emulated and
/// shared.
const TIME_SCALE: u32 = 6;

/// Options of `vm`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Kernels of the matrix: 6.1, 6.12, latest, 5.10 (which guard refuses); all without a name.
    kernels: Vec<String>,
    /// Boot this image instead (Linux 5.18 or newer).
    #[arg(long, requires = "modules", conflicts_with = "kernels")]
    kernel: Option<PathBuf>,
    /// Its lib/modules/RELEASE.
    #[arg(long, requires = "kernel")]
    modules: Option<PathBuf>,
    /// Fetch the kernels again, in case Debian has newer ones.
    #[arg(long)]
    refresh: bool,
    /// How many kernels run at once [default: one more than this machine has processors: a guest
    /// needs one and waits a part of the time].
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Write what the verifiers of these kernels, and of this machine's, say into docs/verifier.md.
    #[arg(long, conflicts_with = "filter")]
    update_verifier: bool,
    /// Run this benchmark (of `cargo xtask bench`) inside, in place of the tests.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filter", "update_verifier"])]
    bench: Option<String>,
    /// With `--bench`: a tenth of its rounds.
    #[arg(long, requires = "bench")]
    quick: bool,
    /// When the guests must have ended.
    #[arg(skip)]
    deadline: Option<Instant>,
    /// Passed on to every test executable: names to filter by, libtest's options.
    #[arg(last = true)]
    filter: Vec<String>,
}

impl Options {
    /// The whole matrix, as a part of `cargo xtask test`.
    pub(crate) fn all(filter: &[String], deadline: Option<Instant>) -> Self {
        Self { filter: filter.to_vec(), deadline, ..Self::default() }
    }
}

/// Runs the matrix and prints the tables; `Ok(false)` if anything is not as it should be.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::ensure()?;
    if options.update_verifier {
        return update_verifier(options);
    }
    if let Some(name) = &options.bench {
        return bench::run(&kernels(options)?, name, options.quick, &dir()?);
    }
    let stages = stages(options)?;
    let (text, well) = report(&stages);
    println!("{text}");
    Ok(well)
}

/// One stage per kernel.
pub(crate) fn stages(options: &Options) -> Result<Vec<Stage>> {
    let kernels = kernels(options)?;
    let reports = boot_all(&kernels, options, &options.filter)?;
    let table = table::table(&reports.iter().map(|report| &report.stage).collect::<Vec<_>>());
    println!("\n{table}");
    for note in reports.iter().flat_map(|report| &report.notes) {
        println!("note: {note}");
    }
    println!("\nconsoles, results and JUnit files: {}/KERNEL", dir()?.display());
    Ok(reports.into_iter().map(|report| report.stage).collect())
}

fn update_verifier(options: &Options) -> Result<bool> {
    let mut kernels = kernels(options)?;
    kernels.retain(|kernel| kernel.role == Role::Supported);
    let mut measured = Vec::new();
    for (kernel, report) in
        kernels.iter().zip(boot_all(&kernels, options, &[verifier::TEST.to_owned()])?)
    {
        let numbers = verifier::numbers(&report.stage);
        ensure!(!numbers.is_empty(), "{}", crate::report::report(&[report.stage]).0);
        measured.push((kernel.release.clone(), numbers));
    }
    measured.extend(verifier::here()?);
    verifier::update(&measured)?;
    Ok(true)
}

fn dir() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("vm"))
}

fn kernels(options: &Options) -> Result<Vec<Kernel>> {
    setup::ensure_vm()?;
    match &options.kernel {
        Some(image) => Ok(vec![Kernel::from_files(image, options.modules.as_deref())?]),
        None => kernels::of_names(&options.kernels, &dir()?.join("kernels"), options.refresh),
    }
}

/// Boots several at once; the results are in the order of the kernels.
fn boot_all(kernels: &[Kernel], options: &Options, filter: &[String]) -> Result<Vec<Report>> {
    let (suite, dir) = (Suite::build()?, dir()?);
    let jobs = options.jobs.map_or_else(
        || thread::available_parallelism().map_or(1, |processors| processors.get() + 1),
        NonZeroUsize::get,
    );
    // Those that guard cannot run on need seconds: first, so that there is time for them.
    let mut order: Vec<_> = kernels.iter().enumerate().collect();
    order.sort_by_key(|(_, kernel)| kernel.role == Role::Supported);
    // Guests take turns at where they begin: those that run the whole suite.
    let turns = kernels.iter().filter(|kernel| kernel.role == Role::Supported).count();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(kernels.len()) {
            scope.spawn(|| {
                while let Some((at, kernel)) = take(&next, &order) {
                    let turn = (at, turns);
                    let report = boot(kernel, &suite, filter, turn, &dir, options.deadline);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, report));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, report)| report).collect()
}

fn take<T: Copy>(next: &AtomicUsize, all: &[T]) -> Option<T> {
    all.get(next.fetch_add(1, Ordering::Relaxed)).copied()
}

fn boot(
    kernel: &Kernel,
    suite: &Suite,
    filter: &[String],
    (turn, turns): (usize, usize),
    dir: &Path,
    deadline: Option<Instant>,
) -> Result<Report> {
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        let stage = Stage::left_out(&format!("vm-{}", kernel.name), results::NO_TIME);
        return Ok(Report { stage, notes: Vec::new() });
    }
    let dir = dir.join(&kernel.name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let contents = initramfs::Contents {
        files: suite.files(kernel.role, &dir.join("stripped"))?,
        script: suite.script(kernel.role, filter, turn, turns)?,
    };
    let initramfs = initramfs::build(kernel, &contents, &dir)?;
    let report = results::of(kernel, &initramfs, &dir, deadline)?;
    junit::write(&dir, &report.stage)?;
    results::tidy(&dir);
    Ok(report)
}
