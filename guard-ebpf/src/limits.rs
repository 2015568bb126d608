//! Limits of a bulkhead at connect(): budgets, connections, retries. They stand above the breaker: a
//! call that they reject is none of the service's.
//!
//! Data: the daemon's slots (what is allowed) → whether a call may begin → the same slots (what is).
//! A connection takes its place when it is admitted, and gives it back once: when it has ended or the
//! agent has closed it, whichever comes first. It fails open: a pair without a slot has no limits.
//!
//! Global functions: see the notes of `breaker`.

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{BLOCKED_BUDGET, ONE_RETRY, why};
use guard_common::abi::policy::MODE_MONITOR;
use guard_common::abi::socket::SocketState;
use guard_common::logic::retry;

use crate::breaker::{pack, retried, unpack};
use crate::{atomics, fallback, maps, socket};

/// What a call gets.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Rejected with this; 0 = it may go on.
    pub(crate) errno: u32,
    /// See [`SocketState::counted`].
    pub(crate) counted: u64,
    /// 1 = it may be counted for outer bulkheads too.
    pub(crate) nested: u32,
}

/// Nobody objects, and nothing is counted.
pub(crate) const FREE: Entry = Entry { errno: 0, counted: 0, nested: 0 };

/// Places in what [`guard_limits_enter`] answers.
const PLACE_BITS: u32 = 24;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
const ERRNO_AT: u32 = 2 * PLACE_BITS;
/// The bound is what verifiers from 7.3 on ask for.
const ERRNO: u32 = 0xfff;

/// What wants to begin: a connection.
pub(crate) const CONNECTION: u32 = 1;
/// It is another bulkhead's, inside this one: its retries are the other's.
pub(crate) const OF_INNER: u32 = 2;
/// A fallback stands in for the service, which gets no retry of it.
const STOOD_IN: u32 = 4;

/// A call of this pair wants to begin; `how` is of [`CONNECTION`] and [`OF_INNER`]. A connection that
/// may has taken its place afterwards.
#[inline(always)]
pub(crate) fn enter(pair: PairKey, how: u32) -> Entry {
    let answer = guard_limits_enter(pack(pair.bulkhead, pair.service), how);
    let (own, whole) = (answer & PLACE, (answer >> PLACE_BITS) & PLACE);
    Entry { errno: (answer >> ERRNO_AT) as u32 & ERRNO, counted: (whole << 32) | own, nested: 0 }
}

/// What [`enter`] says, in one word: errno, place of the bulkhead's slot plus one, and of the pair's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_limits_enter(pair: u64, how: u32) -> u64 {
    let own = maps::limits_of(unpack(pair));
    let Some(slot) = maps::limits(own) else { return 0 };
    let monitor = maps::control().is_none_or(|control| control.mode == MODE_MONITOR);
    let whole = slot.whole;
    let how = how | (fallback::stands_in(unpack(pair).service, slot.breaker) * STOOD_IN);
    let reason = guard_limits_object(own, whole, how, u32::from(monitor));
    if reason != NONE {
        if !monitor {
            if let Some(count) = slot.rejected.get_mut(reason as usize) {
                atomics::add(&raw mut *count, 1);
            }
            return u64::from(slot.errno) << ERRNO_AT;
        }
        atomics::add(&raw mut slot.would_have, 1);
    }
    if how & CONNECTION == 0 {
        return 0;
    }
    u64::from(own) | (u64::from(whole) << PLACE_BITS)
}

/// No reason.
const NONE: u32 = u32::MAX;

/// Why a call may not begin (`why::*`), or [`NONE`]. A connection has taken its places if nobody
/// objects, and in monitor mode in any case.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_limits_object(own: u32, whole: u32, how: u32, monitor: u32) -> u32 {
    let connection = how & CONNECTION;
    let mut reason = NONE;
    if is_blocked(own) || is_blocked(whole) {
        reason = why::BUDGET;
        if monitor == 0 {
            return reason;
        }
    }
    if connection != 0 {
        if guard_limits_take(whole, monitor) == 0 {
            reason = why::CONNECTIONS;
        } else if guard_limits_take(own, monitor) == 0 {
            guard_limits_leave(whole);
            reason = why::CONNECTIONS;
        } else if monitor != 0 && (is_above(own) || is_above(whole)) {
            reason = why::CONNECTIONS;
        }
    }
    if (reason != NONE && monitor == 0) || how & (OF_INNER | STOOD_IN) != 0 {
        return reason;
    }
    let retries = guard_limits_retry(own, socket::now_ns());
    if retries != NONE && monitor == 0 && connection != 0 {
        guard_limits_leave(own);
        guard_limits_leave(whole);
    }
    if retries == NONE { reason } else { retries }
}

