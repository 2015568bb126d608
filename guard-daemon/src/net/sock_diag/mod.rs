//! Lists TCP and UDP sockets with what the kernel knows of each: addresses, owner, cgroup,
//! `tcp_info` and, given a map, guard's own BPF socket storage; and ends single ones (`destroy`).

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sched::{CloneFlags, setns};

use super::netlink::{Builder, Connection, DUMP, NetlinkError, REQUEST};

mod destroy;
mod parse;
mod tcp_info;
#[cfg(test)]
mod tests;

pub use destroy::{Destroyed, can_destroy, destroy, destroy_in_netns};
pub use tcp_info::TcpInfo;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Length of `struct inet_diag_sockid`.
const SOCKID_BYTES: usize = 48;
/// `1 << (INET_DIAG_INFO - 1)`: send `tcp_info`.
const WITH_INFO: u8 = 1 << 1;
/// `INET_DIAG_REQ_SK_BPF_STORAGES`, and in it `SK_DIAG_BPF_STORAGE_REQ_MAP_FD`.
const REQUEST_STORAGES: u16 = 2;
const REQUEST_STORAGE_MAP_FD: u16 = 1;
/// `TCP_TIME_WAIT`: what is left of a connection for a minute; it belongs to nobody any more.
const TIME_WAIT: u32 = 6;

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP (MPTCP subflows included).
    Tcp,
    /// UDP.
    Udp,
}

/// TCP state; a UDP socket is `Established` when connected, else `Close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketState {
    /// Open both ways.
    Established,
    /// connect() waits for an answer.
    SynSent,
    /// An incoming connection that is not complete.
    SynReceived,
    /// We closed; not acknowledged yet.
    FinWait1,
    /// We closed; the peer has not.
    FinWait2,
    /// Closed both ways, kept for stray packets.
    TimeWait,
    /// Not connected.
    Close,
    /// The peer closed and we have not.
    CloseWait,
    /// Both closed, ours not acknowledged.
    LastAck,
    /// Listening.
    Listen,
    /// Both closed at the same time.
    Closing,
    /// One that this version does not know.
    Other(u8),
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagSocket {
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether it is an IPv6 socket; its addresses can be IPv4 all the same.
    pub ipv6: bool,
    /// State.
    pub state: SocketState,
    /// Local address; IPv4-mapped ones as IPv4.
    pub local: SocketAddr,
    /// Peer; unspecified address and port 0 if there is none.
    pub peer: SocketAddr,
    /// Device that it is bound to; 0 = any.
    pub device_index: u32,
    /// User id of its creator.
    pub uid: u32,
    /// Inode, as in /proc/PID/fd; 0 once the process has closed it.
    pub inode: u32,
    /// Unique since boot; the same as `bpf_get_socket_cookie`.
    pub cookie: u64,
    /// Id (inode) of the cgroup2 that it was created in; absent before Linux 5.9 and for
    /// half-open incoming connections.
    pub cgroup_id: Option<u64>,
    /// Bytes received and not read by the process; for a listener connections not accepted.
    pub receive_queue: u32,
    /// Bytes sent by the process and not acknowledged; for a listener the backlog.
    pub send_queue: u32,
    /// Retransmissions or probes of what is at the head of the send queue.
    pub retransmits: u8,
    /// `tcp_info`; absent for UDP and half-open incoming connections.
    pub tcp: Option<TcpInfo>,
    /// Value of the given map for this socket, raw; absent if it has none. The kernel tells it
    /// for TCP alone (seen on 6.18; UDP sockets leave its function before).
    pub storage: Option<Vec<u8>>,
}

/// A list that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The kernel has no such list.
    #[error(
        "the kernel cannot list {what} sockets; load the kernel module {module} (and inet_diag)"
    )]
    Unsupported {
        /// `TCP` or `UDP`.
        what: &'static str,
        /// Module.
        module: &'static str,
    },
    /// The exchange failed.
    #[error("listing {what} sockets: {source}")]
    Netlink {
        /// `TCP` or `UDP`.
        what: &'static str,
        /// Why.
        source: NetlinkError,
    },
    /// A socket could not be ended.
    #[error(
        "the kernel does not end a socket: {source}; it needs root or CAP_NET_ADMIN, and a kernel \
         with CONFIG_INET_DIAG_DESTROY (Debian's have it)"
    )]
    Destroy {
        /// Why.
        source: NetlinkError,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace: {0}; root or CAP_SYS_ADMIN is needed")]
    Namespace(std::io::Error),
}

/// Lists the TCP and UDP sockets, IPv4 and IPv6, of this thread's network namespace, those in
/// TIME_WAIT excepted. With a map of type sk_storage each comes with its value in that map, which
/// needs CAP_BPF. The list is not a snapshot: sockets come and go while it is made.
pub fn dump(map: Option<BorrowedFd<'_>>) -> Result<Vec<DiagSocket>, DiagError> {
    let mut sockets = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let (what, module) = match transport {
            Transport::Tcp => ("TCP", "tcp_diag"),
            Transport::Udp => ("UDP", "udp_diag"),
        };
        let failed = |source: NetlinkError| match (&source, source.raw_os_error()) {
            (NetlinkError::Refused { .. }, Some(libc::ENOENT)) => {
                DiagError::Unsupported { what, module }
            }
            _ => DiagError::Netlink { what, source },
        };
        for family in [libc::AF_INET, libc::AF_INET6] {
            // One connection per dump: a refused one leaves no answer behind for the next.
            let mut connection =
                Connection::open(netlink_sys::protocols::NETLINK_SOCK_DIAG, "a socket list")
                    .map_err(failed)?;
            connection
                .request(request(transport, family, map), |message| {
                    if message.kind == BY_FAMILY {
                        sockets.extend(parse::socket(transport, message.payload));
                    }
                    Ok(())
                })
                .map_err(failed)?;
        }
    }
    Ok(sockets)
}

/// The same for another network namespace (an open `/proc/PID/ns/net`), from a thread that
/// enters it and ends.
pub fn dump_in_netns(
    netns: BorrowedFd<'_>,
    map: Option<BorrowedFd<'_>>,
) -> Result<Vec<DiagSocket>, DiagError> {
    in_netns(netns, || dump(map))
}

/// Runs `work` in a thread that enters the network namespace and ends.
fn in_netns<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, DiagError> + Send,
) -> Result<T, DiagError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(|e| DiagError::Namespace(e.into()))?;
            work()
        });
        let panicked = || DiagError::Namespace(std::io::Error::other("its thread panicked"));
        thread.join().unwrap_or_else(|_| Err(panicked()))
    })
}

/// `struct inet_diag_req_v2`, with the map if there is one.
fn request(transport: Transport, family: i32, map: Option<BorrowedFd<'_>>) -> Builder {
    let protocol = match transport {
        Transport::Tcp => libc::IPPROTO_TCP,
        Transport::Udp => libc::IPPROTO_UDP,
    };
    let states = !(1_u32 << TIME_WAIT);
    let mut bytes = vec![family as u8, protocol as u8, WITH_INFO, 0];
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.resize(bytes.len() + SOCKID_BYTES, 0);
    let message = Builder::new(BY_FAMILY, REQUEST | DUMP).raw(&bytes);
    match map {
        Some(fd) => {
            let fd = fd.as_raw_fd().to_ne_bytes();
            message.nested(REQUEST_STORAGES, REQUEST_STORAGE_MAP_FD, &fd)
        }
        None => message,
    }
}
