//! One guardd per state directory: an exclusive lock on `state_dir/lock`, held while the file is
//! open. The kernel gives it back whatever ends the process; the file itself stays.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::LogError;

/// Name of the file.
const LOCK_FILE: &str = "lock";

/// Takes the lock and writes our process id into the file.
pub(super) fn take(state_dir: &Path) -> Result<Flock<File>, LogError> {
    let path = state_dir.join(LOCK_FILE);
    let io = |action| {
        let path = path.clone();
        move |source| LogError::Io { action, path, source }
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("open"))?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // The holder may not have written its id yet: then it stays unknown.
            if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                "unknown".clone_into(&mut holder);
            }
            return Err(LogError::InUse { path, holder: holder.trim().to_owned() });
        }
        Err((_, errno)) => return Err(io("lock")(errno.into())),
    };
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(io("write the process id to"))?;
    Ok(lock)
}
