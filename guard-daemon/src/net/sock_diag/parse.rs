//! From the kernel's bytes to [`DiagSocket`]: `struct inet_diag_msg` and its attributes. Pure;
//! whatever the bytes are, it gives a socket or nothing.

use std::net::{IpAddr, SocketAddr};

use super::{DiagSocket, SocketState, TcpInfo, Transport};
use crate::net::netlink::{Attributes, u32_at, u64_at};

/// Length of `struct inet_diag_msg`.
const MESSAGE_BYTES: usize = 72;
/// Offsets in it.
const LOCAL_PORT: usize = 4;
const PEER_PORT: usize = 6;
const LOCAL_ADDRESS: usize = 8;
const PEER_ADDRESS: usize = 24;
const DEVICE: usize = 40;
const COOKIE: usize = 44;
const RECEIVE_QUEUE: usize = 56;
const SEND_QUEUE: usize = 60;
const UID: usize = 64;
const INODE: usize = 68;
/// `INET_DIAG_INFO`.
const ATTRIBUTE_INFO: u16 = 2;
/// `INET_DIAG_SK_BPF_STORAGES`; in it `SK_DIAG_BPF_STORAGE`, and in that
/// `SK_DIAG_BPF_STORAGE_MAP_VALUE` (3: a padding type comes first).
const ATTRIBUTE_STORAGES: u16 = 20;
const STORAGE: u16 = 1;
const STORAGE_VALUE: u16 = 3;
/// `INET_DIAG_CGROUP_ID`.
const ATTRIBUTE_CGROUP_ID: u16 = 21;

/// Reads one message of a dump.
pub(super) fn socket(transport: Transport, payload: &[u8]) -> Option<DiagSocket> {
    let ipv6 = match i32::from(*payload.first()?) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    let mut socket = DiagSocket {
        transport,
        ipv6,
        state: state(*payload.get(1)?),
        local: address(payload, ipv6, LOCAL_ADDRESS, LOCAL_PORT)?,
        peer: address(payload, ipv6, PEER_ADDRESS, PEER_PORT)?,
        device_index: u32_at(payload, DEVICE)?,
        uid: u32_at(payload, UID)?,
        inode: u32_at(payload, INODE)?,
        // Two words, the low one first whatever the byte order.
        cookie: u64::from(u32_at(payload, COOKIE)?) | u64::from(u32_at(payload, COOKIE + 4)?) << 32,
        cgroup_id: None,
        receive_queue: u32_at(payload, RECEIVE_QUEUE)?,
        send_queue: u32_at(payload, SEND_QUEUE)?,
        retransmits: *payload.get(3)?,
        tcp: None,
        storage: None,
    };
    for (kind, value) in Attributes(payload.get(MESSAGE_BYTES..)?) {
        match kind {
            // Other protocols put structures of their own into the same attribute.
            ATTRIBUTE_INFO if transport == Transport::Tcp => socket.tcp = TcpInfo::parse(value),
            ATTRIBUTE_CGROUP_ID => socket.cgroup_id = u64_at(value, 0),
            ATTRIBUTE_STORAGES => socket.storage = storage_value(value),
            _ => {}
        }
    }
    Some(socket)
}

/// The value in the first storage: we ask for one map only.
fn storage_value(storages: &[u8]) -> Option<Vec<u8>> {
    let storage = Attributes(storages).find(|(kind, _)| *kind == STORAGE)?.1;
    let value = Attributes(storage).find(|(kind, _)| *kind == STORAGE_VALUE)?.1;
    Some(value.to_vec())
}

fn address(payload: &[u8], ipv6: bool, address: usize, port: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*payload.get(port..)?.first_chunk()?);
    let bytes = payload.get(address..)?;
    let ip = if ipv6 {
        IpAddr::from(*bytes.first_chunk::<16>()?).to_canonical()
    } else {
        IpAddr::from(*bytes.first_chunk::<4>()?)
    };
    Some(SocketAddr::new(ip, port))
}

fn state(number: u8) -> SocketState {
    match number {
        1 => SocketState::Established,
        2 => SocketState::SynSent,
        // 12 is the kernel's name for one that has no full socket yet.
        3 | 12 => SocketState::SynReceived,
        4 => SocketState::FinWait1,
        5 => SocketState::FinWait2,
        6 => SocketState::TimeWait,
        7 => SocketState::Close,
        8 => SocketState::CloseWait,
        9 => SocketState::LastAck,
        10 => SocketState::Listen,
        11 => SocketState::Closing,
        other => SocketState::Other(other),
    }
}
