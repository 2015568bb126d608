//! Breakers: whether a call may begin, and what its result does. The machine itself is
//! `guard_common::logic::breaker`; here its steps are swapped into the map and written down.
//!
//! It fails open: a pair without a breaker, a word that others keep changing under us, or a missing
//! policy lets the call pass, and the last two are counted.

use guard_common::abi::breaker::{
    BREAKER_ENFORCE, BREAKER_FORCE_CLOSED, BREAKER_FORCE_OPEN, BREAKER_MONITOR, BREAKER_OFF,
    BreakerPolicy, BreakerSlot, PROBE_FAILED, PROBE_GIVEN_BACK, PROBE_SUCCEEDED,
};
use guard_common::abi::event::{EVENT_BREAKER, Event};
use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::policy::{Control, MODE_MONITOR};
use guard_common::abi::socket::{SOCKET_HELD, SocketState};
use guard_common::logic::breaker::{self as machine, Step, Ticket, window, word};

use crate::{atomics, emit, maps, socket};

/// Tries to swap a word. Each failure means that another CPU moved on, so this many in a row are
/// only seen by a hook that is preempted all the time.
const TRIES: u32 = 16;

/// What a call gets.
#[derive(Clone, Copy)]
pub(crate) struct Admission {
    /// Refused with this; 0 = it may pass.
    pub(crate) errno: u32,
    /// Place of the breaker plus one; 0 = there is none.
    pub(crate) breaker: u32,
    /// What the call holds of it.
    pub(crate) ticket: Ticket,
    /// 1 = it would have been refused, were it not for the mode.
    pub(crate) would_have: u32,
    /// 1 = instead of being refused, a connection may wait.
    pub(crate) hold: u32,
}

/// Nobody objects.
pub(crate) const PASS: Admission =
    Admission { errno: 0, breaker: 0, ticket: 0, would_have: 0, hold: 0 };

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

/// A call of this pair wants to begin.
#[inline(always)]
pub(crate) fn admit(pair: PairKey) -> Admission {
    let place = maps::breaker_of(pair);
    if place == 0 {
        return PASS;
    }
    let answer = guard_breaker_admit(place, pack(pair.bulkhead, pair.service));
    Admission {
        errno: (answer >> ADMIT_ERRNO_AT) as u32 & ADMIT_ERRNO,
        breaker: place,
        ticket: answer as Ticket & ADMIT_TICKET,
        would_have: (answer >> ADMIT_WOULD_HAVE_AT) as u32 & 1,
        hold: (answer >> ADMIT_HOLD_AT) as u32 & 1,
    }
}

/// Places of what [`guard_breaker_admit`] answers, and their bits.
const ADMIT_TICKET: u32 = (1 << 20) - 1;
const ADMIT_ERRNO_AT: u32 = 20;
const ADMIT_ERRNO: u32 = 0xfff;
const ADMIT_WOULD_HAVE_AT: u32 = 32;
const ADMIT_HOLD_AT: u32 = 33;

/// What a breaker says to a call that wants to begin: ticket, errno, would-have and hold in one word.
///
/// A global function, with numbers as arguments: the verifier looks at it once, whoever calls it,
/// and not once for each way that leads to a call. So are the next ones.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_admit(place: u32, pair: u64) -> u64 {
    let Some((_, policy)) = maps::breaker(place) else { return 0 };
    let Some(control) = maps::control() else { return 0 };
    let mode = mode(control, policy);
    if mode == BREAKER_OFF {
        return 0;
    }
    let hold = u64::from(policy.hold_ns != 0) << ADMIT_HOLD_AT;
    let refused = hold | (u64::from(policy.errno & ADMIT_ERRNO) << ADMIT_ERRNO_AT);
    let would_have = 1 << ADMIT_WOULD_HAVE_AT;
    let now_ns = socket::now_ns();
    let refused = if maps::is_abandoned(now_ns) { would_have } else { refused };
    if mode == BREAKER_FORCE_OPEN {
        return refused;
    }
    for _ in 0..TRIES {
        let answer = guard_breaker_admit_once(place, pair, now_ns);
        if answer & AGAIN != 0 {
            continue;
        }
        if answer != 0 {
            return answer & u64::from(ADMIT_TICKET);
        }
        return match mode {
            BREAKER_ENFORCE => refused,
            BREAKER_MONITOR => would_have,
            _ => 0,
        };
    }
    maps::hook_stats(|stats| &raw mut stats.contended_breakers);
    0
}

