//! A service that says for how long it wants to be left alone.

use guard_common::logic::breaker as machine;

use super::{current, retried};
use crate::{atomics, maps, socket};

/// The service wants to be left alone for so many seconds; 0 = it did not say.
#[inline(always)]
pub(crate) fn leave_alone(place: u32, seconds: u32) {
    if seconds == 0 {
        return;
    }
    retried(|| guard_breaker_extend_once(place, seconds) != 0);
}

/// One try of [`leave_alone`]; 0 if another CPU changed the word meanwhile.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_extend_once(place: u32, seconds: u32) -> u32 {
    let Some((slot, policy)) = maps::breaker(place) else { return 1 };
    let mut asked_ns = u64::from(seconds) * 1_000_000_000;
    if asked_ns > policy.retry_after_ns {
        asked_ns = policy.retry_after_ns;
    }
    if asked_ns == 0 {
        return 1;
    }
    let now_ns = socket::now_ns();
    let until_ns = now_ns.wrapping_add(asked_ns);
    slot.asked_until_ns = until_ns;
    let old = current(slot);
    let step = machine::extend(old, now_ns, until_ns);
    u32::from(step.word == old || atomics::replace(&raw mut slot.word, old, step.word))
}
