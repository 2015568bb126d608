//! A place for bulkheads under systemd: a transient service with `Delegate=yes`, asked of PID 1
//! by `systemd-run`.
//!
//! systemd owns its cgroup tree and demands one writer per subtree, so nothing may be made in the
//! root or below a slice. Below a delegated unit guard is the writer. The unit is one of its own,
//! apart from `guardd.service`: stopping, restarting or losing guardd must never touch an agent.
//! Its only process is a sleeper (the keeper), because systemd removes the cgroup of a service
//! that has none. This module never stops a unit that has an agent in it.

mod command;
mod state;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};

pub use command::{SLICE, UNIT, restart_unit, start_command};
pub use state::UnitState;

use super::error::{CgroupError, Result, io};
use super::hierarchy::is_cgroup2;
use super::members::{Procs, add_pids, procs_below};
use super::walk::{open_absolute, open_dir, read_file, vanished, write_file};

/// Name of the leaf that the keeper process is put into, so that controllers can be switched on
/// for the bulkheads beside it (a cgroup holds processes or such children, never both).
pub const KEEPER: &str = "keeper";

/// How long a unit may take from one state to the next.
const SETTLE: Duration = Duration::from_secs(10);

/// What [`stop_if_empty`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The unit is stopped; systemd removes its cgroup.
    Stopped,
    /// It was not active.
    NotActive,
    /// It was left: these processes are in cgroups below it.
    Busy(Vec<u32>),
}

/// The delegated place.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) warnings: Vec<String>,
}

/// Whether systemd is PID 1 below `host_root` (`/`). A leftover directory, or a container that
/// sees the host's `/run`, is not enough.
pub fn is_pid_1(host_root: &Path) -> bool {
    host_root.join("run/systemd/system").is_dir()
        && std::fs::read_to_string(host_root.join("proc/1/comm"))
            .is_ok_and(|name| name.trim_end() == "systemd")
}

/// The delegated cgroup: that of the active unit, or of a unit started now.
pub(super) fn delegated_place(
    mount_point: &Path,
    before_unit: &mut dyn FnMut(&str) -> std::result::Result<(), String>,
) -> Result<Place> {
    let mut state = settled()?;
    if !state.is_running() {
        before_unit(UNIT).map_err(|reason| CgroupError::Journal {
            what: format!("systemd unit {UNIT}"),
            reason,
        })?;
        if state.is_loaded() {
            // It has lost its keeper, and systemd knows it still because agents are in its
            // cgroup. Started again it takes the same cgroup, agents and bulkheads included …
            if let Err(error) = command::run(&command::restart_command()) {
                // … unless controllers are switched on there: then no process may be put into it.
                return without_keeper(mount_point, &state, error);
            }
        } else {
            command::run(&start_command())?;
        }
        state = settled()?;
    }
    let cgroup = state.usable().map_err(|(reason, cure)| CgroupError::Systemd { reason, cure })?;
    let path = below(mount_point, cgroup);
    if !is_cgroup2(&path) {
        return Err(CgroupError::Systemd {
            reason: format!("{UNIT} is active, and its cgroup {} is not there", path.display()),
            cure: "boot with the unified or the hybrid cgroup hierarchy, or set \
                   daemon.cgroup_root to a directory that is delegated to guard"
                .into(),
        });
    }
    let warnings = settle_keeper(&path, state.main_pid())?;
    Ok(Place { path, warnings })
}

/// The place of a unit that is down while agents are still in it. It stays where it is as long
/// as one of them lives, so they are guarded there rather than not at all.
fn without_keeper(mount_point: &Path, state: &UnitState, error: CgroupError) -> Result<Place> {
    let path = below(mount_point, state.cgroup_or_default());
    if !is_cgroup2(&path) || processes_beside(&path, 0)?.is_empty() {
        return Err(error);
    }
    let warnings = vec![format!(
        "{UNIT} has lost its keeper and cannot be started while agents are in it with controllers \
         switched on: {} lasts only as long as the last of them; restart guardd once they have \
         ended",
        path.display()
    )];
    Ok(Place { path, warnings })
}

