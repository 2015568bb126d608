//! Whether an attempt is a retry, and whether one more is allowed.
//!
//! After a failure, attempts are retries until a call succeeds or a window passes without another
//! failure. Retries are counted in windows, each of which begins with its first retry.

use crate::abi::limits::{DEFAULT_RETRY_WINDOW_NS, RETRIES_UNLIMITED};
use crate::logic::breaker::Result;

/// Bits of a window's word that count.
const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// Times in the word are in units of 2^20 ns, about a millisecond.
const UNIT_BITS: u32 = 20;

/// Outcomes that are looked at.
const NEWEST: u32 = 4;

/// What an attempt does to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The word afterwards.
    pub word: u64,
    /// 1 = the attempt is allowed.
    pub allowed: u32,
}

/// The window's length as it is used.
#[inline(always)]
pub const fn window_ns(configured_ns: u64) -> u64 {
    if configured_ns == 0 { DEFAULT_RETRY_WINDOW_NS } else { configured_ns }
}

/// Whether an attempt now is a retry, after a failure at `failed_ns` (0 = none since a success).
#[inline(always)]
pub const fn is_retry(failed_ns: u64, now_ns: u64, window_ns: u64) -> bool {
    failed_ns != 0 && now_ns.wrapping_sub(failed_ns) < window_ns
}

/// Whether the newest of these outcomes (as `BreakerSlot::outcomes` has them) that says anything of
/// the service is a bad one.
#[inline(always)]
pub const fn is_troubled(outcomes: u64) -> bool {
    let (mut left, mut looked) = (outcomes, 0);
    while looked < NEWEST {
        let newest = left & 0xf;
        if newest == 0 {
            return false;
        }
        match Result::of_number(newest as u32 - 1) {
            Result::Nothing => {}
            result => return result.is_bad(),
        }
        left >>= 4;
        looked += 1;
    }
    false
}

/// One more retry, now. The word of a fresh window is 0.
#[inline(always)]
pub const fn retry(word: u64, now_ns: u64, window_ns: u64, max: u32) -> Step {
    let now = now_ns >> UNIT_BITS;
    let start = word >> COUNT_BITS;
    let over = now.wrapping_sub(start) >= (window_ns >> UNIT_BITS);
    let (start, count) = if word == 0 || over { (now, 0) } else { (start, word & COUNT) };
    if max != RETRIES_UNLIMITED && count >= max as u64 {
        return Step { word, allowed: 0 };
    }
    let next = if count < COUNT { count + 1 } else { count };
    Step { word: (start << COUNT_BITS) | next, allowed: 1 }
}

/// Retries in the window that runs now; 0 if none does.
#[inline(always)]
pub const fn made(word: u64, now_ns: u64, window_ns: u64) -> u32 {
    let over = (now_ns >> UNIT_BITS).wrapping_sub(word >> COUNT_BITS) >= (window_ns >> UNIT_BITS);
    if word == 0 || over { 0 } else { (word & COUNT) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::outcome::Outcome;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_attempt_is_a_retry_until_a_success_or_the_window_is_over() {
        assert!(!is_retry(0, 5 * SECOND, SECOND), "nothing has failed");
        assert!(is_retry(5 * SECOND, 5 * SECOND + 1, SECOND));
        assert!(!is_retry(5 * SECOND, 6 * SECOND, SECOND));
    }

    #[test]
    fn the_newest_outcome_that_tells_decides() {
        let list = |outcomes: &[Outcome]| {
            outcomes.iter().fold(0_u64, |word, outcome| (word << 4) | (*outcome as u64 + 1))
        };
        assert!(!is_troubled(0));
        assert!(is_troubled(list(&[Outcome::Success, Outcome::Refused])));
        assert!(is_troubled(list(&[Outcome::Throttled, Outcome::Aborted])));
        assert!(!is_troubled(list(&[Outcome::Refused, Outcome::Success, Outcome::Aborted])));
        assert!(!is_troubled(list(&[Outcome::Aborted])));
    }

    #[test]
    fn none_may_be_allowed() {
        assert_eq!(retry(0, SECOND, SECOND, 0), Step { word: 0, allowed: 0 });
    }

    #[test]
    fn a_window_begins_with_its_first_retry() {
        let (mut word, mut allowed) = (0, 0);
        for at in 0..10 {
            let step = retry(word, 100 * SECOND + at * SECOND, 30 * SECOND, 3);
            (word, allowed) = (step.word, allowed + step.allowed);
        }
        assert_eq!((allowed, made(word, 110 * SECOND, 30 * SECOND)), (3, 3));
        let later = retry(word, 131 * SECOND, 30 * SECOND, 3);
        assert_eq!((later.allowed, made(later.word, 131 * SECOND, 30 * SECOND)), (1, 1));
    }

    proptest! {
        /// However attempts lie in time, no window of this length has more than twice as many, and
        /// none that begins with a first retry has more than `max`.
        #[test]
        fn never_more_than_allowed(
            gaps in prop::collection::vec(0_u64..3 * SECOND, 1..200),
            max in 0_u32..20,
            window_s in 1_u64..60,
        ) {
            let window = window_s * SECOND;
            let (mut now, mut word, mut times) = (3 * SECOND, 0, Vec::new());
            for gap in gaps {
                now += gap;
                let step = retry(word, now, window, max);
                word = step.word;
                prop_assert!(made(word, now, window) <= max);
                if step.allowed == 1 {
                    times.push(now);
                }
            }
            for start in &times {
                let inside = times.iter().filter(|at| *at >= start && *at - start < window).count();
                prop_assert!(inside <= 2 * max as usize);
            }
        }
    }
}
