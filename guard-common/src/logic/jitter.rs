//! How a delay varies: both delay engines draw from the same tables, so the same seed gives the
//! same delays whichever of them acts.
//!
//! A table holds the quantiles of a distribution with mean 0. The kernel has no logarithm; the
//! daemon computes the tables, and here they are only looked up.

use crate::abi::fault::{JITTER_STEPS, JitterTable};

/// Bits of a draw that choose the step; the rest goes from it towards the next one.
const STEP_BITS: u32 = JITTER_STEPS.trailing_zeros();
const FRACTION_BITS: u32 = 32 - STEP_BITS;
/// One jitter in a table.
pub const ONE: i32 = 1 << 16;

/// `delay_ns` plus the `draw`-th part of the distribution, never negative. Both times must be
/// below 2^40 ns (18 minutes).
#[inline(always)]
pub const fn delay_ns(table: &JitterTable, delay_ns: u64, jitter_ns: u64, draw: u32) -> u64 {
    // The mask tells the verifier what the shift says already.
    let step = (draw >> FRACTION_BITS) as usize & (JITTER_STEPS - 1);
    let (from, to) = (table.quantiles[step] as i64, table.quantiles[step + 1] as i64);
    let fraction = (draw & ((1 << FRACTION_BITS) - 1)) as i64;
    let quantile = from + (((to - from) * fraction) >> FRACTION_BITS);
    let delay = delay_ns as i64 + ((jitter_ns as i64 * quantile) >> 16);
    if delay < 0 { 0 } else { delay as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From -1 to 1, evenly.
    fn uniform() -> JitterTable {
        let mut table = JitterTable::default();
        for (step, quantile) in table.quantiles.iter_mut().enumerate() {
            *quantile = (step as i64 * 2 * i64::from(ONE) / JITTER_STEPS as i64) as i32 - ONE;
        }
        table
    }

    proptest! {
        #[test]
        fn a_uniform_delay_stays_within_its_jitter(
            delay in 0_u64..60_000_000_000, jitter in 0_u64..60_000_000_000, draw: u32,
        ) {
            let got = delay_ns(&uniform(), delay, jitter, draw);
            prop_assert!(got >= delay.saturating_sub(jitter) && got <= delay + jitter);
        }

        #[test]
        fn a_larger_draw_is_a_longer_delay(a: u32, b: u32) {
            let of = |draw| delay_ns(&uniform(), 300_000_000, 50_000_000, draw);
            prop_assert!((a <= b) == (of(a) <= of(b)) || of(a) == of(b));
        }
    }

    #[test]
    fn small_jitter_is_not_lost() {
        let of = |draw| delay_ns(&uniform(), 1_000_000, 1_000, draw);
        assert_eq!((of(0), of(1 << 31), of(u32::MAX)), (999_000, 1_000_000, 1_000_999));
    }
}
