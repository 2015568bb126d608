//! The compiler of the kernel programs: finds the one in use, installs one if there is none.
//! It never replaces a compiler that the user named.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::apt;
use super::piece::State;
use crate::bpf_toolchain::{Compiler, MIN_RUSTC};
use crate::cargo;

/// Compiler, its standard library for BPF, its clippy: Debian's names, best first.
const DEBIAN: [[&str; 3]; 2] = [
    // A newer compiler beside the release's own (bookworm, perhaps trixie).
    ["rustc-web", "libstd-rust-web-dev-bpf", "rust-web-clippy"],
    ["rustc", "libstd-rust-dev-bpf", "rust-clippy"],
];

pub(crate) fn check() -> State {
    Compiler::find().map(|compiler| compiler.description).into()
}

pub(crate) fn install(may_use_apt: bool) -> Result<()> {
    for name in ["GUARD_BPF_RUSTC", "GUARD_BPF_TOOLCHAIN"] {
        ensure!(
            env::var_os(name).is_none_or(|value| value.is_empty()),
            "{name} names a compiler that does not work (see above): correct or unset it"
        );
    }
    if may_use_apt && let Some(set) = debian_set() {
        return apt::install(&set[..2], may_use_apt);
    }
    println!("Debian has no compiler for BPF of version {}.{} or newer", MIN_RUSTC.0, MIN_RUSTC.1);
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    rustup.args(["--component", "rust-src", "--component", "clippy"]);
    let done = cargo::succeeds(&mut rustup)
        .context("there is no rustup either: install it, or name a compiler in GUARD_BPF_RUSTC")?;
    ensure!(done, "rustup could not install nightly with rust-src: see above");
    Ok(())
}

/// clippy can look at the kernel programs only if it is of the same version as their compiler.
pub(crate) fn check_clippy() -> State {
    match Compiler::find() {
        Err(_) => State::Missing("needs the BPF compiler first".to_owned()),
        Ok(compiler) => match clippy_driver(&compiler) {
            Clippy::Driver(driver) => State::Ok(driver),
            Clippy::Rustup => State::Ok("rustup's".to_owned()),
            Clippy::Missing if is_debian(&compiler) => {
                State::Missing("/usr/bin/clippy-driver".to_owned())
            }
            Clippy::Missing => State::Ok("none: rustc's own warnings will do".to_owned()),
        },
    }
}

pub(crate) fn install_clippy(may_use_apt: bool) -> Result<()> {
    for [rustc, _, clippy] in DEBIAN {
        if apt::missing(&[rustc]).is_empty() {
            return apt::install(&[clippy], may_use_apt);
        }
    }
    bail!("/usr/bin/rustc is of no package that is known here: install its clippy-driver")
}

/// How clippy can be run on the kernel programs.
pub(crate) enum Clippy {
    /// This `clippy-driver` beside the compiler.
    Driver(String),
    /// `cargo clippy` of the rustup toolchain.
    Rustup,
    /// Not at all.
    Missing,
}

/// Finds the clippy of exactly this compiler.
pub(crate) fn clippy_driver(compiler: &Compiler) -> Clippy {
    if let Some(rustc) = &compiler.rustc {
        let driver = rustc.with_file_name("clippy-driver");
        let version = |program: &Path| Command::new(program).arg("-vV").output().ok();
        return match (version(&driver), version(rustc)) {
            (Some(a), Some(b)) if a.status.success() && commit(&a.stdout) == commit(&b.stdout) => {
                Clippy::Driver(driver.display().to_string())
            }
            _ => Clippy::Missing,
        };
    }
    let Some(name) = &compiler.toolchain else { return Clippy::Missing };
    let output = Command::new("rustup").args(["run", name, "cargo-clippy", "-V"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        Clippy::Rustup
    } else {
        Clippy::Missing
    }
}

/// The line of `-vV` that two programs share only if they are of one build.
fn commit(version: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(version);
    text.lines().find(|line| line.starts_with("commit-hash: ")).map(ToOwned::to_owned)
}

fn is_debian(compiler: &Compiler) -> bool {
    compiler.rustc.as_deref() == Some(Path::new("/usr/bin/rustc"))
        && env::var_os("GUARD_BPF_RUSTC").is_none()
}

/// The first set whose compiler is new enough, after one `apt-get update` if apt knows none.
fn debian_set() -> Option<[&'static str; 3]> {
    let find = || {
        DEBIAN.into_iter().find(|[rustc, library, _]| {
            apt::candidate(rustc).is_some_and(|version| version >= MIN_RUSTC)
                && apt::candidate(library).is_some_and(|version| version >= MIN_RUSTC)
        })
    };
    find().or_else(|| {
        if let Err(error) = apt::update() {
            println!("{error:#}");
        }
        find()
    })
}
