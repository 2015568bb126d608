//! Breakers: whether a call may begin, and what its result does. The machine itself is
//! `guard_common::logic::breaker`; here its steps are swapped into the map and written down.
//!
//! It fails open: a pair without a breaker, a word that others keep changing under us, or a missing
//! policy lets the call pass, and the last two are counted.
//!
//! Functions that are global and take numbers alone are looked at by the verifier once, whoever calls
//! them, and not once for each way that leads to a call.

use guard_common::abi::breaker::{BREAKER_MONITOR, BREAKER_OFF, BreakerPolicy, BreakerSlot};
use guard_common::abi::event::{EVENT_BREAKER, Event};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::{Control, MODE_MONITOR};
use guard_common::logic::breaker::Step;

use crate::{atomics, classify, emit, maps, plain};

mod admission;
mod result;
mod retry_after;
mod window;

pub(crate) use admission::{Admission, PASS, admit, count_refusal, count_would_have, release_held};
pub(crate) use result::{
    abandoned_ns, any_answer_is_good, call_ended, connected, failed, give_back, nothing,
};
pub(crate) use retry_after::leave_alone;

/// Tries to swap a word. Each failure means that another CPU moved on, so this many in a row are
/// only seen by a hook that is preempted all the time.
const TRIES: u32 = 16;

/// Does it again while another CPU was faster (`false`), up to [`TRIES`] times; `false`, and counted,
/// if it never was done.
#[inline(always)]
pub(crate) fn retried(mut once: impl FnMut() -> bool) -> bool {
    for _ in 0..TRIES {
        if once() {
            return true;
        }
    }
    maps::hook_stats(|stats| &raw mut stats.contended_breakers);
    false
}

/// The breaker's word as it is now.
#[inline(always)]
fn current(slot: &BreakerSlot) -> u64 {
    // SAFETY: a map value; volatile, because other CPUs and the daemon change it.
    unsafe { core::ptr::read_volatile(&raw const slot.word) }
}

/// How the breaker acts; the daemon's monitor mode takes the teeth out of every breaker.
#[inline(always)]
fn mode(control: &Control, policy: &BreakerPolicy) -> u32 {
    if control.mode == MODE_MONITOR && policy.mode != BREAKER_OFF {
        return BREAKER_MONITOR;
    }
    policy.mode
}

/// Two numbers in one argument: a called function takes no more than five.
#[inline(always)]
pub(crate) const fn pack(upper: u32, lower: u32) -> u64 {
    ((upper as u64) << 32) | lower as u64
}

/// What [`pack`] made of a pair.
#[inline(always)]
pub(crate) const fn unpack(pair: u64) -> PairKey {
    PairKey { bulkhead: (pair >> 32) as u32, service: pair as u32 }
}

/// Writes a transition down and wakes the daemon.
#[inline(always)]
fn write_down(pair: PairKey, old: u64, step: Step, origin: u32, now_ns: u64) {
    if let Some((record, number)) = maps::next_transition() {
        // Whoever reads meanwhile sees that it is not finished.
        atomics::publish(&raw mut record.sequence, 0);
        record.time_ns = now_ns;
        record.old = old;
        record.new = step.word;
        record.pair = pair;
        record.reason = step.reason;
        record.origin = origin;
        atomics::publish(&raw mut record.sequence, number);
    }
    let zero = plain::zero();
    let none = zero as u32;
    emit::emit(&Event {
        time_ns: now_ns,
        cookie: zero,
        duration_ns: zero,
        fault: zero,
        kind: EVENT_BREAKER,
        bulkhead: pair.bulkhead,
        service: pair.service,
        outcome: none,
        origin,
        pid: none,
        peer: classify::from_halves([zero; 2]),
        peer_port: none,
        errno: none,
        status: none,
        pad: none,
    });
}
