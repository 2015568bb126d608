//! The file system of the gates: a bpffs of guard's own, mounted when the first gate needs it.
//! Directory and mount are written to the undo log before they are made; after an error neither
//! is left.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::error::FaultError;
use crate::journal::{Ticket, Undo, UndoLog};

/// Where gates are pinned.
pub(super) struct GateDir {
    path: PathBuf,
    /// Entries of the directory, if guard made it, and of the mount.
    mounted: Option<(Option<Ticket>, Ticket)>,
}

impl GateDir {
    /// Not mounted yet. The directory above `path` must exist when it is.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, mounted: None }
    }

    /// The mount point.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it, if it is not.
    pub(super) fn mount(&mut self, undo: &mut UndoLog) -> Result<(), FaultError> {
        if self.mounted.is_some() {
            return Ok(());
        }
        let directory = self.make_directory(undo)?;
        match self.mount_on_directory(undo) {
            Ok(ticket) => self.mounted = Some((directory, ticket)),
            Err(error) => {
                if let Err(problem) = self.remove_directory(directory, undo) {
                    tracing::warn!(problem, "after a failed mount");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Its entry, or `None` if the directory was there before: then it is not ours to remove.
    fn make_directory(&self, undo: &mut UndoLog) -> Result<Option<Ticket>, FaultError> {
        if self.path.exists() {
            return Ok(None);
        }
        let entry = Undo::DirMade { path: self.path.clone() };
        let ticket = undo.intend(entry).map_err(|e| self.failed("announcing", &e))?;
        match std::fs::create_dir(&self.path) {
            Ok(()) => Ok(Some(ticket)),
            Err(error) => {
                settle(undo, ticket);
                Err(self.failed("making", &error))
            }
        }
    }

    fn mount_on_directory(&self, undo: &mut UndoLog) -> Result<Ticket, FaultError> {
        let entry = Undo::Mounted { path: self.path.clone() };
        let ticket = undo.intend(entry).map_err(|e| self.failed("announcing the mount of", &e))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        match mount(Some("guard"), &self.path, Some("bpf"), flags, Some("mode=0700")) {
            Ok(()) => Ok(ticket),
            Err(errno) => {
                settle(undo, ticket);
                Err(self.failed("mounting a bpffs at", &errno))
            }
        }
    }

    /// Takes it off the host. Does nothing if it is not mounted.
    pub(super) fn unmount(&mut self, undo: &mut UndoLog) -> Result<(), String> {
        let Some((directory, mount)) = self.mounted.take() else { return Ok(()) };
        umount2(&self.path, MntFlags::MNT_DETACH)
            .map_err(|e| format!("unmounting {}: {e}", self.path.display()))?;
        settle(undo, mount);
        self.remove_directory(directory, undo)
    }

    fn remove_directory(&self, made: Option<Ticket>, undo: &mut UndoLog) -> Result<(), String> {
        let Some(ticket) = made else { return Ok(()) };
        match std::fs::remove_dir(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(format!("removing {}: {e}", self.path.display()));
            }
            _ => settle(undo, ticket),
        }
        Ok(())
    }

    fn failed(&self, what: &str, why: &dyn Display) -> FaultError {
        FaultError::Bpffs(format!("{what} {}: {why}", self.path.display()))
    }
}

/// Marks an entry as undone. If that cannot be written, the next life looks for what is gone.
fn settle(undo: &mut UndoLog, ticket: Ticket) {
    if let Err(error) = undo.done(ticket) {
        tracing::warn!(%error, "undo log not updated");
    }
}
