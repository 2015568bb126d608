//! Which sockets a bulkhead may make, and how often it was told no.
//!
//! The hook at the creation of a socket sees IPv4 and IPv6 sockets alone: what it never sees is
//! told by the daemon's audit.

use super::pod;

/// TCP.
pub const KIND_TCP: u32 = 0;
/// UDP.
pub const KIND_UDP: u32 = 1;
/// Multipath TCP: each of its subflows is a TCP socket, which the hooks see.
pub const KIND_MPTCP: u32 = 2;
/// ICMP echo without privilege (`SOCK_DGRAM`).
pub const KIND_PING: u32 = 3;
/// Raw IP: no connect hook is asked.
pub const KIND_RAW: u32 = 4;
/// SCTP: no connect hook is asked.
pub const KIND_SCTP: u32 = 5;
/// DCCP: no connect hook is asked.
pub const KIND_DCCP: u32 = 6;
/// UDP-Lite: no connect hook is asked.
pub const KIND_UDPLITE: u32 = 7;
/// Any other protocol.
pub const KIND_OTHER: u32 = 8;
/// How many kinds there are.
pub const KINDS: usize = 9;

/// Names of the kinds, by number, as the configuration writes them.
pub const KIND_NAMES: [&str; KINDS] =
    ["tcp", "udp", "mptcp", "ping", "raw", "sctp", "dccp", "udplite", "other"];

/// What a bulkhead may make unless it is told otherwise, as bits: those that every hook sees.
pub const KINDS_GUARDED: u32 = 1 << KIND_TCP | 1 << KIND_UDP | 1 << KIND_MPTCP | 1 << KIND_PING;

/// Key of [`CreationCounts`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CreationKey {
    /// Bulkhead id.
    pub bulkhead: u32,
    /// `KIND_*`.
    pub kind: u32,
}

/// How often a bulkhead wanted sockets of a kind that it may not make.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreationCounts {
    /// Refused.
    pub refused: u64,
    /// Made all the same, because of monitor mode.
    pub would_have: u64,
}

/// The identity of a bulkhead as the hook at the creation of sockets reads it: with the kinds that
/// it may make in the upper half.
pub const fn identity(bulkhead: u32, kinds: u32) -> u64 {
    (kinds as u64) << 32 | bulkhead as u64
}

const _: () = {
    assert!(size_of::<CreationKey>() == 8);
    assert!(size_of::<CreationCounts>() == 16);
    assert!(KINDS <= 32);
};
pod!(CreationKey, CreationCounts);
