//! Paced calls: what the hooks and the gate know of a connection, and until when its packets are held.
//! The rates and buckets are in [`super::limits::LimitSlot`].

use super::pod;

/// Nothing can hold packets of this pair: its calls are not paced.
pub const PACE_NOT: u32 = 0;
/// Calls are held by departure times and the `fq` qdisc.
pub const PACE_EDT: u32 = 1;
/// Calls are held by the daemon's engine, which takes them from a netfilter queue.
pub const PACE_NFQUEUE: u32 = 2;

/// In place of a bulkhead: what all bulkheads share of a service.
pub const BULKHEAD_ALL: u32 = u32::MAX;

/// Connections that are remembered; of one that had to make room a call may pass unpaced.
pub const MAX_PACED: usize = 32_768;

/// How long after its time a packet that was held is still waited for, ns; until then what the
/// connection sends stays behind it.
pub const LATE_NS: u64 = 2_000_000_000;

/// A connection whose calls are paced, by its socket cookie. Words are changed by atomics alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacedSocket {
    /// Bulkhead id.
    pub bulkhead: u32,
    /// Service id.
    pub service: u32,
    /// As [`super::socket::SocketState::exchange_start_ns`], but from when the call wanted to begin.
    pub word: u64,
    /// When the newest call that was held may go (boottime ns); 0 = none ever was.
    pub until_ns: u64,
    /// Packets that went into the queue, …
    pub queued: u64,
    /// … and those of them that have left it.
    pub left: u64,
}

/// A connection as the engine sees it in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Peer, in the form of [`super::policy::EndpointMatch::address`].
    pub peer: [u8; 16],
    /// Peer's port, host order.
    pub peer_port: u32,
    /// The agent's port, host order.
    pub local_port: u32,
}

const _: () = {
    assert!(size_of::<PacedSocket>() == 40);
    assert!(size_of::<FlowKey>() == 24);
};
pod!(PacedSocket, FlowKey);
