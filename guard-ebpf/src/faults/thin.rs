//! A thin link: one for all connections that a rule is about, in each direction. What leaves is held
//! until it would have gone through (by departure times; the NFQUEUE engine does the same by itself);
//! what comes too fast is dropped.

use guard_common::abi::fault::{DIRECTION_EGRESS, FaultRule, FaultStats};
use guard_common::logic::fault::{self, Shaped};

use crate::{atomics, maps};

/// Instead of a time: the packet is dropped.
pub(super) const DROPPED: u64 = u64::MAX;
/// Two CPUs at the link at once are one too many this often, and the packet passes.
const TRIES: u32 = 4;

/// How long a packet is held, ns; [`DROPPED`]; 0 = it passes.
#[inline(always)]
pub(super) fn link(
    slot: u32,
    rule: &FaultRule,
    stats: &mut FaultStats,
    bytes: u32,
    direction: u32,
    now_ns: u64,
) -> u64 {
    let Some(state) = maps::rate(slot) else { return 0 };
    let egress = direction == DIRECTION_EGRESS;
    let word = if egress { &raw mut state.egress_free_ns } else { &raw mut state.ingress_free_ns };
    for _ in 0..TRIES {
        // SAFETY: a map value, alive for the program; others change it under us.
        let free_ns = unsafe { core::ptr::read_volatile(word) };
        let (held_ns, next_ns) = if egress {
            match fault::shape(free_ns, bytes, rule.rate_bytes_per_second, now_ns) {
                Shaped::Held(held_ns, next_ns) => (held_ns, next_ns),
                Shaped::Dropped => (0, 0),
            }
        } else {
            (0, fault::police(free_ns, bytes, rule.rate_bytes_per_second, now_ns))
        };
        if next_ns == 0 {
            atomics::add(&raw mut stats.dropped, 1);
            return DROPPED;
        }
        if atomics::replace(word, free_ns, next_ns) {
            atomics::add(&raw mut stats.bytes, u64::from(bytes));
            atomics::add(&raw mut stats.delayed, u64::from(egress));
            return held_ns;
        }
    }
    0
}
