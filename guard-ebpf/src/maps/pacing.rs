//! Maps of paced calls. See [`super`].

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use guard_common::abi::pacing::{FlowKey, MAX_PACED, PacedSocket};

use super::hook_stats;

/// Connections whose calls are paced, by socket cookie: the gate sees no socket storage.
#[map]
static PACED: LruHashMap<u64, PacedSocket> = LruHashMap::with_max_entries(MAX_PACED as u32, 0);

/// Until when the packets of a connection are held (boottime ns): for the engine, which sees
/// packets alone. Pinned by the daemon while there is an engine.
#[map]
static PACE_FLOWS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(MAX_PACED as u32, 0);

/// What is known of a connection whose calls are paced.
#[inline(always)]
pub(crate) fn paced(cookie: u64) -> Option<&'static mut PacedSocket> {
    // SAFETY: a map value, alive for the program; words are changed by atomics only.
    PACED.get_ptr_mut(cookie).map(|known| unsafe { &mut *known })
}

/// Remembers one; what is known already stays.
#[inline(always)]
pub(crate) fn remember_paced(cookie: u64, known: &PacedSocket) {
    // EEXIST is as good, and without room the calls pass.
    let _ = PACED.insert(cookie, known, u64::from(BPF_NOEXIST));
}

/// Tells the engine until when it holds what this connection sends.
#[inline(always)]
pub(crate) fn hold_flow(flow: &FlowKey, until_ns: u64) {
    if PACE_FLOWS.insert(flow, until_ns, 0).is_err() {
        hook_stats(|stats| &raw mut stats.storage_failures);
    }
}
