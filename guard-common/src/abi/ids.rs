//! Identities: small integers that the daemon hands out and the kernel only compares.

use super::pod;

/// No bulkhead: the program runs for a cgroup that has not been given an identity yet.
pub const BULKHEAD_NONE: u32 = 0;
/// The built-in service `other`: destinations that no configured endpoint matches.
pub const SERVICE_OTHER: u32 = 0;

/// One (bulkhead, service): the key of counters, faults and, later, breakers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairKey {
    /// Bulkhead id, from 1.
    pub bulkhead: u32,
    /// Service id; 0 is [`SERVICE_OTHER`].
    pub service: u32,
}

const _: () = assert!(size_of::<PairKey>() == 8);
pod!(PairKey);
