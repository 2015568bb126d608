//! Runs one guest under QEMU, without KVM, and watches it. It never lets a guest outlive its
//! limits, and ends no process but the one that it has started.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernels::Kernel;
use crate::cargo;

/// Longest run of a guest as a whole.
const LIMIT: Duration = Duration::from_mins(40);
/// Longest time without a line of results: longer than any one test may take.
const SILENCE: Duration = Duration::from_mins(8);
/// Longest time until the first of them. Emulated guests are up after seconds, on a slow machine
/// after a minute; one in some hundreds says no word for ever, not even as a kernel.
const BOOT: Duration = Duration::from_mins(2);
/// The first kernel whose socket storage needs cmpxchg16b, and whose verifier is slow.
const NEW: (u32, u32) = (7, 0);
/// The kernel's command line.
const BOOT_WORDS: [&str; 11] = [
    "console=ttyS0",
    "quiet",
    "rdinit=/init",
    // Any complaint ends the guest at once.
    "panic=-1",
    "oops=panic",
    // With random addresses the emulator would translate each program anew at each start: two
    // thirds of all time.
    "norandmaps",
    // It is the host's own, and needs no exit; 6.1 takes the HPET otherwise.
    "tsc=reliable",
    "clocksource=tsc",
    // Costs much in an emulator, and nothing of it is tested.
    "mitigations=off",
    "init_on_alloc=0",
    "lsm=",
];
/// Instructions that programs take for fast and that the emulator does byte by byte: without them
/// the suite needs a fifth less time.
const SLOW_WHEN_EMULATED: &str = "-erms,-fsrm,-avx,-avx2";
const POLL: Duration = Duration::from_millis(200);
const MEMORY_MB: u32 = 2048;

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, or by a panic: the results tell.
    ByItself,
    /// It was silent or ran for too long.
    Hung(String),
    /// It has not come up: no test has begun.
    NotBooted,
    /// It was still well when the whole run's time was up.
    OutOfTime,
    /// QEMU gave up.
    Failed(String),
}

/// Threads of the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// One for both of a guest's processors: with two, one can take in an instruction that the
    /// other's kernel is patching, and fall over a breakpoint that is long gone (QEMU 7.2; "Oops:
    /// int3" where `cpu.max` turned a static key). Guests share few real processors, so it costs no time.
    One,
    /// One for each, for what is timed: processors that share a thread run by turns, which real ones do
    /// not. A run that dies of such a breakpoint is to be repeated.
    ForEach,
}

/// Files of a run.
pub(super) struct Files {
    /// What the kernel said.
    pub(super) console: PathBuf,
    /// What the tests said.
    pub(super) results: PathBuf,
    /// What QEMU said.
    qemu: PathBuf,
}

impl Files {
    /// In the directory of the kernel; those of an earlier run are removed.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let files = Self {
            console: dir.join("console.log"),
            results: dir.join("results.log"),
            qemu: dir.join("qemu.log"),
        };
        for path in [&files.console, &files.results] {
            fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(files)
    }

    /// What QEMU itself had to say, after a separator; empty without a word.
    pub(super) fn qemu_said(&self) -> String {
        let said = fs::read_to_string(&self.qemu).unwrap_or_default();
        if said.trim().is_empty() { said } else { format!("; QEMU said: {}", said.trim()) }
    }
}

/// Boots and waits for the end, until `deadline` at most; `line` gets each line of results as it
/// comes.
pub(super) fn run(
    kernel: &Kernel,
    initramfs: &Path,
    files: &Files,
    threads: Threads,
    deadline: Option<Instant>,
    mut line: impl FnMut(&str),
) -> Result<Ended> {
    let mut command = command(kernel, initramfs, files, threads)?;
    let log = File::create(&files.qemu)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    cargo::show(&command);
    let child = command.spawn().context("cannot run qemu-system-x86_64: `cargo xtask setup`")?;
    let mut guest = Guest(child);
    let mut results = BufReader::new(File::open(&files.results)?);
    let (start, mut heard, mut partial) = (Instant::now(), Instant::now(), Vec::new());
    let mut booted = false;
    loop {
        let ended = guest.0.try_wait()?;
        while results.read_until(b'\n', &mut partial)? > 0 {
            (heard, booted) = (Instant::now(), true);
            if partial.last() == Some(&b'\n') {
                line(String::from_utf8_lossy(&partial).trim_end_matches(['\n', '\r']));
                partial.clear();
            }
        }
        if let Some(status) = ended {
            if !partial.is_empty() {
                line(&String::from_utf8_lossy(&partial));
            }
            if status.success() {
                return Ok(Ended::ByItself);
            }
            return Ok(Ended::Failed(format!("QEMU ended with {status}{}", files.qemu_said())));
        }
        let hung = if start.elapsed() > LIMIT {
            Some(format!("it ran for more than {} minutes", LIMIT.as_secs() / 60))
        } else if heard.elapsed() > SILENCE {
            Some(format!("it was silent for {} s", SILENCE.as_secs()))
        } else {
            None
        };
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(Ended::OutOfTime);
        }
        if !booted && start.elapsed() > BOOT {
            return Ok(Ended::NotBooted);
        }
        if let Some(how) = hung {
            // A test's name stands in a line without its end.
            if !partial.is_empty() {
                line(&String::from_utf8_lossy(&partial));
            }
            return Ok(Ended::Hung(how));
        }
        thread::sleep(POLL);
    }
}

fn command(kernel: &Kernel, initramfs: &Path, files: &Files, threads: Threads) -> Result<Command> {
    let mut command = Command::new("nice");
    command.args(["-n", &niceness(kernel)?.to_string(), "qemu-system-x86_64"]);
    // QEMU 7.2 miscomputes cmpxchg16b, which the slab allocator of kernels before 7 uses where it
    // is there (guests died of double faults); without it later ones give no socket storage.
    let cx16 = kernel.version()? >= NEW;
    let emulator = match threads {
        Threads::One => "tcg,thread=single",
        Threads::ForEach => "tcg,thread=multi",
    };
    command.args(["-accel", emulator, "-machine", "q35", "-smp", "2"]);
    let cpu = [if cx16 { "max" } else { "max,-cx16" }, SLOW_WHEN_EMULATED].join(",");
    command.args(["-cpu", &cpu]);
    command.args(["-m", &MEMORY_MB.to_string(), "-nodefaults", "-display", "none", "-no-reboot"]);
    for path in [&files.console, &files.results] {
        command.arg("-serial").arg(format!("file:{}", path.display()));
    }
    command.arg("-kernel").arg(&kernel.vmlinuz).arg("-initrd").arg(initramfs);
    command.arg("-append").arg(BOOT_WORDS.join(" "));
    Ok(command)
}

/// The newest kernel needs a sixth more time than the others beside it, above all for its verifier:
/// it gets so much more of the processors, so that all end together.
fn niceness(kernel: &Kernel) -> Result<u32> {
    Ok(u32::from(kernel.version()? < NEW))
}

/// Ends QEMU however its watcher ends.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        if !matches!(self.0.try_wait(), Ok(Some(_)))
            && let Err(error) = self.0.kill().and_then(|()| self.0.wait())
        {
            eprintln!("cannot end QEMU (pid {}): {error}", self.0.id());
        }
    }
}
