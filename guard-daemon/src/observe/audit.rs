//! Sockets that escape guard. A socket keeps the cgroup of its creator for life, and the kernel asks
//! the programs of that cgroup: one that was made before its process joined, or handed over by
//! another process, is not guarded, and nothing but a look at who holds what shows it.
//!
//! It reads `/proc` and the kernel's socket lists, takes no descriptor, and looks at no more than
//! [`MAX_DESCRIPTORS`]. What it cannot see: descriptors registered with io_uring, and sockets of
//! network namespaces that no process of a bulkhead is in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use guard_common::abi::socket::SOCKET_PASSIVE;

use super::process;
use crate::control::api::UnguardedSocket;
use crate::kernel::decode_socket;
use crate::net::sock_diag::{self, DiagSocket, Transport};

/// Descriptors that one audit looks at.
const MAX_DESCRIPTORS: usize = 200_000;
/// The kernel's name for a socket's protocol (`XATTR_NAME_SOCKPROTONAME`).
const PROTOCOL_NAME: &str = "system.sockprotoname";

/// What the audit must know of a bulkhead.
pub struct AuditedBulkhead {
    /// Its processes.
    pub pids: Vec<u32>,
    /// Ids of its cgroup and of all below.
    pub cgroups: BTreeSet<u64>,
    /// One process for each other network namespace of its processes.
    pub foreign_namespaces: Vec<u32>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Sockets by bulkhead id; bulkheads without any are left out.
    pub unguarded: BTreeMap<u32, Vec<UnguardedSocket>>,
    /// What could not be looked at, one line each.
    pub problems: Vec<String>,
    /// Inodes of those sockets, to tell new ones from old.
    pub inodes: HashSet<u32>,
    /// How long it took.
    pub took: Duration,
}

struct Auditor<'a> {
    bulkheads: &'a BTreeMap<u32, AuditedBulkhead>,
    sockets: HashMap<u32, DiagSocket>,
    audit: Audit,
    /// Sockets that some process of a bulkhead holds.
    held: HashSet<u32>,
    looked_at: usize,
}

/// Looks at every socket of every process of the bulkheads. `storage` is guard's socket storage.
/// Blocking.
pub fn audit(storage: BorrowedFd<'_>, bulkheads: &BTreeMap<u32, AuditedBulkhead>) -> Audit {
    let start = Instant::now();
    let mut auditor = Auditor {
        bulkheads,
        sockets: HashMap::new(),
        audit: Audit::default(),
        held: HashSet::new(),
        looked_at: 0,
    };
    if bulkheads.values().any(|bulkhead| !bulkhead.pids.is_empty()) {
        auditor.list(storage);
        for (id, bulkhead) in bulkheads {
            for pid in &bulkhead.pids {
                auditor.process(*id, bulkhead, *pid);
            }
        }
        auditor.left();
    } else if let Ok(sockets) = sock_diag::dump(Some(storage)) {
        // Nobody is in a bulkhead; somebody may have left one.
        auditor.take(sockets);
        auditor.left();
    }
    if auditor.looked_at > MAX_DESCRIPTORS {
        let line = format!("more than {MAX_DESCRIPTORS} descriptors: not all were looked at");
        auditor.audit.problems.push(line);
    }
    auditor.audit.took = start.elapsed();
    auditor.audit
}

