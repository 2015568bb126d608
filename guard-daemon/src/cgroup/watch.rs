//! Wakes whoever waits for cgroups to appear and vanish (inotify). It says that something
//! happened, never what: who is woken looks at the tree itself, so a lost event costs nothing.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::{Errno, read};

use super::error::{Result, io};

/// Cgroups come in groups (a pod has several): those are looked at once.
const SETTLE: Duration = Duration::from_millis(10);

/// Watches directories.
#[derive(Debug)]
pub struct Watcher(OwnedFd);

impl Watcher {
    /// One that watches nothing.
    ///
    /// # Errors
    /// [`CgroupError::Io`](super::CgroupError::Io): this user has too many already.
    pub fn new() -> Result<Self> {
        let made = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        Ok(Self(made.map_err(|e| io("watch", std::path::Path::new("cgroups"), errno(e)))?))
    }

    /// Watches these directories too; those that are watched stay so. One that is gone is passed
    /// over: its parent is watched as well.
    ///
    /// # Errors
    /// [`CgroupError::Io`](super::CgroupError::Io), as a rule because
    /// `fs.inotify.max_user_watches` is reached.
    pub fn watch(&self, directories: &BTreeSet<PathBuf>) -> Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        for path in directories {
            match add_watch(&self.0, path, flags) {
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NODEV) => {}
                Err(error) => return Err(io("watch", path, errno(error))),
            }
        }
        Ok(())
    }

    /// Waits; whether something happened.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        if !matches!(poll(&mut ready, limit), Ok(1..)) {
            return false;
        }
        std::thread::sleep(SETTLE);
        let mut events = [0_u8; 4096];
        while read(&self.0, &mut events).is_ok_and(|length| length > 0) {}
        true
    }
}

fn errno(error: Errno) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(error.raw_os_error())
}
