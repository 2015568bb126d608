//! Removing what an entry of the undo log names. Every removal can be repeated, takes away
//! nothing that is not empty or not ours (what is in the cgroup of a hook is), and touches nothing that the entry does not name.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use super::{Entry, Undo, UndoLog};
use crate::cgroup::limits::{self, Restored};
use crate::net::iptables::{self, IptablesError};

/// File systems that guard mounts; no other is ever unmounted.
const OUR_MOUNTS: [&str; 3] = ["bpf", "tracefs", "cgroup2"];
/// How long what a hook has left may take to end once it is killed.
const HOOK_PATIENCE: Duration = Duration::from_secs(2);
/// Where systemd says that it runs.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoResult {
    /// It was there and is removed.
    Removed,
    /// It was not there.
    Gone,
    /// It is still there, for this reason; the entry stays open.
    LeftOver(String),
}

/// A removal that failed; the entry stays open.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The kernel said no.
    #[error("cannot {action} {what}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A netfilter chain could not be removed.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
}

/// Undoes all entries, newest first, and marks those that are gone. Failures do not stop it.
/// Returns what became of each, in the order of the work.
pub fn recover(
    log: &mut UndoLog,
    entries: Vec<Entry>,
) -> Vec<(Entry, Result<UndoResult, UndoError>)> {
    let mut results = Vec::with_capacity(entries.len());
    for entry in entries.into_iter().rev() {
        let result = undo(&entry);
        if matches!(result, Ok(UndoResult::Removed | UndoResult::Gone))
            && let Err(error) = log.done(entry.ticket)
        {
            tracing::warn!(%error, ?entry, "undone, but the undo log could not be told");
        }
        results.push((entry, result));
    }
    results
}

/// Removes what one entry names, if it is there and is what guard makes.
pub fn undo(entry: &Entry) -> Result<UndoResult, UndoError> {
    if !entry.same_boot && !entry.what.survives_reboot() {
        // What has this name now was made by somebody else.
        return Ok(UndoResult::Gone);
    }
    match &entry.what {
        Undo::CgroupMade { path } => match is_on(path, CGROUP2_SUPER_MAGIC)? {
            Some(true) => remove_empty_directory(path),
            Some(false) => Ok(not_ours(path, "not a cgroup any more")),
            None => Ok(UndoResult::Gone),
        },
        Undo::CgroupDelegated { path, uid } => Ok(match crate::cgroup::take_back(path, *uid) {
            Ok(true) => UndoResult::Removed,
            Ok(false) => UndoResult::Gone,
            Err(error) => UndoResult::LeftOver(error.to_string()),
        }),
        Undo::HookCgroup { path } => match is_on(path, CGROUP2_SUPER_MAGIC)? {
            Some(true) => Ok(match crate::cgroup::end_hook(path, HOOK_PATIENCE) {
                Ok(_) => UndoResult::Removed,
                Err(error) => UndoResult::LeftOver(format!("{}: {error}", path.display())),
            }),
            Some(false) => Ok(not_ours(path, "not a cgroup any more")),
            None => Ok(UndoResult::Gone),
        },
        Undo::DirMade { path } => remove_empty_directory(path),
        Undo::PinMade { path } => match path.parent().map(|dir| is_on(dir, BPF_FS_MAGIC)) {
            Some(Ok(Some(true))) => remove_file(path),
            Some(Ok(Some(false))) if path.exists() => Ok(not_ours(path, "not on a bpffs")),
            Some(Err(error)) => Err(error),
            _ => Ok(UndoResult::Gone),
        },
        Undo::Mounted { path } => unmount(path),
        Undo::IptablesChain { family, table, chain, hook } => {
            let removed = iptables::remove_dead_chain(*family, table, hook, chain)?;
            Ok(if removed { UndoResult::Removed } else { UndoResult::Gone })
        }
        Undo::SystemdUnit { name } => stop_unit(name),
        Undo::CgroupValue { path, id, file, before, set } => {
            match limits::restore(path, *id, file, before, set) {
                Ok(Restored::Restored) => Ok(UndoResult::Removed),
                Ok(Restored::Gone) => Ok(UndoResult::Gone),
                Ok(Restored::Others(now)) => {
                    // Theirs now: nothing of guard is left in it.
                    tracing::warn!(path = %path.display(), file, now, "somebody has changed it since; left");
                    Ok(UndoResult::Gone)
                }
                Err(errno) => Err(io_error("restore a value in", &path.join(file), errno.into())),
            }
        }
        Undo::ControllerOn { path, id, controller } => {
            Ok(match limits::switch_off(path, *id, controller) {
                Ok(true) => UndoResult::Removed,
                Ok(false) => UndoResult::Gone,
                Err(why) => UndoResult::LeftOver(format!(
                    "{}: the controller {controller} stays switched on: {why}",
                    path.display()
                )),
            })
        }
    }
}

