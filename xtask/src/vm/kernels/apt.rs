//! apt with sources, lists and caches of its own. It never touches the system's: everything that
//! it writes is below the one directory that it is given.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Debian;
use crate::cargo;

/// Where Debian is, if the system's own sources do not say so (another distribution).
const FALLBACK: &str = "http://deb.debian.org";
/// Debian's keys; of the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt of its own.
pub(super) struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Writes the configuration below `dir`.
    pub(super) fn new(debian: &Debian, dir: &Path) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is missing: without it Debian's packages cannot be trusted. Cure: apt \
             install debian-archive-keyring"
        );
        for part in ["lists/partial", "cache/archives/partial", "none"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        let (main, security) = mirrors();
        let mut sources = String::new();
        for (mirror, suites) in [(main, debian.suites), (security, debian.security)] {
            if !suites.is_empty() {
                write!(
                    sources,
                    "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: main\n\
                     Architectures: amd64\nSigned-By: {KEYRING}\n\n",
                    suites.join(" ")
                )?;
            }
        }
        let at = |name: &str| dir.join(name).display().to_string();
        // Applied after the system's configuration, of which proxies are wanted and hooks not.
        let config = format!(
            "Dir::Etc::SourceList \"{}\";\nDir::Etc::SourceParts \"{none}\";\n\
             Dir::Etc::PreferencesParts \"{none}\";\nDir::Etc::Preferences \"{none}\";\n\
             Dir::State::Lists \"{}\";\nDir::Cache \"{}\";\nAcquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\nAPT::Sandbox::User \"root\";\n\
             #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n#clear Acquire::IndexTargets::deb::DEP-11;\n",
            at("debian.sources"),
            at("lists"),
            at("cache"),
            none = at("none"),
        );
        for (name, text) in [("debian.sources", &sources), ("apt.conf", &config)] {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Fetches the lists.
    pub(super) fn update(&self) -> Result<()> {
        ensure!(
            cargo::succeeds(&mut self.command("apt-get", &["update", "-q"]))?,
            "apt could not fetch Debian's lists (see above)"
        );
        Ok(())
    }

    /// The fields `Version` and `Depends` of the newest `package`.
    pub(super) fn show(&self, package: &str) -> Result<(String, Vec<String>)> {
        let arguments = ["show", "--no-all-versions", package];
        let output = self
            .command("apt-cache", &arguments)
            .output()
            .context("cannot run apt-cache; it belongs to the package apt")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let version = field("Version: ")
            .with_context(|| format!("Debian's lists have no package {package}"))?;
        Ok((version.to_owned(), names(field("Depends: ").unwrap_or_default())))
    }

    /// Fetches packages, checked against Debian's signature, and returns their files.
    pub(super) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let into = self.dir.join("packages");
        if into.exists() {
            fs::remove_dir_all(&into)?;
        }
        fs::create_dir_all(&into)?;
        let mut command = self.command("apt-get", &["download", "-q"]);
        ensure!(
            cargo::succeeds(command.args(packages).current_dir(&into))?,
            "apt could not fetch {} (see above)",
            packages.join(", ")
        );
        let files = fs::read_dir(&into)?.map(|entry| Ok(entry?.path()));
        let files = files.collect::<Result<Vec<_>>>()?;
        ensure!(files.len() == packages.len(), "apt fetched {files:?} for {packages:?}");
        Ok(files)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg("-c").arg(self.dir.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// Debian's main and security archive, as the system's own sources name them.
fn mirrors() -> (String, String) {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
        .output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let find = |name: &str| {
        let found = text.lines().map(|line| line.trim_end_matches('/'));
        found.filter(|uri| uri.ends_with(name)).map(ToOwned::to_owned).next()
    };
    let or = |name: &str| find(name).unwrap_or_else(|| format!("{FALLBACK}{name}"));
    (or("/debian"), or("/debian-security"))
}

/// Package names in a `Depends` field, without versions; of alternatives the first.
fn names(depends: &str) -> Vec<String> {
    let name = |part: &str| part.trim().split([' ', '|', ':']).next().unwrap_or("").to_owned();
    depends.split(',').map(name).filter(|name| !name.is_empty()).collect()
}

/// Whether this machine has apt at all.
pub(super) fn is_there() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join("apt-get").is_file())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn dependencies_are_named_without_their_versions() {
        let depends = "linux-image-6.1.0-1-cloud-amd64 (= 6.1.1-1), kmod, dracut | initramfs-tools";
        assert_eq!(names(depends), ["linux-image-6.1.0-1-cloud-amd64", "kmod", "dracut"]);
        assert_eq!(names(""), [""; 0]);
    }
}
