//! The control socket's place in the file system: made, taken over from a dead daemon, removed.
//! Never takes a path away from a living daemon, and never removes anything but a socket.
//!
//! Two daemons that start in the same instant could both find the same dead socket; guardd
//! excludes that earlier, by the lock on its state directory.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use thiserror::Error;
use tokio::net::UnixListener;
use tracing::{info, warn};

use super::access::SocketGroup;

/// Why the control socket could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// The path has no directory part, or is longer than a socket address can be.
    #[error("daemon.control_socket {path:?}: {reason}; give an absolute path of at most 107 bytes")]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody answers there.
    #[error(
        "another guardd{pid} answers at {path:?}: two on one socket cannot be; stop it (systemctl stop guardd), or give this one its own daemon.control_socket and daemon.state_dir"
    )]
    InUse {
        /// The path.
        path: PathBuf,
        /// ` (pid N)`, or empty if unknown.
        pid: String,
    },
    /// Something that is not a socket is in the way.
    #[error(
        "{path:?} exists and is not a socket: left alone; move it away or change daemon.control_socket"
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A step failed.
    #[error(
        "control socket {path:?}: cannot {step}: {source}; guardd needs to be able to write its directory"
    )]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Makes the listening socket: mode 0660, group `guard` where the host has it, its directory
/// (0755) if absent. Needs a tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |step| move |source| BindError::Io { path: path.to_owned(), step, source };
    let Some(directory) = path.parent().filter(|_| path.is_absolute()) else {
        let reason = "not an absolute path of a file".to_owned();
        return Err(BindError::BadPath { path: path.to_owned(), reason });
    };
    if !directory.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)))
            .map_err(failed("make its directory"))?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(failed("bind it"))?;
    // Until here the umask said who may connect; the credentials of each peer are checked anyway.
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("set its mode"))?;
    if let Some(group) = SocketGroup::find() {
        match chown(path, None, Some(group.gid)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                warn!(group = group.name, %error, "control socket keeps its group: members of the group cannot connect");
            }
            Err(source) => return Err(failed("give it to its group")(source)),
        }
    }
    Ok(listener)
}

/// Removes the socket at a clean stop. A path that is gone, or no socket, is left as it is.
pub fn unlink(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the socket of a daemon that is gone. `false`: there is none, or what is there is no
/// socket.
pub fn remove_dead(path: &Path) -> Result<bool, BindError> {
    match remove_stale(path) {
        Ok(removed) => Ok(removed),
        Err(BindError::NotASocket { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there was one to remove.
fn remove_stale(path: &Path) -> Result<bool, BindError> {
    let failed = |step| move |source| BindError::Io { path: path.to_owned(), step, source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("look at it")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match answering(path)? {
        Answer::Yes { pid } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            return Err(BindError::InUse { path: path.to_owned(), pid });
        }
        Answer::Gone => return Ok(false),
        Answer::Nobody => {}
    }
    info!(path = %path.display(), "removing the control socket of a guardd that is gone");
    fs::remove_file(path).map_err(failed("remove the old one"))?;
    Ok(true)
}

enum Answer {
    Yes { pid: Option<i32> },
    Nobody,
    Gone,
}

/// Whether somebody listens there. Never blocks, not even on a full backlog.
fn answering(path: &Path) -> Result<Answer, BindError> {
    let failed = |step| {
        move |errno: Errno| BindError::Io { path: path.to_owned(), step, source: errno.into() }
    };
    let address = UnixAddr::new(path).map_err(|errno| BindError::BadPath {
        path: path.to_owned(),
        reason: errno.desc().to_owned(),
    })?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(failed("ask who listens there"))?;
    match connect(probe.as_raw_fd(), &address) {
        Ok(()) => {
            Ok(Answer::Yes { pid: getsockopt(&probe, PeerCredentials).ok().map(|c| c.pid()) })
        }
        Err(Errno::EAGAIN) => Ok(Answer::Yes { pid: None }),
        Err(Errno::ECONNREFUSED) => Ok(Answer::Nobody),
        Err(Errno::ENOENT) => Ok(Answer::Gone),
        Err(errno) => Err(failed("ask who listens there")(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn makes_directory_and_socket_with_their_modes() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("run/guard/guardd.sock");
        let _listener = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
    }

    #[tokio::test]
    async fn replaces_a_dead_socket_but_not_a_living_one() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("guardd.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "a closed listener leaves its file");
        let living = bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(living);
        unlink(&path).unwrap();
        assert!(!path.exists());
        unlink(&path).unwrap();
    }

    #[tokio::test]
    async fn leaves_a_file_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("guardd.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        unlink(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn refuses_a_path_that_is_too_long_or_relative() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(bind(&scratch.path().join("x".repeat(120))).is_err());
        assert!(matches!(bind(Path::new("guardd.sock")), Err(BindError::BadPath { .. })));
    }
}