/// Another CPU changed the word meanwhile. After all tries the call passes.
const AGAIN: u64 = 1 << 63;

/// One try of [`guard_breaker_admit`]: the ticket, 0 = refused, or [`AGAIN`].
///
/// A function of its own, and global, so that the verifier looks at the machine once and not once
/// for each try. So are the other tries below.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_admit_once(place: u32, pair: u64, now_ns: u64) -> u64 {
    // Not 0, which refuses: a breaker that is not there lets the call pass.
    let Some((slot, policy)) = maps::breaker(place) else { return AGAIN };
    let old = current(slot);
    let step = machine::admit(old, policy, now_ns, u64::from(slot.seed));
    if step.word != old && !atomics::replace(&raw mut slot.word, old, step.word) {
        return AGAIN;
    }
    if step.reason != 0 {
        write_down(unpack(pair), old, step, 0, now_ns);
    }
    u64::from(step.ticket)
}

/// Counts a call that is refused, or held.
#[inline(always)]
pub(crate) fn count_refusal(place: u32, held: bool) {
    if let Some((slot, _)) = maps::breaker(place) {
        atomics::add(if held { &raw mut slot.held } else { &raw mut slot.rejected }, 1);
    }
}

/// Counts a call that the mode alone let pass.
#[inline(always)]
pub(crate) fn count_would_have(place: u32) {
    if let Some((slot, _)) = maps::breaker(place) {
        atomics::add(&raw mut slot.would_have, 1);
    }
}

/// A held connection knocks again; whether its SYN may leave now.
#[inline(always)]
pub(crate) fn release_held(state: &mut SocketState) -> bool {
    let pair = PairKey { bulkhead: state.bulkhead, service: state.service };
    let admission = admit(pair);
    if admission.errno != 0 {
        return false;
    }
    state.breaker = admission.breaker;
    state.ticket = admission.ticket;
    // From here on it is a connect like any other, and the service's time starts to run.
    state.connect_start_ns = socket::now_ns();
    atomics::clear_bits(&raw mut state.flags, SOCKET_HELD);
    true
}

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

/// The call that the socket is waiting for has ended.
#[inline(always)]
pub(crate) fn call_ended(state: &mut SocketState, outcome: u32, took_ns: u64) {
    if state.breaker == 0 {
        return;
    }
    let ticket = atomics::take(&raw mut state.ticket);
    let origin = socket::origin(state) as u32;
    let pair = pack(state.bulkhead, state.service);
    state.ticket =
        guard_breaker_result(state.breaker, ticket, pair, pack(origin, outcome), took_ns);
}

/// The connection is established, which is a success where nothing more is asked for.
#[inline(always)]
pub(crate) fn connected(state: &mut SocketState) {
    if any_answer_is_good(state.breaker) {
        call_ended(state, Outcome::Success as u32, 0);
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
        let outcome = pack(0, Outcome::Aborted as u32);
        guard_breaker_result(place, ticket, pack(pair.bulkhead, pair.service), outcome, 0);
    }
}

/// A call failed before it had a socket's storage.
#[inline(always)]
pub(crate) fn failed(pair: PairKey, admission: Admission, outcome: Outcome, origin: Origin) {
    if admission.breaker != 0 {
        let outcome = pack(origin as u32, outcome as u32);
        let pair = pack(pair.bulkhead, pair.service);
        guard_breaker_result(admission.breaker, admission.ticket, pair, outcome, 0);
    }
}

/// Two numbers in one argument: a called function takes no more than five.
#[inline(always)]
const fn pack(upper: u32, lower: u32) -> u64 {
    ((upper as u64) << 32) | lower as u64
}

/// What [`pack`] made of a pair.
#[inline(always)]
const fn unpack(pair: u64) -> PairKey {
    PairKey { bulkhead: (pair >> 32) as u32, service: pair as u32 }
}

