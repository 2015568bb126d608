//! `cargo xtask vm KERNEL --bench NAME`: a benchmark inside a guest, for what this machine's kernel
//! lacks. Its times are those of an emulated processor: good for comparing within one run, and for
//! nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::kernels::{Kernel, Role};
use super::qemu::{Ended, Files, Threads};
use super::{initramfs, qemu, results, suite};
use crate::cargo;

/// Built optimised: what is measured is not the compiler's debugging code.
const BUILD: [&str; 9] = [
    "build",
    "--release",
    "-p",
    "guard-daemon",
    "-p",
    "guard-tests",
    "--bins",
    "--features",
    "guard-tests/bench",
];
const BINARIES: [&str; 4] = ["guardd", "guardctl", "guard-bench", "testbed-hog"];

/// Runs it on each kernel in turn and prints what it says; `Ok(false)` if a target was missed.
pub(super) fn run(kernels: &[Kernel], name: &str, quick: bool, dir: &Path) -> Result<bool> {
    ensure!(cargo::succeeds(&mut cargo::cargo(&BUILD)?)?, "the build failed: see above");
    let mut met = true;
    for kernel in kernels.iter().filter(|kernel| kernel.role == Role::Supported) {
        met &= on(kernel, name, quick, &dir.join(&kernel.name))?;
    }
    Ok(met)
}

fn on(kernel: &Kernel, name: &str, quick: bool, dir: &Path) -> Result<bool> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let release = cargo::target_dir()?.join("release");
    let binaries = BINARIES.map(|name| ("/usr/local/bin", release.join(name)));
    let contents = initramfs::Contents {
        files: suite::stripped(&binaries, &dir.join("stripped"))?,
        script: format!(
            "guard-bench {}{} 2>&1\necho \"guard-vm end bench $?\"\n",
            suite::quote(name),
            if quick { " --quick" } else { "" }
        ),
    };
    let initramfs = initramfs::build(kernel, &contents, dir)?;
    let files = Files::new(dir)?;
    let mut code = None;
    let line = |line: &str| match line.strip_prefix("guard-vm ") {
        Some(word) => code = word.strip_prefix("end bench ").map(str::to_owned).or(code.take()),
        None => println!("{line}"),
    };
    let ended = qemu::run(kernel, &initramfs, &files, Threads::ForEach, None, line)?;
    results::tidy(dir);
    ensure!(
        ended == Ended::ByItself,
        "{}: {ended:?}; its console is in {}",
        kernel.name,
        dir.display()
    );
    match code.as_deref() {
        Some("0") => Ok(true),
        Some("1") => Ok(false),
        code => anyhow::bail!("{}: the benchmark failed (exit code {code:?})", kernel.name),
    }
}
