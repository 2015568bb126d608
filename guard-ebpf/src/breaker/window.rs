//! The sliding window: what counts in it, and when it trips.

use guard_common::logic::breaker::{self as machine, Ticket, window, word};

use super::{current, retried, unpack, write_down};
use crate::{atomics, maps};

/// Counts a call in the window, and trips if the window says so; 1 if it was counted. Arguments as
/// those of `guard_breaker_result`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn guard_breaker_window(
    held: u64,
    pair: u64,
    origin_outcome: u64,
    took_ns: u64,
    now_ns: u64,
) -> u32 {
    let (place, ticket) = ((held >> 32) as u32, held as Ticket);
    let Some((slot, policy)) = maps::breaker(place) else { return 0 };
    let old = current(slot);
    // The first keeps the compiler from calling what panics at a division by zero.
    if policy.bucket_ns == 0 || !machine::counts_in_window(old, ticket) {
        return 0;
    }
    let bad = machine::Result::of_number(origin_outcome as u32).is_bad();
    let slow = policy.slow_ns != 0 && took_ns >= policy.slow_ns;
    let (epoch, generation) = (window::epoch(policy, now_ns), word::generation(old));
    let what = (u32::from(bad) << 1) | u32::from(slow);
    if guard_breaker_count(place, epoch, generation, what) == 0 {
        return 0;
    }
    // A good call opens no breaker, however few good ones there were.
    if what == 0 {
        return 1;
    }
    let why = window::verdict(policy, window::sums(&slot.buckets, epoch, generation));
    // Whoever changed the word meanwhile has judged anew.
    if why != 0 && current(slot) == old {
        let step = machine::trip(old, policy, now_ns, why, u64::from(slot.seed));
        if atomics::replace(&raw mut slot.word, old, step.word) {
            write_down(unpack(pair), old, step, (origin_outcome >> 32) as u32, now_ns);
        }
    }
    1
}

/// Adds a call to its bucket; 1 if it was counted. Arguments as those of
/// [`guard_breaker_count_once`]; a function of its own for the reason that `guard_breaker_judge` gives.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_count(place: u32, epoch: u64, generation: u64, what: u32) -> u32 {
    u32::from(retried(|| guard_breaker_count_once(place, epoch, generation, what) != 0))
}

/// Adds a call to its bucket: bit 0 of `what` if it was slow, bit 1 if it was bad. 0 if another CPU
/// changed the bucket meanwhile.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_count_once(place: u32, epoch: u64, generation: u64, what: u32) -> u32 {
    let Some((slot, _)) = maps::breaker(place) else { return 1 };
    let Some(bucket) = slot.buckets.get_mut(window::index(epoch)) else { return 1 };
    // SAFETY: a map value; volatile, because other CPUs change it.
    let before = unsafe { core::ptr::read_volatile(&raw const *bucket) };
    let after = window::with_call(before, epoch, generation, what & 2 != 0, what & 1 != 0);
    u32::from(after == before || atomics::replace(&raw mut *bucket, before, after))
}
