//! The sockets of bulkheads, wherever they are: each with what the kernel says of it and what the
//! hooks remember of it. It only looks.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};

use guard_common::abi::socket::SocketState as Remembered;

use super::process;
use crate::kernel::{PacedSockets, decode_socket};
use crate::net::sock_diag::{self, DiagSocket};

/// One socket that the hooks know.
pub struct GuardedSocket {
    /// What the kernel says.
    pub socket: DiagSocket,
    /// What the hooks remember.
    pub remembered: Remembered,
    /// A process in its network namespace, if that is not guardd's own.
    pub namespace_of: Option<u32>,
}

/// Every socket with guard's storage, in guardd's network namespace and in those of the given
/// processes, and what could not be listed. A call that `paced` holds, which the hooks have not seen
/// leave, begins when it may go. Blocking.
pub fn guarded_sockets(
    storage: BorrowedFd<'_>,
    foreign: impl Iterator<Item = u32>,
    paced: Option<&PacedSockets>,
) -> (Vec<GuardedSocket>, Vec<String>) {
    let mut problems = Vec::new();
    let mut sockets = Vec::new();
    let mut take = |found: Vec<DiagSocket>, namespace_of| {
        sockets.extend(found.into_iter().filter_map(|socket| {
            let mut remembered = decode_socket(socket.storage.as_ref()?)?;
            if remembered.exchange_start_ns == 0
                && let Some(until_ns) = paced.and_then(|paced| paced.held_until_ns(socket.cookie))
            {
                remembered.exchange_start_ns = until_ns;
            }
            Some(GuardedSocket { socket, remembered, namespace_of })
        }));
    };
    match sock_diag::dump(Some(storage)) {
        Ok(found) => take(found, None),
        Err(error) => problems.push(error.to_string()),
    }
    let mut seen = Vec::new();
    for pid in foreign {
        let Some(namespace) = process::network_namespace(pid) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        seen.push(namespace);
        match dump_namespace_of(pid, storage) {
            Ok(found) => take(found, Some(pid)),
            Err(error) => problems.push(format!("network namespace of process {pid}: {error}")),
        }
    }
    (sockets, problems)
}

fn dump_namespace_of(
    pid: u32,
    storage: BorrowedFd<'_>,
) -> Result<Vec<DiagSocket>, Box<dyn std::error::Error>> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    Ok(sock_diag::dump_in_netns(namespace.as_fd(), Some(storage))?)
}
