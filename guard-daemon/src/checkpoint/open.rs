//! Opens what belongs to an agent without following any symbolic link, on the way neither.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::error::{CheckpointError, errno};

/// Flags of everything that is opened to be looked at: no link, no waiting for a fifo, no terminal.
pub(super) const LOOK: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens the directory that a state path is in, and gives the path's last component.
/// `None` if the directory is not there.
pub(super) fn parent(path: &Path) -> Result<Option<(OwnedFd, PathBuf)>, CheckpointError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(CheckpointError::Io {
            action: "use",
            path: path.into(),
            source: std::io::Error::other("the root directory is no state path"),
        });
    };
    // Without NOFOLLOW, so that a link as the last component is told as what it is.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, parent, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some((fd, name.into()))),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(CheckpointError::Link(path.into())),
        Err(error) => Err(errno("open the directory of", path)(error)),
    }
}

/// Names an entry of an open directory by a path that cannot be turned elsewhere meanwhile.
pub(super) fn through(fd: &OwnedFd, name: &Path) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())).join(name)
}
