//! Which process a socket belongs to, for people: command names, and the owner of a socket whose
//! process is not known from its connect.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Command name of a process; empty if it is gone.
pub(super) fn command(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}

/// Network namespace of a process (its inode number).
pub(super) fn network_namespace(pid: u32) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|m| m.ino())
}

/// Owners of sockets by inode, for these processes. Costs a look at every descriptor: for sockets
/// older than the daemon only. Processes that vanish on the way are left out.
pub(super) fn socket_owners(pids: &[u32]) -> HashMap<u32, u32> {
    socket_descriptors(pids).into_iter().map(|(inode, (pid, _))| (inode, pid)).collect()
}

/// The same, with the descriptor that each owner has.
pub fn socket_descriptors(pids: &[u32]) -> HashMap<u32, (u32, i32)> {
    let mut owners = HashMap::new();
    for pid in pids {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let number = descriptor.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(inode), Some(number)) = (socket_inode(&descriptor.path()), number) {
                owners.entry(inode).or_insert((*pid, number));
            }
        }
    }
    owners
}

/// Inode of the socket that a descriptor (`/proc/PID/fd/N`) is; `None` if it is none.
pub(super) fn socket_inode(descriptor: &Path) -> Option<u32> {
    let target = std::fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