fn not_ours(path: &Path, why: &str) -> UndoResult {
    UndoResult::LeftOver(format!("{}: {why}; left alone", path.display()))
}

/// Whether a path is on a file system of this type; `None` if it does not exist.
fn is_on(path: &Path, magic: FsType) -> Result<Option<bool>, UndoError> {
    match statfs(path) {
        Ok(found) => Ok(Some(found.filesystem_type() == magic)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(io_error("look at", path, errno.into())),
    }
}

fn remove_empty_directory(path: &Path) -> Result<UndoResult, UndoError> {
    match std::fs::remove_dir(path) {
        Ok(()) => Ok(UndoResult::Removed),
        Err(e) => match e.raw_os_error() {
            Some(libc::ENOENT) => Ok(UndoResult::Gone),
            Some(libc::EBUSY) => Ok(UndoResult::LeftOver(format!(
                "{}: in use (processes, or cgroups below it)",
                path.display()
            ))),
            Some(libc::ENOTEMPTY) => {
                Ok(UndoResult::LeftOver(format!("{}: not empty", path.display())))
            }
            _ => Err(io_error("remove directory", path, e)),
        },
    }
}

fn remove_file(path: &Path) -> Result<UndoResult, UndoError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(UndoResult::Removed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(UndoResult::Gone),
        Err(e) => Err(io_error("remove", path, e)),
    }
}

/// Unmounts the topmost file system of a mount point, if it is one that guard mounts.
fn unmount(path: &Path) -> Result<UndoResult, UndoError> {
    let Some(kind) = mounted_on(path)? else { return Ok(UndoResult::Gone) };
    if !OUR_MOUNTS.contains(&kind.as_str()) {
        return Ok(not_ours(path, &format!("{kind} is mounted there now, which guard never does")));
    }
    super::bpffs::empty(path).map_err(|e| io_error("empty", path, e))?;
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(UndoResult::Removed),
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(UndoResult::Gone),
        Err(Errno::EBUSY) => {
            Ok(UndoResult::LeftOver(format!("{}: the mount is in use", path.display())))
        }
        Err(errno) => Err(io_error("unmount", path, errno.into())),
    }
}

/// Type of the topmost file system mounted exactly there.
fn mounted_on(path: &Path) -> Result<Option<String>, UndoError> {
    let table = Path::new("/proc/thread-self/mountinfo");
    let text = std::fs::read_to_string(table).map_err(|e| io_error("read", table, e))?;
    // … (5) mount point … - (after the dash) type …; later lines are mounted on top. Blanks in
    // paths are written as \040.
    let wanted = path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040");
    let on_it = text.lines().rev().find(|line| line.split(' ').nth(4) == Some(&wanted));
    Ok(on_it.and_then(|line| line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)))
}

/// Stops a unit, unless processes are in it: those are the agents.
fn stop_unit(name: &str) -> Result<UndoResult, UndoError> {
    if std::fs::metadata(SYSTEMD_RUNS).is_err() {
        return Ok(UndoResult::Gone);
    }
    let run = |arguments: &[&str]| {
        Command::new("systemctl").args(arguments).args(["--", name]).output().map_err(|source| {
            UndoError::Io { action: "run systemctl for", what: name.to_owned(), source }
        })
    };
    let shown = run(&["show", "--property=ActiveState,ControlGroup"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let property = |key: &str| {
        shown.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or("")
    };
    if matches!(property("ActiveState"), "inactive" | "") {
        return Ok(UndoResult::Gone);
    }
    if is_populated(property("ControlGroup")) {
        return Ok(UndoResult::LeftOver(format!("{name}: processes are in it; left running")));
    }
    let stopped = run(&["stop"])?;
    if stopped.status.success() {
        return Ok(UndoResult::Removed);
    }
    let message = String::from_utf8_lossy(&stopped.stderr).trim().to_owned();
    Ok(UndoResult::LeftOver(format!("{name}: systemctl stop: {message}")))
}

/// Whether a cgroup of systemd has processes in or below it; when in doubt, yes.
fn is_populated(control_group: &str) -> bool {
    let relative = control_group.trim_start_matches('/');
    if relative.is_empty() {
        return false;
    }
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().any(|root| {
        let dir = Path::new(root).join(relative);
        match std::fs::read_to_string(dir.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 1"),
            // Not this hierarchy, unless it is a cgroup2 directory that cannot be read.
            Err(_) => !matches!(is_on(&dir, CGROUP2_SUPER_MAGIC), Ok(None | Some(false))),
        }
    })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> UndoError {
    UndoError::Io { action, what: path.display().to_string(), source }
}
