//! `cargo xtask setup`: brings a Debian machine to where guard builds and its tests run. It says
//! what it does, does nothing twice, and changes nothing but Debian packages, a rustup toolchain
//! if Debian has no compiler for BPF, and the tools directory.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

mod apt;
pub(crate) mod clients;
mod compiler;
mod linker;
mod machines;
mod piece;

pub(crate) use compiler::{Clippy, clippy_driver};
use piece::{Piece, State};

/// Options of `setup`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only report; exit code 1 if something is missing.
    #[arg(long)]
    check: bool,
    /// Never call apt: a missing package is an error that lists what is needed.
    #[arg(long)]
    no_apt: bool,
}

/// Every piece, in the order in which they need each other.
fn pieces() -> Vec<Piece> {
    vec![
        Piece { name: "system packages", check: apt::check_base, install: apt::install_base },
        Piece { name: "BPF compiler", check: compiler::check, install: compiler::install },
        Piece {
            name: "BPF clippy",
            check: compiler::check_clippy,
            install: compiler::install_clippy,
        },
        Piece { name: "bpf-linker", check: linker::check, install: linker::install },
    ]
}

/// What virtual machines need besides; installed by `setup`, and by commands that boot one.
fn machine_pieces() -> Vec<Piece> {
    vec![Piece { name: "virtual machines", check: machines::check, install: machines::install }]
}

/// What the test with real clients needs besides; installed by the commands that run it.
fn client_pieces() -> Vec<Piece> {
    vec![
        Piece {
            name: "client programs",
            check: clients::check_programs,
            install: clients::install_programs,
        },
        Piece {
            name: "client libraries",
            check: clients::check_libraries,
            install: clients::install_libraries,
        },
    ]
}

/// Installs what is missing, or with `--check` only says what is.
pub(crate) fn run(options: Options) -> Result<bool> {
    install(&[pieces(), machine_pieces()].concat(), options)
}

fn install(pieces: &[Piece], options: Options) -> Result<bool> {
    let mut complete = true;
    for (number, piece) in (1..).zip(pieces) {
        let prefix = format!("[{number}/{}] {:<16}", pieces.len(), piece.name);
        let missing = match (piece.check)() {
            State::Ok(found) => {
                println!("{prefix} ok       {found}");
                continue;
            }
            State::Missing(what) => what,
        };
        println!("{prefix} missing  {missing}");
        if options.check {
            complete = false;
            continue;
        }
        let start = Instant::now();
        (piece.install)(!options.no_apt).with_context(|| format!("setup: {}", piece.name))?;
        let seconds = start.elapsed().as_secs();
        match (piece.check)() {
            State::Ok(found) => println!("{prefix} ok       {found} ({seconds} s)"),
            State::Missing(what) => {
                ensure!(false, "setup: {}: installed, yet still missing: {what}", piece.name);
            }
        }
    }
    if options.check && !complete {
        println!("Something is missing. Cure: cargo xtask setup");
    }
    Ok(complete)
}

/// For the commands that need a complete machine: runs `setup` if something is missing, and is
/// silent otherwise.
pub(crate) fn ensure() -> Result<()> {
    ensure_pieces(&pieces())
}

/// The same for what virtual machines need.
pub(crate) fn ensure_vm() -> Result<()> {
    ensure_pieces(&machine_pieces())
}

/// The same for the test with real clients.
pub(crate) fn ensure_clients() -> Result<()> {
    ensure_pieces(&client_pieces())
}

fn ensure_pieces(pieces: &[Piece]) -> Result<()> {
    if pieces.iter().all(|piece| matches!((piece.check)(), State::Ok(_))) {
        return Ok(());
    }
    println!("This machine is not set up yet: doing this part of `cargo xtask setup`");
    ensure!(install(pieces, Options::default())?, "setup is not complete: see above");
    Ok(())
}