/// A call has its result; what the socket holds of the breaker from now on. `pair` is bulkhead and
/// service, `origin_outcome` origin and outcome, each as [`pack`] makes it.
///
/// Global, as [`guard_breaker_admit`] is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_result(
    place: u32,
    ticket: Ticket,
    pair: u64,
    origin_outcome: u64,
    took_ns: u64,
) -> Ticket {
    let Some((slot, policy)) = maps::breaker(place) else { return 0 };
    let Some(control) = maps::control() else { return 0 };
    let mode = mode(control, policy);
    let number = origin_outcome as u32;
    if mode == BREAKER_OFF || mode == BREAKER_FORCE_OPEN || number >= Outcome::COUNT as u32 {
        return 0;
    }
    let result = machine::Result::of_number(number);
    let now_ns = socket::now_ns();
    remember(slot, number, result, now_ns);
    if ticket & machine::TICKET_PROBE != 0 {
        let which = probe_result(result);
        if let Some(count) = slot.probes.get_mut(which) {
            atomics::add(&raw mut *count, 1);
        }
    }
    if ticket != 0 && !(mode == BREAKER_FORCE_CLOSED && result.is_bad()) {
        judge(place, ticket, pair, origin_outcome, now_ns);
    }
    if policy.bucket_ns != 0 && result != machine::Result::Nothing && mode != BREAKER_FORCE_CLOSED {
        guard_breaker_window(place, ticket, pair, origin_outcome, took_ns);
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

/// The machine's step for one result, as [`guard_breaker_result`] has it.
#[inline(always)]
fn judge(place: u32, ticket: Ticket, pair: u64, origin_outcome: u64, now_ns: u64) {
    for _ in 0..TRIES {
        if guard_breaker_judge_once(place, ticket, pair, origin_outcome, now_ns) != 0 {
            return;
        }
    }
    maps::hook_stats(|stats| &raw mut stats.contended_breakers);
}

/// One try of [`judge`]; 0 if another CPU changed the word meanwhile.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_judge_once(
    place: u32,
    ticket: Ticket,
    pair: u64,
    origin_outcome: u64,
    now_ns: u64,
) -> u32 {
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

/// Counts a call in the window, and trips if the window says so; 1 if it was counted.
///
/// Global, as [`guard_breaker_admit`] is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_breaker_window(
    place: u32,
    ticket: Ticket,
    pair: u64,
    origin_outcome: u64,
    took_ns: u64,
) -> u32 {
    let Some((slot, policy)) = maps::breaker(place) else { return 0 };
    let old = current(slot);
    // The first keeps the compiler from calling what panics at a division by zero.
    if policy.bucket_ns == 0 || !machine::counts_in_window(old, ticket) {
        return 0;
    }
    let bad = machine::Result::of_number(origin_outcome as u32).is_bad();
    let slow = policy.slow_ns != 0 && took_ns >= policy.slow_ns;
    let now_ns = socket::now_ns();
    let (epoch, generation) = (window::epoch(policy, now_ns), word::generation(old));
    if !count_in_window(place, epoch, generation, bad, slow) {
        maps::hook_stats(|stats| &raw mut stats.contended_breakers);
        return 0;
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

/// Adds the call to its bucket.
#[inline(always)]
fn count_in_window(place: u32, epoch: u64, generation: u64, bad: bool, slow: bool) -> bool {
    let what = (u32::from(bad) << 1) | u32::from(slow);
    for _ in 0..TRIES {
        if guard_breaker_count_once(place, epoch, generation, what) != 0 {
            return true;
        }
    }
    false
}

/// One try of [`count_in_window`]; 0 if another CPU changed the bucket meanwhile.
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

/// The service wants to be left alone for so many seconds; 0 = it did not say.
#[inline(always)]
pub(crate) fn leave_alone(place: u32, seconds: u32) {
    if seconds == 0 {
        return;
    }
    for _ in 0..TRIES {
        if guard_breaker_extend_once(place, seconds) != 0 {
            return;
        }
    }
    maps::hook_stats(|stats| &raw mut stats.contended_breakers);
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

/// Notes an outcome for `why`. Not atomic: two at once may leave only one, which misleads nobody.
#[inline(always)]
fn remember(slot: &mut BreakerSlot, outcome: u32, result: machine::Result, now_ns: u64) {
    slot.outcomes = (slot.outcomes << 4) | u64::from(outcome + 1);
    if result == machine::Result::Failure {
        slot.failed_ns = now_ns;
    }
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
    emit::emit(&Event {
        time_ns: now_ns,
        cookie: 0,
        duration_ns: 0,
        fault: 0,
        kind: EVENT_BREAKER,
        bulkhead: pair.bulkhead,
        service: pair.service,
        outcome: 0,
        origin,
        pid: 0,
        peer: [0; 16],
        peer_port: 0,
        errno: 0,
        status: 0,
        pad: 0,
    });
}