fn below(mount_point: &Path, cgroup: &Path) -> PathBuf {
    mount_point.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

/// Stops the unit if no process but the keeper is below it. Only to be called where guard's
/// journal says that guard started the unit.
///
/// # Errors
/// [`CgroupError::Systemd`] if systemd does not answer or refuses, [`CgroupError::Io`] if the
/// cgroups cannot be read.
pub fn stop_if_empty(mount_point: &Path) -> Result<Stopped> {
    let state = settled()?;
    if !state.is_running() {
        return Ok(Stopped::NotActive);
    }
    let cgroup = state.usable().map_err(|(reason, cure)| CgroupError::Systemd { reason, cure })?;
    let path = below(mount_point, cgroup);
    let others = processes_beside(&path, state.main_pid())?;
    if !others.is_empty() {
        return Ok(Stopped::Busy(others));
    }
    command::run(&command::stop_command())?;
    Ok(Stopped::Stopped)
}

/// The unit's state, once it is neither starting nor stopping.
fn settled() -> Result<UnitState> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let text = command::run(&command::show_command())?;
        let state = UnitState::parse(&text).map_err(|reason| CgroupError::Systemd {
            reason: format!("the answer of systemctl show {UNIT} is not understood: {reason}"),
            cure: "set daemon.cgroup_root to a directory that is delegated to guard, and report \
                   this version of systemd"
                .into(),
        })?;
        if !state.is_in_between() {
            return Ok(state);
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Systemd {
                reason: format!("{UNIT} has been between two states for {} s", SETTLE.as_secs()),
                cure: format!("look at systemctl status {UNIT}"),
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Puts the keeper into its leaf; reports others that are in the unit's own cgroup.
fn settle_keeper(place: &Path, main_pid: u32) -> Result<Vec<String>> {
    let dir = open_absolute(place).map_err(|e| io("open", place, e))?;
    let leaf = place.join(KEEPER);
    match mkdirat(&dir, KEEPER, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(io("make cgroup", &leaf, errno)),
    }
    let keeper = open_dir(dir.as_fd(), Path::new(KEEPER)).map_err(|e| io("open", &leaf, e))?;
    let text = read_file(&dir, "cgroup.procs").map_err(|e| io("read cgroup.procs of", place, e))?;
    let mut procs = Procs::default();
    add_pids(&mut procs, &text);
    let mut warnings = Vec::new();
    for pid in procs.pids {
        if pid == main_pid {
            write_file(&keeper, "cgroup.procs", &pid.to_string())
                .map_err(|e| io("move the keeper into", &leaf, e))?;
        } else {
            warnings.push(format!(
                "process {pid} is in {} itself, beside the bulkheads: no bulkhead guards it, and \
                 limits cannot be switched on; move it with guardctl move",
                place.display()
            ));
        }
    }
    Ok(warnings)
}

/// Processes in the place and below, the keeper excepted.
fn processes_beside(place: &Path, main_pid: u32) -> Result<Vec<u32>> {
    let top = match open_absolute(place) {
        Err(errno) if vanished(errno) => return Ok(Vec::new()),
        other => other.map_err(|e| io("open", place, e))?,
    };
    let mut procs = procs_below(top.as_fd(), place, &BTreeSet::new())?;
    procs.pids.retain(|pid| *pid != main_pid);
    // Processes of other pid namespaces have no id, and count all the same.
    procs.pids.extend((0..procs.without_pid).map(|_| 0));
    Ok(procs.pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_1_needs_both_signs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(!is_pid_1(root));
        std::fs::create_dir_all(root.join("proc/1")).unwrap();
        std::fs::write(root.join("proc/1/comm"), "systemd\n").unwrap();
        assert!(!is_pid_1(root));
        std::fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        assert!(is_pid_1(root));
        std::fs::write(root.join("proc/1/comm"), "bash\n").unwrap();
        assert!(!is_pid_1(root));
    }
}
