//! Ends what is left in a cgroup: politely, then by force. Never a process that is not in it at
//! that moment, and never one where others' servers are: whoever calls this has looked.

use std::collections::BTreeSet;

use nix::errno::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::bulkhead::Bulkhead;
use super::error::{Result, io};
use super::walk::{vanished, write_file};

/// How a process shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Asked,
    /// SIGKILL.
    Forced,
}

impl Bulkhead {
    /// Signals those of `pids` that are in this cgroup or below. Returns how many.
    ///
    /// # Errors
    /// As [`Bulkhead::procs`].
    pub fn signal(&self, pids: &[u32], end: End) -> Result<usize> {
        let open = |pid: &u32| {
            let raw = Pid::from_raw(i32::try_from(*pid).ok()?)?;
            Some((*pid, pidfd_open(raw, PidfdFlags::empty()).ok()?))
        };
        let handles: Vec<_> = pids.iter().filter_map(open).collect();
        // Looked up after the handles were opened: a pid that has gone to another process since is
        // not here any more.
        let inside: BTreeSet<u32> = self.procs()?.pids.into_iter().collect();
        let signal = match end {
            End::Asked => Signal::TERM,
            End::Forced => Signal::KILL,
        };
        let sent = handles.iter().filter(|(pid, handle)| {
            inside.contains(pid) && pidfd_send_signal(handle, signal).is_ok()
        });
        Ok(sent.count())
    }

    /// Sends any signal to every process in it and below. Returns to how many.
    ///
    /// # Errors
    /// As [`Bulkhead::procs`].
    pub fn send(&self, signal: nix::sys::signal::Signal) -> Result<usize> {
        let pids = self.subtree_procs()?.pids;
        let open = |pid: u32| {
            let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
            Some((pid, pidfd_open(raw, PidfdFlags::empty()).ok()?))
        };
        let handles: Vec<_> = pids.into_iter().filter_map(open).collect();
        let inside: BTreeSet<u32> = self.subtree_procs()?.pids.into_iter().collect();
        let Some(signal) = Signal::from_named_raw(signal as i32) else { return Ok(0) };
        let sent = handles.iter().filter(|(pid, handle)| {
            inside.contains(pid) && pidfd_send_signal(handle, signal).is_ok()
        });
        Ok(sent.count())
    }

    /// Kills every process in it and below, and those that they fork meanwhile (`cgroup.kill`).
    ///
    /// # Errors
    /// [`CgroupError::Io`](super::CgroupError::Io); a cgroup that is gone is none.
    pub fn kill(&self) -> Result<()> {
        match write_file(&self.dir, "cgroup.kill", "1") {
            Err(errno) if vanished(errno) || errno == Errno::ESRCH => Ok(()),
            other => other.map_err(|e| io("write cgroup.kill of", &self.path, e)),
        }
    }
}
