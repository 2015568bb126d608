//! Maps of bulkheads inside bulkheads. See [`super`].

use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::HashMap;
use guard_common::abi::nesting::{NestState, Outers};

use super::NO_PREALLOC;

/// The bulkheads around each that lies inside others.
#[map]
static NESTING: HashMap<u32, Outers> = HashMap::with_max_entries(4_096, NO_PREALLOC);

/// What outer bulkheads count of a socket.
#[btf_map]
static NESTED: SkStorage<NestState> = SkStorage::new();

/// The bulkheads around this one; `None` = it lies in no other.
#[inline(always)]
pub(crate) fn outers(bulkhead: u32) -> Option<&'static Outers> {
    // SAFETY: a map value, alive for the program; replaced as a whole by the daemon.
    unsafe { NESTING.get(bulkhead) }
}

/// What outer bulkheads count of a socket, if anything.
#[inline(always)]
pub(crate) fn nest_state(sk: *mut bpf_sock) -> Option<&'static mut NestState> {
    storage(sk, 0)
}

/// The same; zeros are made where there is nothing. `None` is counted.
#[inline(always)]
pub(crate) fn nest_state_or_zero(sk: *mut bpf_sock) -> Option<&'static mut NestState> {
    let state = storage(sk, u64::from(BPF_SK_STORAGE_GET_F_CREATE));
    if state.is_none() {
        super::hook_stats(|stats| &raw mut stats.storage_failures);
    }
    state
}

#[inline(always)]
fn storage(sk: *mut bpf_sock, flags: u64) -> Option<&'static mut NestState> {
    let map = (&raw const NESTED).cast_mut().cast();
    // SAFETY: `sk` comes from the context; the storage lives as long as the program runs.
    unsafe {
        bpf_sk_storage_get(map, sk.cast(), core::ptr::null_mut(), flags)
            .cast::<NestState>()
            .as_mut()
    }
}
