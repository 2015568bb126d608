//! Waits until the kernel has something to tell about limits, instead of asking again and again: it
//! notifies whoever watches `memory.events` and `pids.events`.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Files that tell of something worth a look.
const FILES: [&str; 2] = ["memory.events", "pids.events"];

/// Watches the bulkheads.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> Result<Self, Errno> {
        Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map(Self)
    }

    /// Watches these cgroups too. Those that it watches stay as they are, those that are gone have
    /// left by themselves, and those without controllers have nothing to watch.
    pub fn add(&self, cgroups: &[PathBuf]) {
        for cgroup in cgroups {
            for file in FILES {
                match self.0.add_watch(&cgroup.join(file), AddWatchFlags::IN_MODIFY) {
                    Ok(_) | Err(Errno::ENOENT | Errno::ENODEV) => {}
                    Err(error) => tracing::debug!(
                        cgroup = %cgroup.display(), file, %error,
                        "not watched; it is looked at now and then instead"
                    ),
                }
            }
        }
    }

    /// Waits until one of them has changed, at most so long; whether one has.
    pub fn wait(&self, longest: Duration) -> bool {
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut ready, timeout), Ok(1..)) {
            return false;
        }
        // One look sees all that has happened so far.
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
        true
    }
}
