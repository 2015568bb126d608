//! A bpffs of guard's own, for objects that must be files: gates, which iptables takes so, and maps
//! and links that outlive the daemon. Directory and mount are written to the undo log before they
//! are made; after an error neither is left.
//!
//! It never mounts over what somebody else has mounted, and removes nothing outside of its mount.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{Ticket, Undo, UndoLog};

/// The bpffs could not be mounted or taken off; the text says what and why.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {why}", path.display())]
pub struct BpffsError {
    what: &'static str,
    path: PathBuf,
    why: String,
}

/// One bpffs.
#[derive(Debug)]
pub struct OwnBpffs {
    path: PathBuf,
    /// Entries of the directory, if guard made it, and of the mount.
    mounted: Option<(Option<Ticket>, Ticket)>,
}

impl OwnBpffs {
    /// Not mounted yet. The directory above `path` must exist when it is.
    pub fn new(path: PathBuf) -> Self {
        Self { path, mounted: None }
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over the mount that an earlier life has left, if there is one; whether there is.
    pub fn take_over(&mut self, undo: &mut UndoLog) -> Result<bool, BpffsError> {
        let entries = undo.open_entries();
        let ticket = |wanted: &Undo| {
            let found = entries.iter().find(|entry| entry.same_boot && entry.what == *wanted);
            found.map(|entry| entry.ticket)
        };
        let directory = ticket(&Undo::DirMade { path: self.path.clone() });
        let mount = ticket(&Undo::Mounted { path: self.path.clone() });
        if let Some(mount) = mount {
            if is_bpffs(&self.path) {
                self.mounted = Some((directory, mount));
                return Ok(true);
            }
            // Somebody unmounted it.
            settle(undo, mount);
        }
        self.remove_directory(directory, undo)?;
        Ok(false)
    }

    /// Mounts it, if it is not.
    pub fn mount(&mut self, undo: &mut UndoLog) -> Result<(), BpffsError> {
        if self.mounted.is_some() {
            return Ok(());
        }
        let directory = self.make_directory(undo)?;
        match self.mount_on_directory(undo) {
            Ok(ticket) => self.mounted = Some((directory, ticket)),
            Err(error) => {
                if let Err(problem) = self.remove_directory(directory, undo) {
                    tracing::warn!(%problem, "after a failed mount");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Its entry, or `None` if the directory was there before: then it is not ours to remove.
    fn make_directory(&self, undo: &mut UndoLog) -> Result<Option<Ticket>, BpffsError> {
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

    fn mount_on_directory(&self, undo: &mut UndoLog) -> Result<Ticket, BpffsError> {
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

    /// Removes all that is in it.
    pub fn clear(&self) -> Result<(), BpffsError> {
        empty(&self.path).map_err(|e| self.failed("emptying", &e))
    }

    /// Takes it off the host with all that is in it. Does nothing if it is not mounted.
    pub fn unmount(&mut self, undo: &mut UndoLog) -> Result<(), BpffsError> {
        let Some((directory, mount)) = self.mounted.take() else { return Ok(()) };
        self.clear()?;
        umount2(&self.path, MntFlags::MNT_DETACH).map_err(|e| self.failed("unmounting", &e))?;
        settle(undo, mount);
        self.remove_directory(directory, undo)
    }

    fn remove_directory(&self, made: Option<Ticket>, undo: &mut UndoLog) -> Result<(), BpffsError> {
        let Some(ticket) = made else { return Ok(()) };
        match std::fs::remove_dir(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.failed("removing", &e)),
            _ => {
                settle(undo, ticket);
                Ok(())
            }
        }
    }

    fn failed(&self, what: &'static str, why: &dyn Display) -> BpffsError {
        BpffsError { what, path: self.path.clone(), why: why.to_string() }
    }
}

/// Removes all that guard has put into a directory, if that is on a bpffs. Unmounting alone would not
/// do: a mount namespace that copied the mount keeps it, and with it programs at work. Names with a
/// dot are the kernel's own (`maps.debug` and `progs.debug`, where it has them): nobody else can make
/// or remove one.
pub(super) fn empty(directory: &Path) -> io::Result<()> {
    if !is_bpffs(directory) {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().contains(&b'.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Marks an entry as undone. If that cannot be written, the next life looks for what is gone.
fn settle(undo: &mut UndoLog, ticket: Ticket) {
    if let Err(error) = undo.done(ticket) {
        tracing::warn!(%error, "undo log not updated");
    }
}
