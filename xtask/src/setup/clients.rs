//! What `cargo xtask clients` needs: client libraries of Python and Node in directories of their own
//! below the target directory, and servers for them. Debian packages beyond these are not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt;
use super::piece::State;
use crate::cargo;

/// As (program, package). Programs are looked for, so that this works without dpkg too.
const NEEDED: [(&str, &str); 6] = [
    ("python3", "python3"),
    ("curl", "curl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
];
/// What Debian keeps out of `PATH`, as (directory, package).
const NEEDED_FILES: [(&str, &str); 1] = [("/usr/lib/postgresql", "postgresql")];

/// Files of tests/clients that say what is installed.
const PYTHON_LIST: &str = "requirements.txt";
const NODE_LISTS: [&str; 2] = ["package.json", "package-lock.json"];
/// Files that must lie beside the libraries, because Node looks for them there.
const SCRIPTS: [&str; 4] = ["client.py", "client.mjs", "server.py", "curl.sh"];

/// Where the libraries are.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("clients"))
}

pub(super) fn check_programs() -> State {
    let missing = missing();
    if missing.is_empty() {
        State::Ok("python3, curl, node, npm, PostgreSQL, Redis".to_owned())
    } else {
        State::Missing(missing.join(", "))
    }
}

pub(super) fn install_programs(may_use_apt: bool) -> Result<()> {
    apt::install(&missing(), may_use_apt)
}

fn missing() -> Vec<&'static str> {
    let programs = NEEDED.iter().filter(|(program, _)| !apt::in_path(program));
    let files = NEEDED_FILES.iter().filter(|(path, _)| !Path::new(path).is_dir());
    let mut missing: Vec<_> = programs.chain(files).map(|(_, package)| *package).collect();
    let venv = Command::new("python3").args(["-c", "import ensurepip"]).output();
    if !venv.is_ok_and(|output| output.status.success()) {
        missing.push("python3-venv");
    }
    missing
}

pub(super) fn check_libraries() -> State {
    let current = || -> Result<bool> {
        let directory = directory()?;
        let same = |name: &str| -> Result<bool> {
            let installed = fs::read(directory.join(name)).unwrap_or_default();
            Ok(installed == fs::read(source(name)?)?)
        };
        Ok(same(PYTHON_LIST)? && NODE_LISTS.iter().all(|name| same(name).unwrap_or(false)))
    };
    match current() {
        Ok(true) => State::Ok("as in tests/clients".to_owned()),
        _ => State::Missing("the libraries of tests/clients".to_owned()),
    }
}

/// Installs them anew; the lists are copied last, so that a half-done installation is seen as one.
pub(super) fn install_libraries(_may_use_apt: bool) -> Result<()> {
    let directory = directory()?;
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let venv = directory.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let list = source(PYTHON_LIST)?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&list))?;
    for name in NODE_LISTS {
        // npm reads them where it installs; under a name that does not count as installed.
        copy(name, &directory.join("node").join(name))?;
    }
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(directory.join("node")))?;
    fs::rename(directory.join("node/node_modules"), directory.join("node_modules"))
        .context("moving the Node libraries")?;
    for name in [PYTHON_LIST].into_iter().chain(NODE_LISTS) {
        copy(name, &directory.join(name))?;
    }
    Ok(())
}

/// Copies the scripts of today beside the libraries.
pub(crate) fn copy_scripts() -> Result<()> {
    let directory = directory()?;
    SCRIPTS.iter().try_for_each(|name| copy(name, &directory.join(name)))
}

fn source(name: &str) -> Result<PathBuf> {
    Ok(cargo::root()?.join("tests/clients").join(name))
}

fn copy(name: &str, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    fs::copy(source(name)?, to).with_context(|| format!("copying {name}"))?;
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    ensure!(cargo::succeeds(command)?, "{} failed: see above", cargo::line(command));
    Ok(())
}
