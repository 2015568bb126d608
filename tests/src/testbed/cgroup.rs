//! Scratch cgroups for tests, in the cgroup2 mount wherever it is. A scratch cgroup ends its own
//! processes and disappears on drop; nothing else is ever touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait;

/// Where cgroup2 is mounted (hybrid hosts: not `/sys/fs/cgroup`).
pub fn mount_point() -> Result<PathBuf> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    find_mount(&mounts).context("no cgroup2 file system is mounted")
}

fn find_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        // Spaces in paths are written as \040.
        (kind == "cgroup2").then(|| PathBuf::from(path.replace("\\040", " ")))
    })
}

/// A cgroup of one test; removed with everything below it on drop.
#[derive(Debug)]
pub struct ScratchCgroup {
    path: PathBuf,
}

impl ScratchCgroup {
    /// Makes a new cgroup directly below the mount point. `name` shows up in its path.
    pub fn new(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = format!("guard-test-{name}-{}-{number}", std::process::id());
        let path = mount_point()?.join(file);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a cgroup below it; it goes with it.
    pub fn child(&self, relative: &str) -> Result<PathBuf> {
        let path = self.path.join(relative);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Ids of the processes in it and below.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.path)
    }

    /// What is below it (directories, deepest first).
    #[must_use]
    pub fn below(&self) -> Vec<PathBuf> {
        below(&self.path)
    }

    /// Ends its processes and removes it.
    pub fn remove(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        if !self.processes().is_empty() {
            let kill = self.path.join("cgroup.kill");
            fs::write(&kill, "1").with_context(|| format!("cannot write {}", kill.display()))?;
        }
        wait::until("the processes of a test's cgroup to end", Duration::from_secs(5), || {
            self.processes().is_empty()
        })?;
        for path in below(&self.path).into_iter().chain([self.path.clone()]) {
            // A process that has just ended keeps its cgroup busy for a moment.
            let mut last = None;
            let removed = wait::until("rmdir", Duration::from_secs(2), || {
                last = fs::remove_dir(&path).err();
                !path.exists()
            });
            ensure!(removed.is_ok(), "cannot remove {}: {last:?}", path.display());
        }
        Ok(())
    }
}

impl Drop for ScratchCgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// The same command, started inside the cgroup `path`: it is there before its first instruction.
#[must_use]
pub fn wrap(path: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("/bin/sh");
    wrapped.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(path);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

fn processes(path: &Path) -> Vec<u32> {
    let mut all = Vec::new();
    for directory in below(path).into_iter().chain([path.to_owned()]) {
        // A cgroup that vanishes meanwhile has no processes.
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    }
    all
}

fn below(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(below(&entry.path()));
            all.push(entry.path());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    use super::{ScratchCgroup, find_mount, wrap};
    use crate::process::Process;
    use crate::requires;

    #[test]
    fn the_mount_is_found_on_hybrid_hosts() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\n";
        assert_eq!(find_mount(mounts).unwrap().to_str(), Some("/sys/fs/cgroup/uni fied"));
        assert_eq!(find_mount("proc /proc proc rw 0 0"), None);
    }

    #[test]
    fn a_scratch_cgroup_holds_its_processes_and_goes_with_them() {
        if !requires::cgroups("a_scratch_cgroup_holds_its_processes_and_goes_with_them") {
            return;
        }
        let cgroup = ScratchCgroup::new("scratch").unwrap();
        let inner = cgroup.child("a/b").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; sleep 600"]);
        let mut process = Process::spawn(&mut wrap(&inner, &command)).unwrap();
        process.next_line(Duration::from_secs(5)).unwrap();
        assert!(cgroup.processes().contains(&process.pid()));
        let own = fs::read_to_string(format!("/proc/{}/cgroup", process.pid())).unwrap();
        assert!(own.contains("/a/b"), "{own}");
        let path = cgroup.path().to_owned();
        drop(cgroup);
        assert!(!path.exists());
        process.wait(Duration::from_secs(5)).unwrap();
    }
}
