//! The circuit breaker: CLOSED, OPEN, HALF_OPEN. Pure functions from one word to the next; whoever
//! calls them puts the new word in place by compare-and-swap and tries again with what it finds if
//! somebody was faster. All that can happen to a breaker is an [`Event`]; [`step`] is the whole
//! machine.
//!
//! Promises, each with a property test or a model check (`tests/breaker_*.rs`):
//! - CLOSED never refuses. OPEN never lets a call pass before its time.
//! - HALF_OPEN has at most `half_open_calls` leases out; it can always be left: a lease that is given
//!   back or whose time is over goes to the next call.
//! - A result counts only for the generation that its call began in. What a call of an earlier
//!   time brings home can neither trip nor close.
//! - Every change of state raises the generation by one.

pub mod timing;
pub mod window;
pub mod word;

use crate::abi::breaker::{BreakerPolicy, STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, reason};
use crate::abi::outcome::Outcome;

/// What a call holds of the breaker that admitted it; 0 = its result counts for nothing.
///
/// Bits 0–11 generation, 12–15 lease, 16 probe, 17 always set.
pub type Ticket = u32;

const TICKET_LEASE_AT: u32 = word::GENERATION_BITS;
/// Set in the ticket of a probe.
pub const TICKET_PROBE: Ticket = 1 << 16;
const TICKET_VALID: Ticket = 1 << 17;

/// What a result is to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// The service answered well.
    Success,
    /// It failed ("failure" in DESIGN.md).
    Failure,
    /// 429: it lives, but does not want this call. Fails a probe; is no failure in a row.
    Throttled,
    /// Says nothing of the service: given up by the agent, stale connection, refused by guard.
    Nothing,
}

impl Result {
    /// What an outcome is to a breaker.
    #[inline(always)]
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success | Outcome::ClientError => Self::Success,
            Outcome::Throttled => Self::Throttled,
            other if other.is_failure() => Self::Failure,
            _ => Self::Nothing,
        }
    }

    /// What the outcome with this ABI number is to a breaker; nothing if there is none.
    #[inline(always)]
    pub const fn of_number(outcome: u32) -> Self {
        // As bit sets: the kernel's compiler would make a table of a match, which it cannot have.
        const SUCCESS: u32 = bits(Result::Success);
        const FAILURE: u32 = bits(Result::Failure);
        const THROTTLED: u32 = bits(Result::Throttled);
        let bit = 1_u32 << (outcome & 31);
        if SUCCESS & bit != 0 {
            Self::Success
        } else if FAILURE & bit != 0 {
            Self::Failure
        } else if THROTTLED & bit != 0 {
            Self::Throttled
        } else {
            Self::Nothing
        }
    }

    /// Whether it lowers the success rate.
    #[inline(always)]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failure | Self::Throttled)
    }
}

