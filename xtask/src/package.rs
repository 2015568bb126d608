//! Puts what a package of guard is made of into `target/package`: binaries and completions. It
//! never installs anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, compile, setup};

const SHELLS: [(&str, &str); 3] =
    [("bash", "guardctl.bash"), ("zsh", "_guardctl"), ("fish", "guardctl.fish")];

/// Builds and collects.
pub(crate) fn run() -> Result<bool> {
    setup::ensure()?;
    ensure!(compile::build(true)?, "the build failed: see above");
    let binaries = cargo::target_dir()?.join("release");
    let package = cargo::target_dir()?.join("package");
    for dir in ["bin", "completions"] {
        let dir = package.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    for name in ["guardd", "guardctl"] {
        let to = package.join("bin").join(name);
        fs::copy(binaries.join(name), &to)
            .with_context(|| format!("cannot copy {name} to {}", to.display()))?;
    }
    let guardctl = binaries.join("guardctl");
    for (shell, file) in SHELLS {
        write(&guardctl, &["completions", shell], &package.join("completions").join(file))?;
    }
    println!("{}", package.display());
    Ok(true)
}

/// What `guardctl ARGS` prints, into a file; an empty answer is an error.
fn write(guardctl: &Path, args: &[&str], to: &Path) -> Result<()> {
    let mut command = Command::new(guardctl);
    let output = command.args(args).output().context("cannot run guardctl")?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "`{}` gave nothing: {}",
        cargo::line(&command),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    fs::write(to, &output.stdout).with_context(|| format!("cannot write {}", to.display()))
}