#[inline(always)]
fn is_blocked(place: u32) -> bool {
    maps::limits(place).is_some_and(|slot| slot.blocked & BLOCKED_BUDGET != 0)
        && !maps::is_abandoned(socket::now_ns())
}

#[inline(always)]
fn is_above(place: u32) -> bool {
    maps::limits(place).is_some_and(|slot| {
        slot.max_connections != 0
            && current(&raw const slot.connections) > u64::from(slot.max_connections)
    })
}

/// Takes a place for a connection; 0 if there is none. With `always` there is one in any case.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_limits_take(place: u32, always: u32) -> u32 {
    let Some(slot) = maps::limits(place) else { return 1 };
    if always != 0 || slot.max_connections == 0 {
        atomics::add(&raw mut slot.connections, 1);
        return 1;
    }
    let mut full = false;
    let done = retried(|| {
        let open = current(&raw const slot.connections);
        full = open >= u64::from(slot.max_connections);
        full || atomics::replace(&raw mut slot.connections, open, open + 1)
    });
    if !done {
        // It passes, and is counted: a count that is wrong for ever is worse than one too many.
        atomics::add(&raw mut slot.connections, 1);
    }
    u32::from(!full)
}

/// Gives a place back.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_limits_leave(place: u32) -> u32 {
    if let Some(slot) = maps::limits(place) {
        // Each place that is given back was taken: the count never falls below 0.
        atomics::add(&raw mut slot.connections, u64::MAX);
    }
    0
}

/// Why an attempt may not be made (`why::*`), or [`NONE`]; what is a retry is counted.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_limits_retry(own: u32, now_ns: u64) -> u32 {
    let Some(slot) = maps::limits(own) else { return NONE };
    let Some((breaker, _)) = maps::breaker(slot.breaker) else { return NONE };
    let window_ns = retry::window_ns(slot.retry_window_ns);
    if !retry::is_retry(breaker.failed_ns, now_ns, window_ns)
        || !retry::is_troubled(breaker.outcomes)
    {
        return NONE;
    }
    let mut allowed = 1;
    // Of those that others keep from counting, this one passes.
    retried(|| {
        let old = current(&raw const slot.window);
        let step = retry::retry(old, now_ns, window_ns, slot.max_retries);
        allowed = step.allowed;
        allowed == 0 || atomics::replace(&raw mut slot.window, old, step.word)
    });
    if allowed == 0 {
        return why::RETRIES;
    }
    if slot.budgeted != 0 && !pay(now_ns) {
        return why::RETRY_BUDGET;
    }
    atomics::add(&raw mut slot.retries, 1);
    NONE
}

/// Takes one retry from the host's budget; false if it is used up. A budget that nobody has filled
/// for long is none.
#[inline(always)]
fn pay(now_ns: u64) -> bool {
    let Some(budget) = maps::retry_budget() else { return true };
    if budget.until_ns < now_ns {
        return true;
    }
    let mut paid = true;
    retried(|| {
        let left = current(&raw const budget.left);
        paid = left >= ONE_RETRY;
        !paid || atomics::replace(&raw mut budget.left, left, left - ONE_RETRY)
    });
    paid
}

/// A call that was let in comes to nothing.
#[inline(always)]
pub(crate) fn leave(counted: u64) {
    if counted != 0 {
        guard_limits_leave(counted as u32);
        guard_limits_leave((counted >> 32) as u32);
    }
}

/// A connection that is older than the daemon takes its places, free or not.
#[inline(always)]
pub(crate) fn count_old(state: &mut SocketState, pair: PairKey) {
    let places = take_always(pair);
    if !atomics::replace(&raw mut state.counted, 0, places) {
        leave(places);
    }
}

/// Takes the places of a connection, free or not; see [`SocketState::counted`].
#[inline(always)]
pub(crate) fn take_always(pair: PairKey) -> u64 {
    let own = maps::limits_of(pair);
    let Some(slot) = maps::limits(own) else { return 0 };
    let whole = slot.whole;
    guard_limits_take(own, 1);
    guard_limits_take(whole, 1);
    pack(whole, own)
}

/// The connection has ended, or the agent has closed it; only the first call does anything.
#[inline(always)]
pub(crate) fn give_back(state: &mut SocketState) {
    let counted = current(&raw const state.counted);
    if counted != 0 && atomics::replace(&raw mut state.counted, counted, 0) {
        leave(counted);
    }
}

#[inline(always)]
fn current(word: *const u64) -> u64 {
    // SAFETY: callers pass a field of a map value or of socket storage; volatile, because others
    // change it.
    unsafe { core::ptr::read_volatile(word) }
}