/// The numbers of the outcomes that are `result`, as bits.
const fn bits(result: Result) -> u32 {
    let mut bits = 0;
    let mut at = 0;
    while at < Outcome::COUNT {
        if Result::of(Outcome::ALL[at]) as u32 == result as u32 {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
}

/// What becomes of a breaker's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The word after; the same as before if nothing is to be written.
    pub word: u64,
    /// `reason::*` if the state changes, else 0.
    pub reason: u32,
    /// For [`admit`]: the call may pass with this ticket; 0 = it is refused.
    pub ticket: Ticket,
}

impl Step {
    #[inline(always)]
    const fn to(word: u64, reason: u32) -> Self {
        Self { word, reason, ticket: 0 }
    }
}

/// Whether the ticket is of this word's generation.
#[inline(always)]
const fn is_current(word: u64, ticket: Ticket) -> bool {
    let generation = ticket & ((1 << word::GENERATION_BITS) - 1);
    ticket & TICKET_VALID != 0 && generation as u64 == word::generation(word)
}

#[inline(always)]
const fn ticket(word: u64, probe: bool) -> Ticket {
    let probe = if probe { TICKET_PROBE } else { 0 };
    let lease = (word::lease(word) as Ticket) << TICKET_LEASE_AT;
    TICKET_VALID | probe | lease | word::generation(word) as Ticket
}

/// Whether a ticket holds one of the current leases.
#[inline(always)]
const fn holds_lease(word: u64, ticket: Ticket) -> bool {
    ticket & TICKET_PROBE != 0
        && ((ticket >> TICKET_LEASE_AT) & 0xf) as u64 == word::lease(word)
        && word::leases_out(word) > 0
}

/// A call wants to begin. `seed` is that of the open time's jitter.
#[inline(always)]
pub const fn admit(word: u64, policy: &BreakerPolicy, now_ns: u64, seed: u64) -> Step {
    match word::state(word) {
        STATE_OPEN => {
            if word::remaining_ns(word, now_ns) > 0 {
                return Step::to(word, 0);
            }
            let until_ns = now_ns.wrapping_add(policy.probe_ns);
            let half_open = word::next(word, STATE_HALF_OPEN, word::trips(word), until_ns);
            let next = word::with_leases_out(half_open, 1);
            Step { word: next, reason: reason::OPEN_TIME_OVER, ticket: ticket(next, true) }
        }
        STATE_HALF_OPEN => lend(word, policy, now_ns, seed),
        _ => Step { word, reason: 0, ticket: ticket(word, false) },
    }
}

/// A lease of HALF_OPEN for one more call, if there is one.
#[inline(always)]
const fn lend(word: u64, policy: &BreakerPolicy, now_ns: u64, seed: u64) -> Step {
    let out = word::leases_out(word);
    let next = if out == 0 {
        // Whoever had a lease of this number has given it back: it is nobody's.
        word::with_leases_out(word, 1)
    } else if word::remaining_ns(word, now_ns) == 0 {
        // Those that are out are over: the next number, so that none of them comes back. Where there
        // is none left, so many probes in a row never ended that the service hangs.
        let lease = word::lease(word) + 1;
        if lease > word::MAX_LEASE {
            return trip(word, policy, now_ns, reason::PROBE_FAILED, seed);
        }
        word::with_leases_out(word::with_lease(word, lease), 1)
    } else if out + word::successes(word) < policy.half_open_calls as u64 {
        word::with_leases_out(word, out + 1)
    } else {
        return Step::to(word, 0);
    };
    let next = word::with_time(next, now_ns.wrapping_add(policy.probe_ns));
    Step { word: next, reason: 0, ticket: ticket(next, true) }
}

/// The ticket of a call that begins on a connection which is open already: such calls are not
/// refused, and count while the breaker is CLOSED.
#[inline(always)]
pub const fn ticket_of_pooled(word: u64) -> Ticket {
    if word::state(word) == STATE_CLOSED { ticket(word, false) } else { 0 }
}

/// Whether a call with this ticket counts in the window of the breaker as it is now.
#[inline(always)]
pub const fn counts_in_window(word: u64, ticket: Ticket) -> bool {
    word::state(word) == STATE_CLOSED && is_current(word, ticket)
}

/// A call has its result. `seed` is that of the open time's jitter.
#[inline(always)]
pub const fn result(
    word: u64,
    policy: &BreakerPolicy,
    now_ns: u64,
    ticket: Ticket,
    result: Result,
    seed: u64,
) -> Step {
    if !is_current(word, ticket) {
        return Step::to(word, 0);
    }
    match word::state(word) {
        STATE_CLOSED => match result {
            Result::Success => Step::to(healthy(word, now_ns), 0),
            Result::Failure => failure(word, policy, now_ns, seed),
            Result::Throttled | Result::Nothing => Step::to(word, 0),
        },
        STATE_HALF_OPEN if ticket & TICKET_PROBE != 0 => match result {
            Result::Success => success_of_probe(word, policy, now_ns, ticket, seed),
            Result::Failure | Result::Throttled => {
                trip(word, policy, now_ns, reason::PROBE_FAILED, seed)
            }
            Result::Nothing => give_back(word, ticket),
        },
        _ => Step::to(word, 0),
    }
}

/// A call ended without telling anything: the lease of a probe is free again.
#[inline(always)]
pub const fn give_back(word: u64, ticket: Ticket) -> Step {
    if word::state(word) == STATE_HALF_OPEN && is_current(word, ticket) && holds_lease(word, ticket)
    {
        return Step::to(word::with_leases_out(word, word::leases_out(word) - 1), 0);
    }
    Step::to(word, 0)
}

/// Opens a CLOSED or HALF_OPEN breaker; one that is OPEN starts its time anew if the operator asks.
#[inline(always)]
pub const fn trip(word: u64, policy: &BreakerPolicy, now_ns: u64, why: u32, seed: u64) -> Step {
    if word::state(word) == STATE_OPEN && why != reason::OPERATOR_TRIP {
        return Step::to(word, 0);
    }
    let before = word::trips(word);
    let open_ns = timing::open_ns(policy, before, seed, word::generation(word));
    let trips = if before < word::MAX_TRIPS { before + 1 } else { before };
    Step::to(word::next(word, STATE_OPEN, trips, now_ns.wrapping_add(open_ns)), why)
}

/// A breaker that has seen nothing, in the place of one that had this word: its generation goes on,
/// so that calls of the old one count for nothing.
#[inline(always)]
pub const fn fresh(old: u64) -> u64 {
    word::next(old, STATE_CLOSED, 0, 0)
}

/// Closes the breaker as if it had never tripped.
#[inline(always)]
pub const fn reset(word: u64, now_ns: u64) -> Step {
    if word::state(word) == STATE_CLOSED {
        return Step::to(word::with_trips(word::with_failures(word, 0), 0), 0);
    }
    Step::to(word::next(word, STATE_CLOSED, 0, now_ns), reason::OPERATOR_RESET)
}

/// Forgets failures in a row. One that is OPEN stays so, with its time and its probes.
#[inline(always)]
pub const fn forget(word: u64) -> u64 {
    if word::state(word) == STATE_CLOSED { word::with_failures(word, 0) } else { word }
}

/// The service said when it wants to be asked again (boottime ns): an OPEN breaker stays open until
/// then, never shorter than it would, never longer than a day from now.
#[inline(always)]
pub const fn extend(word: u64, now_ns: u64, until_ns: u64) -> Step {
    let asked_ns = until_ns.saturating_sub(now_ns);
    let longer = asked_ns > word::remaining_ns(word, now_ns);
    if word::state(word) != STATE_OPEN || !longer || asked_ns > crate::abi::breaker::MAX_OPEN_NS {
        return Step::to(word, 0);
    }
    Step::to(word::with_time(word, until_ns), 0)
}

/// Lets an OPEN breaker probe at the next call instead of at the end of its time.
#[inline(always)]
pub const fn probe_now(word: u64, now_ns: u64) -> Step {
    if word::state(word) != STATE_OPEN {
        return Step::to(word, 0);
    }
    Step::to(word::with_time(word, now_ns), 0)
}

/// A success in CLOSED: no failure in a row any more, and after a time without a trip the open time
/// starts small again.
#[inline(always)]
const fn healthy(word: u64, now_ns: u64) -> u64 {
    let word = word::with_failures(word, 0);
    if word::trips(word) != 0 && word::remaining_ns(word, now_ns) == 0 {
        return word::with_trips(word, 0);
    }
    word
}

#[inline(always)]
const fn failure(word: u64, policy: &BreakerPolicy, now_ns: u64, seed: u64) -> Step {
    let failures = word::failures(word) + 1;
    if policy.failure_threshold != 0 && failures >= policy.failure_threshold as u64 {
        return trip(word, policy, now_ns, reason::CONSECUTIVE_FAILURES, seed);
    }
    let most = crate::abi::breaker::MAX_FAILURE_THRESHOLD as u64;
    Step::to(word::with_failures(word, if failures > most { most } else { failures }), 0)
}

#[inline(always)]
const fn success_of_probe(
    word: u64,
    policy: &BreakerPolicy,
    now_ns: u64,
    ticket: Ticket,
    seed: u64,
) -> Step {
    let successes = word::successes(word) + 1;
    if successes >= policy.half_open_calls as u64 {
        // A relapse within the open time that would follow makes that time longer (backoff).
        let trips = word::trips(word);
        let relapse_ns = timing::open_ns(policy, trips, seed, word::generation(word));
        let until_ns = now_ns.wrapping_add(relapse_ns);
        return Step::to(word::next(word, STATE_CLOSED, trips, until_ns), reason::PROBE_SUCCEEDED);
    }
    // A probe whose lease was over has its say all the same, but has no lease to give back.
    let returned = give_back(word, ticket).word;
    Step::to(word::with_successes(returned, successes), 0)
}

/// All that can happen to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`admit`]
    Admit,
    /// [`result`]
    Result(Ticket, Result),
    /// [`give_back`]
    GiveBack(Ticket),
    /// [`trip`] by a rule of the window: `reason::*`.
    Window(u32),
    /// [`trip`] by the operator.
    OperatorTrip,
    /// [`reset`]
    OperatorReset,
    /// [`extend`] until this time (boottime ns).
    RetryAfter(u64),
    /// [`probe_now`]
    ProbeNow,
}

/// The whole machine in one function: what `event` at `now_ns` makes of `word`.
#[inline(always)]
pub const fn step(word: u64, policy: &BreakerPolicy, now_ns: u64, seed: u64, event: Event) -> Step {
    match event {
        Event::Admit => admit(word, policy, now_ns, seed),
        Event::Result(ticket, of) => result(word, policy, now_ns, ticket, of, seed),
        Event::GiveBack(ticket) => give_back(word, ticket),
        Event::Window(why) if word::state(word) == STATE_CLOSED => {
            trip(word, policy, now_ns, why, seed)
        }
        Event::Window(_) => Step::to(word, 0),
        Event::OperatorTrip => trip(word, policy, now_ns, reason::OPERATOR_TRIP, seed),
        Event::OperatorReset => reset(word, now_ns),
        Event::RetryAfter(until_ns) => extend(word, now_ns, until_ns),
        Event::ProbeNow => probe_now(word, now_ns),
    }
}
