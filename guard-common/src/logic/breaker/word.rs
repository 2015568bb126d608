//! The one word that a breaker is: state, counters and a time in 64 bits, so that a transition is
//! one compare-and-swap and nobody ever sees half of one.
//!
//! | bits | field | meaning |
//! |---|---|---|
//! | 0–1 | state | `STATE_*` |
//! | 2–5 | trips | trips since it was last healthy: the exponent of the backoff |
//! | 6–9 | lease | number of the current leases of HALF_OPEN |
//! | 10–17 | count | CLOSED: failures in a row. HALF_OPEN: low half leases out, high half successes |
//! | 18–29 | generation | goes up at each change of state; results of older calls are not its own |
//! | 30–63 | time | OPEN: when a probe may go. HALF_OPEN: when the leases end. CLOSED: when `trips` is forgotten |
//!
//! Times are in units of 2^22 ns (4.2 ms) of CLOCK_BOOTTIME, compared modulo 2^34 units (2.3 years):
//! a time is in the past if it is less than half of that behind.
//!
//! Zero is a CLOSED breaker that has seen nothing.

use crate::abi::breaker::MAX_OPEN_NS;

/// Nanoseconds of one unit of time, as a power of two.
pub const TIME_SHIFT: u32 = 22;

const STATE: Field = Field { at: 0, bits: 2 };
const TRIPS: Field = Field { at: 2, bits: 4 };
const LEASE: Field = Field { at: 6, bits: 4 };
const COUNT: Field = Field { at: 10, bits: 8 };
const LEASES_OUT: Field = Field { at: 10, bits: 4 };
const SUCCESSES: Field = Field { at: 14, bits: 4 };
const GENERATION: Field = Field { at: 18, bits: 12 };
const TIME: Field = Field { at: 30, bits: 34 };

/// Bits of a generation.
pub const GENERATION_BITS: u32 = GENERATION.bits;
/// Most trips that are remembered.
pub const MAX_TRIPS: u64 = TRIPS.max();
/// Highest number of leases.
pub const MAX_LEASE: u64 = LEASE.max();

#[derive(Clone, Copy)]
struct Field {
    at: u32,
    bits: u32,
}

impl Field {
    #[inline(always)]
    const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }

    #[inline(always)]
    const fn mask(self) -> u64 {
        self.max() << self.at
    }

    #[inline(always)]
    const fn get(self, word: u64) -> u64 {
        (word >> self.at) & self.max()
    }

    /// Higher bits of `value` are cut off.
    #[inline(always)]
    const fn set(self, word: u64, value: u64) -> u64 {
        (word & !self.mask()) | ((value & self.max()) << self.at)
    }
}

/// `STATE_*`.
#[inline(always)]
pub const fn state(word: u64) -> u32 {
    STATE.get(word) as u32
}

/// Trips since the breaker was last healthy.
#[inline(always)]
pub const fn trips(word: u64) -> u64 {
    TRIPS.get(word)
}

/// Number of the current leases.
#[inline(always)]
pub const fn lease(word: u64) -> u64 {
    LEASE.get(word)
}

/// Failures in a row (CLOSED).
#[inline(always)]
pub const fn failures(word: u64) -> u64 {
    COUNT.get(word)
}

/// Whether it is CLOSED with no failure and no trip to be forgotten: a success leaves it as it is.
#[inline(always)]
pub const fn is_calm(word: u64) -> bool {
    word & (STATE.mask() | TRIPS.mask() | COUNT.mask()) == 0
}

/// Leases that are out (HALF_OPEN).
#[inline(always)]
pub const fn leases_out(word: u64) -> u64 {
    LEASES_OUT.get(word)
}

/// Probes that succeeded (HALF_OPEN).
#[inline(always)]
pub const fn successes(word: u64) -> u64 {
    SUCCESSES.get(word)
}

/// Goes up by one, modulo 4096, at each change of state.
#[inline(always)]
pub const fn generation(word: u64) -> u64 {
    GENERATION.get(word)
}

/// The same state with another count of failures.
#[inline(always)]
pub(super) const fn with_failures(word: u64, failures: u64) -> u64 {
    COUNT.set(word, failures)
}

#[inline(always)]
pub(super) const fn with_leases_out(word: u64, out: u64) -> u64 {
    LEASES_OUT.set(word, out)
}

#[inline(always)]
pub(super) const fn with_successes(word: u64, successes: u64) -> u64 {
    SUCCESSES.set(word, successes)
}

#[inline(always)]
pub(super) const fn with_lease(word: u64, lease: u64) -> u64 {
    LEASE.set(word, lease)
}

#[inline(always)]
pub(super) const fn with_trips(word: u64, trips: u64) -> u64 {
    TRIPS.set(word, trips)
}

/// Sets the time to the first unit that is not before `at_ns`: never early.
#[inline(always)]
pub(super) const fn with_time(word: u64, at_ns: u64) -> u64 {
    TIME.set(word, at_ns.wrapping_add((1 << TIME_SHIFT) - 1) >> TIME_SHIFT)
}

/// The next generation in another state, with nothing counted yet.
#[inline(always)]
pub(super) const fn next(word: u64, state: u32, trips: u64, at_ns: u64) -> u64 {
    let fresh = STATE.set(0, state as u64);
    let fresh = GENERATION.set(fresh, generation(word).wrapping_add(1));
    with_time(TRIPS.set(fresh, trips), at_ns)
}

/// How long until the word's time, ns; 0 = it is over.
///
/// More than [`MAX_OPEN_NS`] and a bit cannot have been set by anybody: such a word was not looked
/// at for more than a year, or is not ours. It counts as over, so that nothing stays shut for ever.
#[inline(always)]
pub const fn remaining_ns(word: u64, now_ns: u64) -> u64 {
    let left = TIME.get(word).wrapping_sub(now_ns >> TIME_SHIFT) & TIME.max();
    if left > (2 * MAX_OPEN_NS) >> TIME_SHIFT { 0 } else { left << TIME_SHIFT }
}
