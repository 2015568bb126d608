//! What runs inside: chooses among the executables of this machine and says how each is called in
//! the guest. It never leaves out a test without naming it and the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernels::Role;
use crate::executables::{self, Executable, Needs};

/// Binaries that the tests start.
const BINARIES: [&str; 6] =
    ["guardd", "guardctl", "testbed-agent", "testbed-hog", "testbed-probe", "testbed-server"];
/// The suite of kernels that guard cannot run on.
const REFUSED: &str = "vm_refused";
/// Executables of guard-daemon that ask the kernel, with names of tests to filter by.
const OF_DAEMON: [(&str, &[&str]); 3] =
    [("guard_daemon", &["root_"]), ("kernel", &[]), ("takeover", &[])];
/// Tests that no guest of ours can run, and why.
pub(super) const LEFT_OUT: [(&str, &str); 1] = [(
    "root_asks_systemd_for_a_delegated_place",
    "it needs systemd as the first process, and the guest's first process is a script",
)];

/// Tests that run only when they are asked for by name, and why.
pub(super) const BY_NAME: [(&str, &str); 1] = [(
    "what_was_idle_before_a_suspend_is_ended_after_it",
    "after a sleep an emulated clock may go wrong, for all tests that follow: by name only",
)];

/// Everything that is built.
pub(super) struct Suite {
    binaries: Vec<PathBuf>,
    tests: Vec<Test>,
}

/// One test executable.
#[derive(Clone, Debug)]
struct Test {
    executable: Executable,
    arguments: &'static [&'static str],
}

impl Suite {
    /// Builds what `cargo xtask test` does, so that nothing is built twice.
    pub(super) fn build() -> Result<Self> {
        let tests = executables::build()?.into_iter().filter_map(Test::new).collect();
        let dir = executables::binaries()?;
        Ok(Self { binaries: BINARIES.map(|name| dir.join(name)).to_vec(), tests })
    }

    /// Files for the guest: (path in the guest, path of a stripped copy below `stage`).
    pub(super) fn files(&self, role: Role, stage: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let binaries = self.binaries.iter().map(|path| ("/usr/local/bin", path.clone()));
        let tests = self.tests_of(role).map(|test| ("/tests", test.executable.path.clone()));
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
            self.tests_of(role).partition(|test| test.executable.needs() == Needs::Guest);
        let begin = (rest.len() * turn / turns.max(1)).min(rest.len());
        rest.rotate_left(begin);
        order.extend(rest);
        for test in order {
            let name = test.executable.path.file_name().context("an executable without a name")?;
            let mut words = vec!["run".to_owned(), quote(&name.to_string_lossy())];
            words.extend(["--show-output", "--test-threads=1"].map(ToOwned::to_owned));
            let mut left_out = LEFT_OUT.to_vec();
            if filter.is_empty() {
                left_out.extend(BY_NAME);
                words.extend(test.arguments.iter().map(|word| quote(word)));
            } else {
                words.extend(filter.iter().map(|word| quote(word)));
            }
            words.extend(left_out.iter().flat_map(|(name, _)| ["--skip".to_owned(), quote(name)]));
            lines.push_str(&words.join(" "));
            lines.push('\n');
        }
        Ok(lines)
    }

    fn tests_of(&self, role: Role) -> impl Iterator<Item = &Test> {
        let refused = |test: &&Test| test.executable.name == REFUSED;
        self.tests.iter().filter(move |test| refused(test) == (role == Role::Refused))
    }
}

impl Test {
    /// `None` for what needs no kernel, or more than a guest has.
    fn new(executable: Executable) -> Option<Self> {
        let arguments: &[&str] = match executable.needs() {
            Needs::Kernel if executable.bin => return None,
            Needs::Kernel | Needs::Guest => &[],
            Needs::Clients | Needs::AnyKernel => return None,
            Needs::Nothing => OF_DAEMON.iter().find(|(name, _)| executable.name == *name)?.1,
        };
        Some(Self { executable, arguments })
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
