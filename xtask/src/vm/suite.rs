//! What runs inside: builds the executables on this machine and says how each is called in the
//! guest. It never leaves out a test without naming it and the reason.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Artifact, Message, TargetKind};

use super::kernels::Role;
use crate::cargo;

/// Binaries that the tests start.
const BINARIES: [&str; 5] =
    ["guardd", "guardctl", "testbed-agent", "testbed-probe", "testbed-server"];
/// The suite of kernels that guard cannot run on.
const REFUSED: &str = "vm_refused";
/// Needs what people install on their machines, and no kernel in particular.
const NOT_HERE: &str = "clients";
/// How the names of executables begin that run in guests only.
const ONLY_HERE: &str = "vm_";
/// Tests that no guest of ours can run, and why.
pub(super) const LEFT_OUT: [(&str, &str); 1] = [(
    "root_asks_systemd_for_a_delegated_place",
    "it needs systemd as the first process, and the guest's first process is a script",
)];

/// Everything that is built.
pub(super) struct Suite {
    binaries: Vec<PathBuf>,
    tests: Vec<Test>,
}

/// One test executable.
#[derive(Clone, Debug)]
struct Test {
    name: String,
    path: PathBuf,
    arguments: Vec<&'static str>,
}

impl Suite {
    /// Builds it as `cargo xtask test` does, so that nothing is built twice.
    pub(super) fn build() -> Result<Self> {
        let mut bins =
            cargo::cargo(&["build", "-p", "guard-daemon", "-p", "guard-tests", "--bins"])?;
        ensure!(cargo::succeeds(&mut bins)?, "the build of the binaries failed: see above");
        let dir = cargo::target_dir()?.join("debug");
        let binaries = BINARIES.map(|name| dir.join(name)).to_vec();

        let mut tests = Vec::new();
        for artifact in executables(&["-p", "guard-tests", "--lib", "--test", "*"])? {
            if artifact.target.name != NOT_HERE {
                tests.extend(Test::new(&artifact, &[]));
            }
        }
        let of_daemon = ["-p", "guard-daemon", "--lib", "--test", "kernel", "--test", "takeover"];
        for artifact in executables(&of_daemon)? {
            // Of the unit tests those that ask the kernel.
            let lib = artifact.target.is_kind(TargetKind::Lib);
            tests.extend(Test::new(&artifact, if lib { &["root_"] } else { &[] }));
        }
        tests.sort_by_key(|test| test.name.clone());
        Ok(Self { binaries, tests })
    }

    /// Files for the guest: (path in the guest, path of a stripped copy below `stage`).
    pub(super) fn files(&self, role: Role, stage: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let binaries = self.binaries.iter().map(|path| ("/usr/local/bin", path.clone()));
        let tests = self.tests_of(role).map(|test| ("/tests", test.path.clone()));
        stripped(&binaries.chain(tests).collect::<Vec<_>>(), stage)
    }

    /// The part of the guest's script that runs the tests one by one.
    ///
    /// What can run nowhere else comes first. With the rest each guest begins at another place, its
    /// `turn` of `turns`: where there is no time for all, each test has still run in one of them.
    pub(super) fn script(
        &self,
        role: Role,
        filter: &[String],
        turn: usize,
        turns: usize,
    ) -> Result<String> {
        let mut lines = String::new();
        let (mut order, mut rest): (Vec<_>, Vec<_>) =
            self.tests_of(role).partition(|test| test.name.starts_with(ONLY_HERE));
        let begin = (rest.len() * turn / turns.max(1)).min(rest.len());
        rest.rotate_left(begin);
        order.extend(rest);
        for test in order {
            let name = test.path.file_name().context("an executable without a name")?;
            let mut words = vec!["run".to_owned(), quote(&name.to_string_lossy())];
            words.extend(["--show-output", "--test-threads=1"].map(ToOwned::to_owned));
            words.extend(LEFT_OUT.iter().flat_map(|(name, _)| ["--skip".to_owned(), quote(name)]));
            if filter.is_empty() {
                words.extend(test.arguments.iter().map(|word| quote(word)));
            } else {
                words.extend(filter.iter().map(|word| quote(word)));
            }
            lines.push_str(&words.join(" "));
            lines.push('\n');
        }
        Ok(lines)
    }

    fn tests_of(&self, role: Role) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(move |test| (test.name == REFUSED) == (role == Role::Refused))
    }
}

impl Test {
    fn new(artifact: &Artifact, arguments: &[&'static str]) -> Option<Self> {
        let path = artifact.executable.clone()?.into_std_path_buf();
        Some(Self { name: artifact.target.name.clone(), path, arguments: arguments.to_vec() })
    }
}

/// Copies of executables without debugging information, which is nine tenths of them and of no use
/// in the guest's memory: from (directory in the guest, file) to (path in the guest, copy).
pub(super) fn stripped(files: &[(&str, PathBuf)], stage: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    fs::create_dir_all(stage).with_context(|| format!("cannot make {}", stage.display()))?;
    let copy = |(dir, path): &(&str, PathBuf)| {
        let name = path.file_name().context("an executable without a name")?;
        let copy = stage.join(name);
        let mut command = Command::new("strip");
        let done = command.arg("--strip-debug").arg("-o").arg(&copy).arg(path).status();
        let done = done.context("cannot run strip: apt install binutils")?;
        ensure!(done.success(), "strip failed for {}", path.display());
        Ok((Path::new(dir).join(name), copy))
    };
    files.iter().map(copy).collect()
}

/// The test executables that `cargo test --no-run` builds for these targets.
fn executables(targets: &[&str]) -> Result<Vec<Artifact>> {
    let mut command = cargo::cargo(&["test", "--no-run", "--quiet"])?;
    command.args(targets).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    cargo::show(&command);
    let mut child = command.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("no pipe from cargo")?;
    let mut found = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.profile.test
            && artifact.executable.is_some()
        {
            found.push(artifact);
        }
    }
    ensure!(child.wait()?.success(), "the build of the tests failed: see above");
    ensure!(!found.is_empty(), "cargo built no test executable for {targets:?}");
    Ok(found)
}

/// As one word of a shell.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_stay_words() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
