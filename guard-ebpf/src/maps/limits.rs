//! Maps of what a bulkhead may do: connections, retries, new connections under pressure, kinds of
//! sockets. See [`super`].

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use guard_common::abi::creation::{CreationCounts, CreationKey, KINDS};
use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{LimitSlot, RetryBudget};
use guard_common::abi::pressure::PressureSwitch;

use super::{MMAPABLE, NO_PREALLOC};

/// Place of a pair's limits in `LIMITS`.
#[map]
static LIMIT_OF_PAIR: HashMap<PairKey, u32> = HashMap::with_max_entries(1024, NO_PREALLOC);

/// Limits. The daemon maps them into its memory.
#[map]
static LIMITS: Array<LimitSlot> = Array::with_max_entries(1024, MMAPABLE);

/// One entry: the host's budget of retries. The daemon maps it into its memory.
#[map]
static RETRY_BUDGET: Array<RetryBudget> = Array::with_max_entries(1, MMAPABLE);

/// Bulkheads under pressure whose new connections are refused.
#[map]
static PRESSURE: HashMap<u32, PressureSwitch> = HashMap::with_max_entries(4_096, NO_PREALLOC);

/// How many were; the daemon makes the entries.
#[map]
static PRESSURE_REFUSED: HashMap<u32, u64> = HashMap::with_max_entries(4_096, NO_PREALLOC);

/// How often each bulkhead wanted sockets that it may not make.
#[map]
static CREATIONS: HashMap<CreationKey, CreationCounts> =
    HashMap::with_max_entries(1024 * KINDS as u32, NO_PREALLOC);

/// Place of a pair's limits plus one; 0 = it has none.
#[inline(always)]
pub(crate) fn limits_of(pair: PairKey) -> u32 {
    // SAFETY: a map value, alive for the program.
    LIMIT_OF_PAIR.get_ptr(pair).map_or(0, |place| unsafe { *place } + 1)
}

/// The limits at a place plus one.
#[inline(always)]
pub(crate) fn limits(place_plus_one: u32) -> Option<&'static mut LimitSlot> {
    let slot = LIMITS.get_ptr_mut(place_plus_one.checked_sub(1)?)?;
    // SAFETY: a map value, alive for the program; words are changed by compare-and-swap only.
    Some(unsafe { &mut *slot })
}

/// The host's budget of retries.
#[inline(always)]
pub(crate) fn retry_budget() -> Option<&'static mut RetryBudget> {
    // SAFETY: as in `limits`.
    RETRY_BUDGET.get_ptr_mut(0).map(|budget| unsafe { &mut *budget })
}

/// What the daemon says about a bulkhead under pressure.
#[inline(always)]
pub(crate) fn pressure(bulkhead: u32) -> Option<PressureSwitch> {
    // SAFETY: a copy of a map value; a torn one is a refusal too many or too few.
    unsafe { PRESSURE.get(bulkhead) }.copied()
}

/// Counter of what pressure has refused.
#[inline(always)]
pub(crate) fn pressure_refused(bulkhead: u32) -> Option<*mut u64> {
    PRESSURE_REFUSED.get_ptr_mut(bulkhead)
}

/// How often a bulkhead wanted sockets of a kind that it may not make; made at the first.
#[inline(always)]
pub(crate) fn creation_counts(key: CreationKey) -> Option<&'static mut CreationCounts> {
    let counts = if let Some(counts) = CREATIONS.get_ptr_mut(key) {
        counts
    } else {
        let zero = CreationCounts { refused: 0, would_have: 0 };
        // A loser of the race gets EEXIST, which is as good.
        let _ = CREATIONS.insert(key, zero, u64::from(BPF_NOEXIST));
        CREATIONS.get_ptr_mut(key)?
    };
    // SAFETY: a map value, alive for the program; words are changed by atomics only.
    Some(unsafe { &mut *counts })
}