impl Auditor<'_> {
    fn list(&mut self, storage: BorrowedFd<'_>) {
        match sock_diag::dump(Some(storage)) {
            Ok(sockets) => self.take(sockets),
            Err(error) => self.audit.problems.push(error.to_string()),
        }
        let mut seen = HashSet::new();
        for pid in self.bulkheads.values().flat_map(|b| &b.foreign_namespaces) {
            if !process::network_namespace(*pid).is_some_and(|namespace| seen.insert(namespace)) {
                continue;
            }
            let Ok(namespace) = File::open(format!("/proc/{pid}/ns/net")) else { continue };
            match sock_diag::dump_in_netns(namespace.as_fd(), Some(storage)) {
                Ok(sockets) => self.take(sockets),
                Err(error) => {
                    let line = format!("network namespace of process {pid}: {error}");
                    self.audit.problems.push(line);
                }
            }
        }
    }

    fn take(&mut self, sockets: Vec<DiagSocket>) {
        // The kernel lists what no process holds any more with inode 0.
        let held = sockets.into_iter().filter(|socket| socket.inode != 0);
        self.sockets.extend(held.map(|socket| (socket.inode, socket)));
    }

    /// Sockets of one process.
    fn process(&mut self, id: u32, bulkhead: &AuditedBulkhead, pid: u32) {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return };
        for descriptor in descriptors.flatten() {
            self.looked_at += 1;
            if self.looked_at > MAX_DESCRIPTORS {
                return;
            }
            let path = descriptor.path();
            let Some(inode) = process::socket_inode(&path) else { continue };
            self.held.insert(inode);
            let found = match self.sockets.get(&inode) {
                Some(socket) => self.judge(id, bulkhead, socket).map(|reason| {
                    let kind = match socket.transport {
                        Transport::Tcp => "tcp",
                        Transport::Udp => "udp",
                    };
                    let peer = (socket.peer.port() != 0).then(|| socket.peer.to_string());
                    (reason, kind.to_owned(), socket.local.to_string(), peer.unwrap_or_default())
                }),
                None => unseen_kind(&path)
                    .map(|kind| ("unseen_kind", kind, String::new(), String::new())),
            };
            if let Some((reason, kind, local, peer)) = found
                && self.audit.inodes.insert(inode)
            {
                let process = process::command(pid);
                let reason = reason.to_owned();
                let socket = UnguardedSocket { reason, pid, process, kind, local, peer };
                self.audit.unguarded.entry(id).or_default().push(socket);
            }
        }
    }

    /// Why a socket in the kernel's lists is not guarded as its holder is; `None` = it is.
    fn judge(
        &self,
        id: u32,
        bulkhead: &AuditedBulkhead,
        socket: &DiagSocket,
    ) -> Option<&'static str> {
        let cgroup = socket.cgroup_id?;
        let remembered = remembered_bulkhead(socket);
        // The second: the cgroup that it was made in is gone, and its programs live on in it.
        if bulkhead.cgroups.contains(&cgroup) || remembered == Some(id) {
            return None;
        }
        let elsewhere = self.bulkheads.values().any(|other| other.cgroups.contains(&cgroup))
            || remembered.is_some_and(|other| self.bulkheads.contains_key(&other));
        Some(if elsewhere { "other_bulkhead" } else { "made_outside" })
    }

    /// Connections of bulkheads whose process is in no bulkhead any more.
    fn left(&mut self) {
        let inside: HashSet<u32> =
            self.bulkheads.values().flat_map(|bulkhead| &bulkhead.pids).copied().collect();
        let mut suspects: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
        for socket in self.sockets.values().filter(|socket| !self.held.contains(&socket.inode)) {
            let Some(known) = socket.storage.as_ref().and_then(|raw| decode_socket(raw)) else {
                continue;
            };
            let outside = known.pid != 0 && !inside.contains(&known.pid);
            if outside
                && known.flags & SOCKET_PASSIVE == 0
                && self.bulkheads.contains_key(&known.bulkhead)
            {
                suspects.entry(known.pid).or_default().push((known.bulkhead, socket.inode));
            }
        }
        for (pid, sockets) in suspects {
            let owned = process::socket_owners(&[pid]);
            for (bulkhead, inode) in sockets {
                let Some(socket) = self.sockets.get(&inode).filter(|_| owned.contains_key(&inode))
                else {
                    continue;
                };
                self.audit.inodes.insert(inode);
                self.audit.unguarded.entry(bulkhead).or_default().push(UnguardedSocket {
                    reason: "process_left".to_owned(),
                    pid,
                    process: process::command(pid),
                    kind: "tcp".to_owned(),
                    local: socket.local.to_string(),
                    peer: socket.peer.to_string(),
                });
            }
        }
    }
}

fn remembered_bulkhead(socket: &DiagSocket) -> Option<u32> {
    Some(decode_socket(socket.storage.as_ref()?)?.bulkhead)
}

/// The kind of a socket that no connect hook sees; `None` for the others, and for those that reach
/// this host alone (Unix, netlink).
fn unseen_kind(path: &Path) -> Option<String> {
    let mut buffer = [0_u8; 64];
    let length = rustix::fs::getxattr(path, PROTOCOL_NAME, &mut buffer[..]).ok()?;
    let name = std::str::from_utf8(buffer.get(..length)?).ok()?.trim_end_matches('\0');
    is_unseen(name).then(|| name.trim_start_matches("AF_").to_ascii_lowercase())
}

/// By the kernel's name of the protocol; those with a connect hook are TCP, UDP, MPTCP and PING, each
/// also with `v6`.
fn is_unseen(name: &str) -> bool {
    let plain = name.strip_suffix("v6").unwrap_or(name);
    !matches!(plain, "TCP" | "UDP" | "MPTCP" | "PING" | "NETLINK" | "KEY" | "")
        && !plain.starts_with("UNIX")
        && !plain.starts_with("ALG")
}

#[cfg(test)]
mod tests {
    use super::is_unseen;

    #[test]
    fn names_of_protocols() {
        for name in ["TCP", "TCPv6", "UDP", "UDPv6", "MPTCPv6", "PING", "UNIX", "UNIX-STREAM"] {
            assert!(!is_unseen(name), "{name}");
        }
        for name in ["PACKET", "AF_VSOCK", "RAW", "RAWv6", "SCTP", "UDP-Lite", "XDP", "TIPC"] {
            assert!(is_unseen(name), "{name}");
        }
    }
}
