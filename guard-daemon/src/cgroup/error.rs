//! Errors of the cgroup module: what, where, why and the cure, in one sentence each.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Result of this module.
pub type Result<T> = std::result::Result<T, CgroupError>;

/// What can go wrong with cgroups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The table of mounts cannot be read.
    #[error(
        "cannot read {path}: {source}; mount proc at /proc so that guard can find the cgroup2 file system"
    )]
    Mountinfo {
        /// The table.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no usable cgroup2 file system.
    #[error(
        "no cgroup2 file system is mounted here ({looked_at}): guard keeps agents in cgroup v2; \
         cure: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NoHierarchy {
        /// What was found instead.
        looked_at: String,
    },
    /// `daemon.cgroup_root` cannot be used.
    #[error("cgroup root {path}: {reason}; cure: {cure}")]
    BadRoot {
        /// The root.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        cure: String,
    },
    /// The path of a bulkhead is not one.
    #[error(
        "bulkhead cgroup {path:?}: {reason}; cure: give a relative path of plain names, such as \"agents/research\""
    )]
    BadPath {
        /// As given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A cgroup exists and cannot be a bulkhead.
    #[error("cgroup {path}: {reason}; cure: {cure}")]
    Refused {
        /// The cgroup.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        cure: String,
    },
    /// A system call failed.
    #[error("cannot {action} {path}: {source} ({errno}){cure}", errno = errno_name(*.source))]
    Io {
        /// The verb: `open`, `make`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: Errno,
        /// `"; cure: …"`, or empty.
        cure: &'static str,
    },
    /// The undo journal could not be written, so nothing was done.
    #[error("{what} was not made, because its undo could not be written to the journal: {reason}")]
    Journal {
        /// What would have been made.
        what: String,
        /// Why.
        reason: String,
    },
    /// A process cannot be moved.
    #[error("cannot move process {pid} into {path}: {reason}; cure: {cure}")]
    Move {
        /// The process.
        pid: u32,
        /// Where to.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        cure: &'static str,
    },
    /// systemd did not give a place.
    #[error("systemd gave no delegated cgroup: {reason}; cure: {cure}")]
    Systemd {
        /// What happened.
        reason: String,
        /// What to do.
        cure: String,
    },
}

fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// An [`CgroupError::Io`] with the cure that fits its errno.
pub(super) fn io(action: &'static str, path: &Path, source: Errno) -> CgroupError {
    let cure = match source {
        Errno::EACCES | Errno::EPERM => "; cure: run guardd as root, or delegate this cgroup to it",
        Errno::EROFS => "; cure: remount the cgroup2 file system read-write for guardd",
        Errno::EAGAIN => {
            "; cure: raise cgroup.max.depth or cgroup.max.descendants of the cgroups above"
        }
        Errno::ENOTDIR => "; cure: choose a name that is not a file of the cgroup2 file system",
        Errno::ENAMETOOLONG => "; cure: use names of at most 255 bytes",
        Errno::ENOENT | Errno::ENODEV => "; the cgroup was removed: make it again or reload guardd",
        _ => "",
    };
    CgroupError::Io { action, path: path.to_path_buf(), source, cure }
}
