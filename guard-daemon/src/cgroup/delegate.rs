//! Gives a bulkhead's cgroup to a user who is not root, as the kernel's cgroup-v2.rst says under
//! "Delegation": the directory, to make cgroups below it, and the three files that say which
//! processes and controllers are in them. The limits are the files beside those, and stay root's.
//! It never touches a cgroup below, and takes back only what it gave.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstat;
use nix::unistd::{Uid, fchownat, geteuid};

use super::bulkhead::Bulkhead;
use super::error::{CgroupError, Result, io};
use super::walk::{is_cgroup2_fd, open_absolute, vanished};

/// What is given away, besides the directory. `cgroup.threads` is not in every kind of cgroup.
const FILES: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

impl Bulkhead {
    /// Gives it to a user.
    ///
    /// # Errors
    /// [`CgroupError::Io`]; then the user has none of it.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        give(&self.dir, Uid::from_raw(uid)).map_err(|errno| {
            // Best effort: the first error is the one to tell.
            give(&self.dir, geteuid()).unwrap_or_default();
            io("give away", &self.path, errno)
        })
    }
}

/// Takes the cgroup at `path` back from the user that it was given to. One that is gone, or has
/// another owner by now, is left as it is.
///
/// # Errors
/// [`CgroupError::Io`].
pub fn take_back(path: &Path, uid: u32) -> Result<bool> {
    let failed = |errno| io("take back", path, errno);
    let dir = match open_absolute(path) {
        Err(errno) if vanished(errno) => return Ok(false),
        other => other.map_err(failed)?,
    };
    if !is_cgroup2_fd(&dir).map_err(failed)? {
        return Err(CgroupError::Refused {
            path: path.into(),
            reason: "it is not on a cgroup2 file system any more".into(),
            cure: "nothing to do: guard has given away cgroups only".into(),
        });
    }
    if fstat(&dir).map_err(failed)?.st_uid != uid {
        return Ok(false);
    }
    give(&dir, geteuid()).map_err(failed)?;
    Ok(true)
}

fn give(dir: &OwnedFd, to: Uid) -> std::result::Result<(), Errno> {
    for name in FILES {
        match fchownat(dir, name, Some(to), None, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            other => other?,
        }
    }
    fchownat(dir.as_fd(), ".", Some(to), None, AtFlags::AT_SYMLINK_NOFOLLOW)
}
