//! One value of a cgroup: read, written, and given back what it said before.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::{Refusal, Setting, place};
use crate::cgroup::walk::{is_cgroup2_fd, open_absolute, read_file, vanished, write_file};
use crate::cgroup::{Bulkhead, Procs};

/// What became of a value that guard had set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is what it was before guard.
    Restored,
    /// The cgroup or the file is gone.
    Gone,
    /// Somebody has written another value since, which was left.
    Others(String),
}

/// Gives the place ([`Setting::place`]) in the cgroup with this path and id its earlier value, if it has
/// the one still that guard gave it.
///
/// # Errors
/// What the kernel says.
pub fn restore(
    path: &Path,
    id: u64,
    place: &str,
    before: &str,
    set: &str,
) -> Result<Restored, Errno> {
    if place::file_of(place).contains('/') {
        return Err(Errno::EINVAL);
    }
    let Some(dir) = open_same(path, id)? else { return Ok(Restored::Gone) };
    let now = match place::read(&dir, place) {
        Ok(now) => now,
        Err(errno) if vanished(errno) => return Ok(Restored::Gone),
        Err(errno) => return Err(errno),
    };
    if now != set {
        // Right away, if it was never written.
        return Ok(if now == before { Restored::Restored } else { Restored::Others(now) });
    }
    match place::write(&dir, place, before) {
        Ok(()) => Ok(Restored::Restored),
        // Also where the device was unplugged: it has no limits any more.
        Err(errno) if vanished(errno) => Ok(Restored::Gone),
        Err(errno) => Err(errno),
    }
}

/// What stands at a place of the cgroup with this path; `None` if that cannot be read.
pub fn standing(path: &Path, place: &str) -> Option<String> {
    place::read(&open_absolute(path).ok()?, place).ok()
}

/// The cgroup at this path, if it is the one with this id.
pub(super) fn open_same(path: &Path, id: u64) -> Result<Option<OwnedFd>, Errno> {
    let dir = match open_absolute(path) {
        Err(errno) if vanished(errno) || errno == Errno::ENOTDIR => return Ok(None),
        other => other?,
    };
    let same = is_cgroup2_fd(&dir)? && fstat(&dir)?.st_ino == id;
    Ok(same.then_some(dir))
}

impl Bulkhead {
    /// What a file of it says.
    ///
    /// # Errors
    /// What the kernel says; `ENOENT` without the controller.
    pub fn value(&self, file: &str) -> Result<String, Errno> {
        read_file(&self.dir, file).map(|text| text.trim().to_owned())
    }

    /// What stands at a place ([`Setting::place`]).
    ///
    /// # Errors
    /// What the kernel says; `ENOENT` without the controller.
    pub fn value_at(&self, place: &str) -> Result<String, Errno> {
        place::read(&self.dir, place)
    }

    /// Writes a value at its place ([`Setting::place`]).
    ///
    /// # Errors
    /// Why the kernel did not take it, and what to do.
    pub fn set_value(&self, place: &str, setting: &Setting) -> Result<(), Refusal> {
        place::write(&self.dir, place, &setting.value).map_err(|errno| {
            let why = format!(
                "the kernel does not take \"{}\" for {}/{}: {errno}",
                setting.value,
                self.path().display(),
                place
            );
            Refusal::new(
                why,
                match errno {
                    Errno::EACCES | Errno::EPERM | Errno::EROFS => {
                        "run guardd as root, with the cgroup tree writable"
                    }
                    Errno::ENOENT => "use a kernel that has this file",
                    _ => "choose another value",
                },
            )
        })
    }

    /// Whether writing this value now would do harm: a `memory.max` below what cannot be reclaimed
    /// kills at once.
    ///
    /// # Errors
    /// The harm, and what to do.
    pub fn would_harm(&self, setting: &Setting) -> Result<(), Refusal> {
        if setting.file != "memory.max" {
            return Ok(());
        }
        let Some(used) = self.unreclaimable_bytes() else { return Ok(()) };
        if used as f64 <= setting.number {
            return Ok(());
        }
        Err(Refusal::new(
            format!(
                "it uses {used} bytes that cannot be reclaimed, so that the kernel would kill in it \
                 at once"
            ),
            "guard sets it as soon as there is room; end what uses the memory, or raise `memory_max`",
        ))
    }

    /// Memory in use but for caches of files, bytes; `None` without the controller.
    fn unreclaimable_bytes(&self) -> Option<u64> {
        const CACHES: [&str; 3] = ["active_file ", "inactive_file ", "slab_reclaimable "];
        let used: u64 = self.value("memory.current").ok()?.parse().ok()?;
        let stat = self.value("memory.stat").ok()?;
        let caches: u64 = stat
            .lines()
            .filter_map(|line| CACHES.iter().find_map(|name| line.strip_prefix(name)))
            .filter_map(|bytes| bytes.parse::<u64>().ok())
            .sum();
        Some(used.saturating_sub(caches))
    }

    /// The processes of its subtree, youngest first, but for its first one, those that serve others, and what is
    /// never killed; with their start times in clock ticks.
    pub fn youngest_first(&self) -> Vec<(u32, u64)> {
        let Procs { pids, .. } = self.subtree_procs().unwrap_or_default();
        let mut found: Vec<_> =
            pids.into_iter().filter_map(|pid| Some((pid, start_ticks(pid)?))).collect();
        // Of two that started in the same tick the one with the lower number is taken as older.
        found.sort_by_key(|(pid, start)| (*start, *pid));
        let shared = self.shared_infrastructure().unwrap_or_default();
        let own = std::process::id();
        let spared =
            |pid: u32| pid <= 1 || pid == own || shared.iter().any(|(other, _)| *other == pid);
        found.into_iter().skip(1).filter(|(pid, _)| !spared(*pid)).rev().collect()
    }

    /// Kills one process, if it is still the one that started then, in this cgroup.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` if it is gone.
    pub fn kill_one(&self, pid: u32, start: u64) -> Result<(), Errno> {
        use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::ESRCH)?;
        let handle = pidfd_open(raw, PidfdFlags::empty()).map_err(errno)?;
        // Looked at after the handle was taken: from here on the number cannot be another's.
        let inside = self.subtree_procs().is_ok_and(|procs| procs.pids.contains(&pid));
        if start_ticks(pid) != Some(start) || !inside {
            return Err(Errno::ESRCH);
        }
        pidfd_send_signal(handle, Signal::KILL).map_err(errno)
    }

    /// Kills every process in it and below (`cgroup.kill`).
    ///
    /// # Errors
    /// What the kernel says; `ENOENT` before Linux 5.14.
    pub fn kill_all(&self) -> Result<(), Errno> {
        write_file(&self.dir, "cgroup.kill", "1")
    }
}

/// When a process started, clock ticks since the boot: field 22 of `/proc/PID/stat`.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
