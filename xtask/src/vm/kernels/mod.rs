//! The kernels of the matrix and what is special about each. It never decides what runs in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

mod apt;
mod debian;

/// A kernel of Debian's, by the suites that have it. Versions are never named: the meta package
/// of the suites leads to the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Debian {
    /// Name on the command line and in tables.
    pub(crate) name: &'static str,
    /// Suites of Debian's main archive.
    pub(crate) suites: &'static [&'static str],
    /// Suites of Debian's security archive.
    pub(crate) security: &'static [&'static str],
    /// What is run in it.
    pub(crate) role: Role,
}

/// What a kernel is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// guard works on it: the whole suite must pass.
    Supported,
    /// It lacks what guard needs: guard must say so and leave nothing.
    Refused,
}

/// Kernels of the matrix. The last suite moves with Debian's releases.
const MATRIX: [Debian; 4] = [
    Debian {
        name: "6.1",
        suites: &["bookworm"],
        security: &["bookworm-security"],
        role: Role::Supported,
    },
    Debian { name: "6.12", suites: &["bookworm-backports"], security: &[], role: Role::Supported },
    Debian { name: "latest", suites: &["trixie-backports"], security: &[], role: Role::Supported },
    Debian {
        name: "5.10",
        suites: &["bullseye"],
        security: &["bullseye-security"],
        role: Role::Refused,
    },
];

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Name in tables and directories.
    pub(crate) name: String,
    /// As `uname -r` says it.
    pub(crate) release: String,
    /// The image.
    pub(crate) vmlinuz: PathBuf,
    /// Its `lib/modules/RELEASE`, with `modules.dep`; `None` if all that it has is built in.
    pub(crate) modules: Option<PathBuf>,
    /// What is run in it.
    pub(crate) role: Role,
}

impl Kernel {
    /// Major version and minor version.
    pub(crate) fn version(&self) -> Result<(u32, u32)> {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
            _ => bail!("`{}` is not a kernel's release", self.release),
        }
    }

    /// A kernel that the user has as files.
    pub(crate) fn from_files(vmlinuz: &Path, modules: Option<&Path>) -> Result<Self> {
        ensure!(vmlinuz.is_file(), "--kernel {}: there is no such file", vmlinuz.display());
        let Some(modules) = modules else {
            bail!(
                "--kernel needs --modules DIR, the kernel's lib/modules/RELEASE (its name says \
                 which release this is; it may be empty if everything is built in)"
            );
        };
        ensure!(modules.is_dir(), "--modules {}: there is no such directory", modules.display());
        let modules = modules.canonicalize()?;
        let release = modules.file_name().context("--modules has no name")?;
        let release = release.to_string_lossy().into_owned();
        let has_list = modules.join("modules.dep").is_file();
        ensure!(
            has_list || !modules.join("kernel").exists(),
            "{} has modules but no modules.dep: run `depmod -b` on the directory above its \
             lib/modules",
            modules.display()
        );
        let kernel = Self {
            name: release.clone(),
            release,
            vmlinuz: vmlinuz.to_owned(),
            modules: has_list.then_some(modules),
            role: Role::Supported,
        };
        kernel.version().context("--modules must be named as the kernel's release")?;
        Ok(kernel)
    }
}

/// The kernels of the given names, of all without a name; fetched if they are not in `cache`.
pub(crate) fn of_names(names: &[String], cache: &Path, refresh: bool) -> Result<Vec<Kernel>> {
    let mut chosen = Vec::new();
    for name in names {
        let known = MATRIX.iter().find(|debian| debian.name == name);
        let all = MATRIX.map(|debian| debian.name).join(", ");
        chosen.push(*known.with_context(|| format!("`{name}` is no kernel of ours: {all}"))?);
    }
    if names.is_empty() {
        chosen.extend(MATRIX);
    }
    chosen.iter().map(|debian| debian::ready(debian, cache, refresh)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Role};

    #[test]
    fn versions() {
        let kernel = |release: &str| Kernel {
            name: String::new(),
            release: release.to_owned(),
            vmlinuz: "/v".into(),
            modules: None,
            role: Role::Supported,
        };
        assert_eq!(kernel("7.3.4+deb13-cloud-amd64").version().unwrap(), (7, 3));
        assert_eq!(kernel("6.1-rc2").version().unwrap(), (6, 1));
        assert!(kernel("linux").version().is_err());
    }
}
