//! `cargo xtask`: guard's build, test and demonstration commands. It never changes the host
//! except in `setup`, which says what it installs.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod bpf_toolchain;
mod cargo;
mod compile;
mod executables;
mod lint;
mod package;
mod report;
mod setup;
mod stage;
mod test;
mod vm;

/// guard's build, test and demonstration commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need (Debian packages, bpf-linker); safe to repeat.
    Setup(setup::Options),
    /// Build guardd, guardctl and the test-bed.
    Build {
        /// Optimised.
        #[arg(long)]
        release: bool,
    },
    /// Check format, lints, documentation, file lengths, and licences.
    Lint,
    /// Set up if needed, lint, then run the unit tests and the native tests (as root).
    Test(test::Options),
    /// Install clients that people use (Python, Node, curl, databases) and run their tests (as root).
    Clients {
        /// Passed on to the test executable.
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Run the suite on Debian's kernels in virtual machines (no root, no KVM needed).
    Vm(vm::Options),
    /// Set up if needed, build, and show guard at work on this kernel (as root, about 2 minutes).
    Demo {
        /// Passed on to guard-demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure guard against bare traffic (as root).
    Bench {
        /// Name of one benchmark and further arguments of guard-bench; all benchmarks without.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Put the optimised binaries and the shell completions into target/package.
    Package,
}

fn main() -> ExitCode {
    let Some(task) = Cli::parse().command else {
        // Without a command there is nothing to do: showing the list is the answer.
        return match Cli::command().print_help() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    };
    let done = match task {
        Task::Setup(options) => setup::run(options),
        Task::Build { release } => setup::ensure().and_then(|()| compile::build(release)),
        Task::Lint => setup::ensure().map(|()| lint::run_alone()),
        Task::Test(options) => test::run(&options),
        Task::Clients { filter } => test::run_clients(&filter),
        Task::Vm(options) => vm::run(&options),
        Task::Demo { args } => compile::run_binary("guard-demo", &[], &args),
        Task::Bench { args } => {
            compile::run_binary("guard-bench", &["--features", "guard-tests/bench"], &args)
        }
        Task::Package => package::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
