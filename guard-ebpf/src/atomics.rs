//! Read-modify-write on map memory, which several CPUs and preempted programs share.
//!
//! The BPF target knows them only as intrinsics. Orderings: a fetching BPF atomic is fully
//! ordered, a plain add is relaxed, which is all that counters need.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd};

/// Adds to a counter.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, n: u64) {
    // SAFETY: callers pass a field of a map value, 8-byte aligned and alive for the program.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n);
    }
}

/// Adds to a counter of half the size.
#[inline(always)]
pub(crate) fn add32(counter: *mut u32, n: u32) {
    // SAFETY: callers pass a field of a map value, 4-byte aligned and alive for the program.
    unsafe {
        atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, n);
    }
}

/// Adds to a counter and returns what it was.
#[inline(always)]
pub(crate) fn fetch_add(counter: *mut u64, n: u64) -> u64 {
    // SAFETY: as in `add`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, n) }
}

/// Flips bits.
#[inline(always)]
pub(crate) fn toggle(word: *mut u64, bits: u64) {
    // SAFETY: as in `add`.
    unsafe {
        core::intrinsics::atomic_xor::<u64, u64, { AtomicOrdering::Relaxed }>(word, bits);
    }
}

/// Replaces `old` by `new`; false if somebody else was faster.
#[inline(always)]
pub(crate) fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as in `add`.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
            .0
            == old
    }
}

/// Takes what a word holds and leaves 0.
#[inline(always)]
pub(crate) fn take(word: *mut u32) -> u32 {
    // SAFETY: callers pass a field of a map value, 4-byte aligned and alive for the program.
    unsafe { core::intrinsics::atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, 0) }
}

/// Replaces `old` by `new` in a word of half the size; false if somebody else was faster.
#[inline(always)]
pub(crate) fn replace32(word: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: as in `take`.
    unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
            .0
            == old
    }
}

/// Puts a value into a word and returns what was there.
#[inline(always)]
pub(crate) fn exchange(word: *mut u64, value: u64) -> u64 {
    // SAFETY: as in `add`.
    unsafe { core::intrinsics::atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value) }
}

/// Writes a word after everything that was written before.
#[inline(always)]
pub(crate) fn publish(word: *mut u64, value: u64) {
    // SAFETY: as in `add`.
    unsafe {
        core::intrinsics::atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value);
    }
}

/// Sets bits of a flag word.
#[inline(always)]
pub(crate) fn set_bits(word: *mut u32, bits: u32) {
    // SAFETY: callers pass a field of a map value, 4-byte aligned and alive for the program.
    unsafe {
        atomic_or::<u32, u32, { AtomicOrdering::SeqCst }>(word, bits);
    }
}

/// Clears bits of a flag word.
#[inline(always)]
pub(crate) fn clear_bits(word: *mut u32, bits: u32) {
    // SAFETY: as in `set_bits`.
    unsafe {
        core::intrinsics::atomic_and::<u32, u32, { AtomicOrdering::SeqCst }>(word, !bits);
    }
}
