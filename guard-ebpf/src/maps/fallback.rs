//! Maps of redirects.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use guard_common::abi::fallback::{AskedFor, AskedKey, FallbackPolicy, Serving};

/// Where connects of a service go instead; a service that has no such place is not there.
#[map]
static FALLBACKS: HashMap<u32, FallbackPolicy> =
    HashMap::with_max_entries(8_192, super::NO_PREALLOC);

/// One entry: when and where what guardd itself serves may be used.
#[map]
static SERVING: Array<Serving> = Array::with_max_entries(1, 0);

/// What redirected sockets asked for. The oldest make room.
#[map]
static ASKED: LruHashMap<AskedKey, AskedFor> = LruHashMap::with_max_entries(16_384, 0);

/// Where connects of this service go instead.
#[inline(always)]
pub(crate) fn fallback(service: u32) -> Option<&'static FallbackPolicy> {
    // SAFETY: a map value, alive for the program; replaced as a whole by the daemon.
    FALLBACKS.get_ptr(service).map(|policy| unsafe { &*policy })
}

/// Until when what guardd itself serves may be used.
#[inline(always)]
pub(crate) fn serving_until_ns() -> u64 {
    SERVING.get(0).map_or(0, |serving| {
        // SAFETY: a map value; volatile, because the daemon changes it under us.
        unsafe { core::ptr::read_volatile(&raw const serving.until_ns) }
    })
}

/// Cookie of guardd's network namespace; 0 = unknown.
#[inline(always)]
pub(crate) fn serving_netns() -> u64 {
    SERVING.get(0).map_or(0, |serving| serving.netns)
}

/// Remembers what a socket asked for. Without room, whoever serves it does not know.
#[inline(always)]
pub(crate) fn remember_asked(key: &AskedKey, asked: &AskedFor) {
    if ASKED.insert(key, asked, 0).is_err() {
        super::hook_stats(|stats| &raw mut stats.storage_failures);
    }
}

/// What the redirected socket with this end has asked for.
#[inline(always)]
pub(crate) fn asked(key: &AskedKey) -> Option<&'static AskedFor> {
    // SAFETY: a map value, alive for the program, and written once.
    ASKED.get_ptr(key).map(|asked| unsafe { &*asked })
}

/// The socket has ended.
#[inline(always)]
pub(crate) fn forget_asked(key: &AskedKey) {
    // ENOENT: the oldest have made room.
    let _ = ASKED.remove(key);
}
