//! What is known of a call that is let in, in one word: the connect hooks have little room. It packs and
//! unpacks; the ways of `fallback` are among its bits.

use guard_common::logic::breaker::Ticket;

use crate::breaker::Admission;
use crate::classify::Destination;

/// Places of what [`guard_remember`] is told in one word.
const WHAT_BREAKER_AT: u32 = 32;
const WHAT_TICKET_AT: u32 = 8;
const WHAT_TICKET: Ticket = 0xff_ffff;
pub(super) const WHAT_HELD: u64 = 1;
pub(super) const WHAT_PROTECTED: u64 = 2;
/// What an earlier use of the socket left is written over.
pub(super) const WHAT_ANEW: u64 = 4;
// And the ways of `fallback`.
/// What is known of a call that is let in, in one word: this program has little room.
#[inline(always)]
pub(super) fn what(destination: Destination, admission: Admission) -> u64 {
    (u64::from(admission.breaker) << WHAT_BREAKER_AT)
        | (u64::from(admission.ticket) << WHAT_TICKET_AT)
        | (u64::from(admission.hold != 0) * WHAT_HELD)
        | (u64::from(destination.protected) * WHAT_PROTECTED)
}

/// Place of the breaker plus one in [`what`].
#[inline(always)]
pub(super) const fn breaker_in(what: u64) -> u32 {
    (what >> WHAT_BREAKER_AT) as u32
}

/// The ticket in [`what`].
#[inline(always)]
pub(super) const fn ticket_in(what: u64) -> Ticket {
    (what >> WHAT_TICKET_AT) as Ticket & WHAT_TICKET
}
