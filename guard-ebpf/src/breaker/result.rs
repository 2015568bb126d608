//! What the result of a call does to its breaker.

use guard_common::abi::breaker::{
    BREAKER_FORCE_CLOSED, BREAKER_FORCE_OPEN, BREAKER_OFF, BreakerSlot, PROBE_FAILED,
    PROBE_GIVEN_BACK, PROBE_SUCCEEDED,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::socket::SocketState;
use guard_common::logic::breaker::{self as machine, Ticket, word};

use super::{current, mode, pack, retried, unpack, window, write_down};
use crate::{atomics, maps, socket};

/// After how long the agent's giving up is a failure of the service, ns; 0 = never.
#[inline(always)]
pub(crate) fn abandoned_ns(place: u32) -> u64 {
    maps::breaker(place).map_or(0, |(_, policy)| policy.abandoned_ns)
}

/// Whether any answer of the service is a good one, whatever its HTTP status.
#[inline(always)]
pub(crate) fn any_answer_is_good(place: u32) -> bool {
    maps::breaker(place).is_some_and(|(_, policy)| policy.connect_succeeds != 0)
}

/// The call that the socket is waiting for has ended, now.
#[inline(always)]
pub(crate) fn call_ended(state: &mut SocketState, outcome: u32, took_ns: u64, now_ns: u64) {
    if state.breaker == 0 {
        return;
    }
    let ticket = atomics::take(&raw mut state.ticket);
    let origin = socket::origin(state) as u32;
    let pair = pack(state.bulkhead, state.service);
    let held = pack(state.breaker, ticket);
    state.ticket = guard_breaker_result(held, pair, pack(origin, outcome), took_ns, now_ns);
}

/// The connection is established, which is a success where nothing more is asked for.
#[inline(always)]
pub(crate) fn connected(state: &mut SocketState, now_ns: u64) {
    if any_answer_is_good(state.breaker) {
        call_ended(state, Outcome::Success as u32, 0, now_ns);
    }
}

/// The socket has nothing more to tell: the lease of a probe is free again.
#[inline(always)]
pub(crate) fn give_back(state: &mut SocketState) {
    if state.ticket & machine::TICKET_PROBE == 0 {
        return;
    }
    let ticket = atomics::take(&raw mut state.ticket);
    let pair = PairKey { bulkhead: state.bulkhead, service: state.service };
    nothing(pair, state.breaker, ticket);
}

/// A call that was admitted comes to nothing.
#[inline(always)]
pub(crate) fn nothing(pair: PairKey, place: u32, ticket: Ticket) {
    if ticket & machine::TICKET_PROBE != 0 {
        before_any_socket(pair, pack(place, ticket), pack(0, Outcome::Aborted as u32));
    }
}

/// A call failed before it had a socket's storage.
#[inline(always)]
pub(crate) fn failed(pair: PairKey, place: u32, ticket: Ticket, outcome: Outcome, origin: Origin) {
    if place != 0 {
        let held = pack(place, ticket);
        before_any_socket(pair, held, pack(origin as u32, outcome as u32));
    }
}

#[inline(always)]
fn before_any_socket(pair: PairKey, held: u64, origin_outcome: u64) {
    let pair = pack(pair.bulkhead, pair.service);
    guard_breaker_result(held, pair, origin_outcome, 0, socket::now_ns());
}

/// A call has its result; what the socket holds of the breaker from now on. `held` is the breaker's
/// place and the ticket, `pair` bulkhead and service, `origin_outcome` origin and outcome, each as
/// [`pack`] makes it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_result(
    held: u64,
    pair: u64,
    origin_outcome: u64,
    took_ns: u64,
    now_ns: u64,
) -> Ticket {
    let (place, ticket) = ((held >> 32) as u32, held as Ticket);
    let Some((slot, policy)) = maps::breaker(place) else { return 0 };
    let Some(control) = maps::control() else { return 0 };
    let mode = mode(control, policy);
    let number = origin_outcome as u32;
    if number >= Outcome::COUNT as u32 {
        return 0;
    }
    let result = machine::Result::of_number(number);
    // Where nothing is judged, too: limits of retries go by it.
    remember(slot, number, result, now_ns);
    if mode == BREAKER_OFF || mode == BREAKER_FORCE_OPEN {
        return 0;
    }
    if ticket & machine::TICKET_PROBE != 0 {
        let which = probe_result(result);
        if let Some(count) = slot.probes.get_mut(which) {
            atomics::add(&raw mut *count, 1);
        }
    }
    // Nearly every call: a success that finds nothing to forget.
    let calm = result == machine::Result::Success && word::is_calm(current(slot));
    if ticket != 0 && !calm && !(mode == BREAKER_FORCE_CLOSED && result.is_bad()) {
        guard_breaker_judge(held, pair, origin_outcome, now_ns);
    }
    if policy.bucket_ns != 0 && result != machine::Result::Nothing && mode != BREAKER_FORCE_CLOSED {
        window::guard_breaker_window(held, pair, origin_outcome, took_ns, now_ns);
    }
    machine::ticket_of_pooled(current(slot))
}

#[inline(always)]
fn probe_result(result: machine::Result) -> usize {
    match result {
        machine::Result::Success => PROBE_SUCCEEDED,
        machine::Result::Failure | machine::Result::Throttled => PROBE_FAILED,
        machine::Result::Nothing => PROBE_GIVEN_BACK,
    }
}

/// The machine's step for one result, as [`guard_breaker_result`] has it; 1 if it was taken.
///
/// A function of its own, because the verifier goes through the loop once for each way that leads to
/// it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_judge(held: u64, pair: u64, origin_outcome: u64, now_ns: u64) -> u32 {
    u32::from(retried(|| guard_breaker_judge_once(held, pair, origin_outcome, now_ns) != 0))
}

/// One try of [`guard_breaker_judge`]; 0 if another CPU changed the word meanwhile.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_judge_once(
    held: u64,
    pair: u64,
    origin_outcome: u64,
    now_ns: u64,
) -> u32 {
    let (place, ticket) = ((held >> 32) as u32, held as Ticket);
    let Some((slot, policy)) = maps::breaker(place) else { return 1 };
    let result = machine::Result::of_number(origin_outcome as u32);
    let old = current(slot);
    let step = machine::result(old, policy, now_ns, ticket, result, u64::from(slot.seed));
    if step.word == old {
        return 1;
    }
    if !atomics::replace(&raw mut slot.word, old, step.word) {
        return 0;
    }
    if step.reason != 0 {
        write_down(unpack(pair), old, step, (origin_outcome >> 32) as u32, now_ns);
    }
    1
}

/// Notes an outcome for `why`. Not atomic: two at once may leave only one, which misleads nobody.
#[inline(always)]
fn remember(slot: &mut BreakerSlot, outcome: u32, result: machine::Result, now_ns: u64) {
    slot.outcomes = (slot.outcomes << 4) | u64::from(outcome + 1);
    if result.is_bad() {
        slot.failed_ns = now_ns;
    }
}
