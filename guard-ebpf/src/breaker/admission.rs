//! Whether a call may begin.

use guard_common::abi::breaker::{
    BREAKER_ENFORCE, BREAKER_FORCE_OPEN, BREAKER_MONITOR, BREAKER_OFF,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::socket::{SOCKET_HELD, SocketState};
use guard_common::logic::breaker::{self as machine, Ticket};

use super::{current, mode, pack, retried, unpack, write_down};
use crate::{atomics, maps, socket};

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
    let mut answer = AGAIN;
    let done = retried(|| {
        answer = guard_breaker_admit_once(place, pair, now_ns);
        answer & AGAIN == 0
    });
    if !done || answer != 0 {
        return answer & u64::from(ADMIT_TICKET);
    }
    match mode {
        BREAKER_ENFORCE => refused,
        BREAKER_MONITOR => would_have,
        _ => 0,
    }
}

/// Another CPU changed the word meanwhile. After all tries the call passes.
const AGAIN: u64 = 1 << 63;

/// One try of [`guard_breaker_admit`]: the ticket, 0 = refused, or [`AGAIN`].
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
