//! The cgroup of one run of a hook: whatever the hook starts is in it, also what leaves its session and
//! process group, and goes with it. Nobody else is ever put there, so all that is in it may be killed.

use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The cgroup of all runs of hooks, below the cgroup root.
pub const HOOKS: &str = "guard-hooks";
const LOOK: Duration = Duration::from_millis(10);

/// Puts this process into the cgroup at this path.
///
/// # Errors
/// If the kernel refuses.
pub fn join(path: &Path) -> io::Result<()> {
    std::fs::File::options().write(true).open(path.join("cgroup.procs"))?.write_all(b"0")
}

/// Kills whatever is in it and below, and removes it. Returns how many processes there were; a cgroup
/// that is gone has none. Waits for their end no longer than `patience`.
///
/// # Errors
/// If it is no cgroup of a hook, or stays: a process that the kernel cannot end yet is in it.
pub fn end_hook(path: &Path, patience: Duration) -> io::Result<usize> {
    let of_hooks = path.parent().and_then(Path::file_name).is_some_and(|name| name == HOOKS);
    if !of_hooks {
        return Err(io::Error::other("it is no cgroup of a hook"));
    }
    let left = match std::fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => text.lines().count(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(0),
        Err(error) => return Err(error),
    };
    let until = Instant::now() + patience;
    loop {
        // Again each time: one may join it at this moment.
        match kill(path).and_then(|()| remove(path)) {
            Ok(()) => return Ok(left),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(left),
            // Those that were killed are still on their way out.
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn kill(path: &Path) -> io::Result<()> {
    // Not to be made where it is gone: a cgroup's files are there, or nothing is.
    std::fs::File::options().write(true).open(path.join("cgroup.kill"))?.write_all(b"1")
}

/// Removes empty cgroups, those that the hook has made in its own first.
fn remove(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}
