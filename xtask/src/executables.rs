//! The one build of all that tests run: unit tests, native tests, and what goes into guests.
//! Every stage takes its executables from here, because another choice of packages gives cargo
//! other features, and it would compile dozens of crates once more. It runs nothing itself.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Artifact, Message, TargetKind};

use crate::cargo;
use crate::setup::clients;

/// The packages of all builds and checks: guard-ebpf is compiled for the kernel alone.
pub(crate) const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "guard-ebpf"];
/// Directory of the package with the native suite.
const NATIVE: &str = "tests";
/// How the names of tests begin that run in guests only.
const GUESTS_ONLY: &str = "vm_";
/// Tests with clients that people install on their machines.
const CLIENTS: &str = "clients";
/// Tests of what asks nothing of a kernel in particular: guardctl's part of drills (what that asks,
/// `fault` tries on each), the control socket, commands, configuration files, who is in a bulkhead,
/// and what is said of resources that cannot be limited (`vm_limits` limits them on each).
const ANY_KERNEL: [&str; 8] = [
    "agents",
    "config_files",
    "drill",
    "healing",
    "lifecycle_ctl",
    "members",
    "resources",
    "safety_control",
];

/// Suites whose tests mostly wait, and run beside each other on this machine; in a guest, which has
/// less of a processor, one at a time.
const WAIT: [&str; 6] = ["breaker", "fallback", "gateway", "hygiene", "lifecycle", "limits"];

/// A test executable.
#[derive(Clone, Debug)]
pub(crate) struct Executable {
    /// Name of its target, such as `guardctl`, `observe`.
    pub(crate) name: String,
    /// Whether it has the unit tests of a program.
    pub(crate) bin: bool,
    /// Where cargo put it.
    pub(crate) path: PathBuf,
    /// Its package's directory, in which cargo would run it.
    directory: PathBuf,
}

/// What an executable's tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing of the kernel.
    Nothing,
    /// Root, and each kernel of the matrix.
    Kernel,
    /// Root and a kernel, whichever.
    AnyKernel,
    /// What `cargo xtask clients` installs, besides.
    Clients,
    /// A guest of `cargo xtask vm`.
    Guest,
}

impl Executable {
    fn new(artifact: Artifact) -> Option<Self> {
        let directory = artifact.manifest_path.parent()?.to_owned().into_std_path_buf();
        Some(Self {
            bin: artifact.target.is_kind(TargetKind::Bin),
            name: artifact.target.name,
            path: artifact.executable?.into_std_path_buf(),
            directory,
        })
    }

    /// What its tests need, by its package and name.
    pub(crate) fn needs(&self) -> Needs {
        match self.name.as_str() {
            _ if !self.directory.ends_with(NATIVE) => Needs::Nothing,
            CLIENTS => Needs::Clients,
            name if ANY_KERNEL.contains(&name) => Needs::AnyKernel,
            name if name.starts_with(GUESTS_ONLY) => Needs::Guest,
            _ => Needs::Kernel,
        }
    }

    /// Whether a few of its tests may run side by side; what measures runs alone.
    pub(crate) fn waits(&self) -> bool {
        match self.needs() {
            Needs::AnyKernel | Needs::Clients => true,
            Needs::Kernel => WAIT.contains(&self.name.as_str()),
            Needs::Nothing | Needs::Guest => false,
        }
    }

    /// The command that runs it as cargo does.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.path);
        command.args(args).current_dir(&self.directory);
        command.env("CARGO_MANIFEST_DIR", &self.directory);
        command.env("GUARD_BIN_DIR", binaries()?);
        if self.needs() == Needs::Clients {
            command.env("GUARD_CLIENTS_DIR", clients::directory()?);
        }
        Ok(command)
    }
}

/// Where the binaries are that tests start.
pub(crate) fn binaries() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("debug"))
}

/// Builds all test executables, and the binaries that they start; sorted by package.
pub(crate) fn build() -> Result<Vec<Executable>> {
    let mut command = cargo::cargo(&["test", "--no-run"])?;
    // Tests that are not run here are in `--test *` alone.
    command.args(PACKAGES).args(["--lib", "--bins", "--test", "*"]);
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    cargo::show(&command);
    let mut child = command.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("no pipe from cargo")?;
    let mut found = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.profile.test
        {
            found.extend(Executable::new(artifact));
        }
    }
    ensure!(child.wait()?.success(), "the build of the tests failed: see above");
    ensure!(!found.is_empty(), "cargo built no test executable");
    found.sort_by_key(|executable| (executable.directory.clone(), executable.name.clone()));
    Ok(found)
}
