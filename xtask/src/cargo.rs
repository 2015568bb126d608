//! Runs cargo and other programs from the top of the repository. It never hides what it runs:
//! each command line is shown before it starts.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The top directory of the repository.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("xtask's directory has no parent")?;
    if root.join("Cargo.toml").is_file() {
        return Ok(root.to_owned());
    }
    bail!("{} is gone: the repository moved after xtask was built; rebuild it", root.display())
}

/// cargo's target directory: the one that this very executable was built into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("where is this executable?")?;
    let dir = exe.ancestors().nth(2).context("xtask is not in a target directory")?;
    Ok(dir.to_owned())
}

/// The cargo that runs us, at the top of the repository.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()?);
    Ok(command)
}

/// Shows a command line and runs it; `Ok(false)` if it ran and failed.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(status.success())
}

/// Shows a command line as one would type it.
pub(crate) fn show(command: &Command) {
    eprintln!("$ {}", line(command));
}

/// A command line as one would type it, without its directory and environment.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.into_owned()
        } else {
            format!("'{arg}'")
        }
    }));
    words.join(" ")
}
