//! What guard remembers of a socket, in its socket storage.

use super::pod;

/// Made by accept(): the agent is the server; no call, no fault.
pub const SOCKET_PASSIVE: u32 = 1;
/// Older than the daemon: first seen at a packet.
pub const SOCKET_ADOPTED: u32 = 2;
/// The destination is protected: never touched.
pub const SOCKET_PROTECTED: u32 = 4;
/// A SYN has left.
pub const SOCKET_SYN_SENT: u32 = 8;
/// The connection is (or was) established.
pub const SOCKET_ESTABLISHED: u32 = 16;
/// An RST came in.
pub const SOCKET_RST_SEEN: u32 = 32;
/// A FIN came in.
pub const SOCKET_FIN_SEEN: u32 = 64;
/// The agent closed it.
pub const SOCKET_RELEASED: u32 = 128;
/// It speaks TLS.
pub const SOCKET_TLS: u32 = 256;
/// A fault of guard touched the exchange or connect that is under way.
pub const SOCKET_FAULTED: u32 = 512;
/// A datagram socket.
pub const SOCKET_UDP: u32 = 1024;
/// Its SYNs are swallowed until the breaker lets it pass.
pub const SOCKET_HELD: u32 = 2048;

/// The agent has gone on in the TLS handshake after the server's part of it: no alert of its own says
/// any more that it failed.
pub const SOCKET_TLS_READY: u32 = 4096;

/// Its options are looked at once more at its first round trip (`logic::hygiene`).
pub const SOCKET_HYGIENE_DUE: u32 = 1 << 16;

/// It was sent to another address than the agent asked for; `peer` is the address asked for.
pub const SOCKET_REDIRECTED: u32 = 1 << 18;

/// A fallback answers, not the service: its calls count for neither.
pub const SOCKET_FALLBACK: u32 = 1 << 19;

/// When it ended, what it had sent was proven to reach nobody (`logic::unacknowledged`).
pub const SOCKET_UNACKNOWLEDGED: u32 = 1 << 17;

/// It is counted for bulkheads around its own too (`super::nesting`).
pub const SOCKET_NESTED: u32 = 1 << 20;

/// guard ended the socket because its call had waited too long.
pub const ENDED_TIMEOUT: u32 = 1;
/// guard ended the socket because its service's breaker is open.
pub const ENDED_REJECTED: u32 = 2;
/// guard ended the socket because its peer, or the way to it, is gone.
pub const ENDED_STALE: u32 = 16;

/// Set in [`SocketState::exchange_start_ns`] when what is awaited is a TLS handshake, not a call.
pub const EXCHANGE_HANDSHAKE: u64 = 1 << 63;

/// Socket storage. Written by the hooks; read by them and, through socket diagnostics, by the
/// daemon for `waits`.
///
/// The order is that of use. On an open connection the two directions are often looked at by two
/// processors, and each line of memory that both write wanders between them: what packets need is in
/// the first [`HOT_BYTES`], which share one line with what the kernel itself looks at first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// Bulkhead id.
    pub bulkhead: u32,
    /// Service id.
    pub service: u32,
    /// `SOCKET_*` bits.
    pub flags: u32,
    /// What the call under way holds of that breaker (`logic::breaker::Ticket`); 0 = nothing.
    /// Whoever uses it takes it away first, so that it is used once.
    pub ticket: u32,
    /// Start of the exchange under way, with [`EXCHANGE_HANDSHAKE`]; 0 = none.
    pub exchange_start_ns: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// When the last answer began; 0 = none yet.
    pub answer_ns: u64,
    /// Exchanges answered so far, handshakes not counted; modulo 2^32.
    pub exchanges: u32,
    /// Place of the breaker that judges its calls, plus one; 0 = none does.
    pub breaker: u32,
    /// When connect() was called; 0 if unknown.
    pub connect_start_ns: u64,
    /// When the peer's FIN came; 0 = it has not, or unknown.
    pub peer_closed_ns: u64,
    /// 1 once the connection is counted as open.
    pub opened: u64,
    /// 1 once its end is counted.
    pub closed: u64,
    /// Of an adopted socket, the retransmissions counted so far; of others what was sent again and
    /// since when (`logic::unacknowledged::Mark`).
    pub retransmitted: u64,
    /// Peer, in the form of [`super::policy::EndpointMatch::address`].
    pub peer: [u8; 16],
    /// Peer's port, host order.
    pub peer_port: u32,
    /// Thread group that connected; 0 if unknown.
    pub pid: u32,
    /// Where the connection is counted as open: place of the pair's [`super::limits::LimitSlot`] plus
    /// one, and that of the bulkhead's in the upper half; 0 = nowhere, or no more. Taken as a whole
    /// by whoever gives it back, so that this happens once.
    pub counted: u64,
}

/// Bytes of [`SocketState`] in the line of memory in which the kernel's own part ends: 64 less a
/// pointer (`struct bpf_local_storage_elem`).
pub const HOT_BYTES: usize = 64 - 8;

const _: () = assert!(size_of::<SocketState>() == 128);
const _: () = assert!(core::mem::offset_of!(SocketState, connect_start_ns) == HOT_BYTES);
pod!(SocketState);
