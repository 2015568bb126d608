//! Events: what the kernel tells the daemon through the ring buffer. Losses are counted in
//! [`super::stats::HookStats::events_lost`]; counters never depend on events.

use super::pod;

/// A connection attempt failed; `outcome` says how.
pub const EVENT_CONNECT_FAILED: u32 = 1;
/// A connection was established (verbose).
pub const EVENT_CONNECTED: u32 = 2;
/// A call was answered (verbose).
pub const EVENT_CALL: u32 = 3;
/// A call ended without an answer; `outcome` says how.
pub const EVENT_CALL_FAILED: u32 = 4;
/// A connection ended (verbose).
pub const EVENT_CLOSED: u32 = 5;
/// A fault refused a connect or a send; `fault` says which.
pub const EVENT_FAULT_REFUSED: u32 = 6;

/// A breaker changed its state: a wake-up; what changed is in the records of transitions.
pub const EVENT_BREAKER: u32 = 7;
/// The kernel gave an idle connection up, because its peer was gone.
pub const EVENT_STALE: u32 = 16;

/// A socket was refused at its creation: `status` is its protocol, `peer_port` its type.
pub const EVENT_SOCKET_REFUSED: u32 = 20;

/// One event. 8-byte aligned, as the ring buffer demands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When (boottime ns).
    pub time_ns: u64,
    /// Socket cookie; 0 if unknown.
    pub cookie: u64,
    /// How long the connect or call took, ns.
    pub duration_ns: u64,
    /// Id of the fault concerned; 0 = none.
    pub fault: u64,
    /// `EVENT_*`.
    pub kind: u32,
    /// Bulkhead id.
    pub bulkhead: u32,
    /// Service id.
    pub service: u32,
    /// [`super::outcome::Outcome`].
    pub outcome: u32,
    /// [`super::outcome::Origin`].
    pub origin: u32,
    /// Thread group; 0 if unknown.
    pub pid: u32,
    /// Peer, in the form of [`super::policy::EndpointMatch::address`].
    pub peer: [u8; 16],
    /// Peer's port, host order.
    pub peer_port: u32,
    /// Errno given to the agent, or 0.
    pub errno: u32,
    /// HTTP status of the answer; 0 = none, or not read.
    pub status: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = {
    assert!(size_of::<Event>() == 32 + 24 + 32);
    assert!(align_of::<Event>() == 8);
};
pod!(Event);
