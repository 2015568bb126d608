//! How long a breaker stays open.

use crate::abi::breaker::{BreakerPolicy, MAX_OPEN_NS, OPEN_TIMES, PPM};
use crate::logic::random;

const _: () = assert!(super::word::MAX_TRIPS == OPEN_TIMES as u64 - 1);

/// Open times for [`BreakerPolicy::open_ns`]: `first_ns` × factor^trips, at most `most_ns`, and at
/// most [`MAX_OPEN_NS`]. For whoever makes policies, not for the kernel.
#[must_use]
pub fn open_times(first_ns: u64, factor: f64, most_ns: u64) -> [u64; OPEN_TIMES] {
    let limit = min(most_ns, MAX_OPEN_NS);
    let mut open_ns = min(first_ns, limit);
    core::array::from_fn(|_| {
        let this = open_ns;
        // A product beyond the range of u64 becomes its largest value.
        open_ns = min((open_ns as f64 * factor) as u64, limit);
        this
    })
}

/// Open time after `trips` earlier trips in a row, ns: that of the policy ± jitter (the `n`-th draw of
/// `seed`), at most [`MAX_OPEN_NS`].
#[inline(always)]
pub const fn open_ns(policy: &BreakerPolicy, trips: u64, seed: u64, n: u64) -> u64 {
    let open = min(policy.open_ns[(trips & (OPEN_TIMES as u64 - 1)) as usize], MAX_OPEN_NS);
    if policy.jitter_ppm == 0 {
        return open;
    }
    // In units of 1/2^16, so that a day times a share does not overflow either.
    let share = (min(policy.jitter_ppm as u64, PPM as u64) << 16) / PPM as u64;
    let span = (open >> 16).wrapping_mul(share);
    let offset = (random::draw(seed, n) & 0xffff).wrapping_mul(span >> 15);
    min(open.wrapping_sub(span).wrapping_add(offset), MAX_OPEN_NS)
}

#[inline(always)]
const fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn doubles_up_to_the_limit() {
        let open_ns = open_times(5 * SECOND, 2.0, 60 * SECOND);
        let policy = BreakerPolicy { open_ns, ..BreakerPolicy::default() };
        let times: Vec<u64> =
            (0..6).map(|trips| super::open_ns(&policy, trips, 1, 1) / SECOND).collect();
        assert_eq!(times, [5, 10, 20, 40, 60, 60]);
    }

    proptest! {
        #[test]
        fn stays_within_jitter_and_a_day(
            open in 1_u64..=MAX_OPEN_NS,
            factor in 1.0_f64..=16.0,
            jitter_ppm in 0_u32..=PPM,
            trips in 0_u64..16,
            seed: u64,
            n: u64,
        ) {
            let open_ns = open_times(open, factor, MAX_OPEN_NS);
            prop_assert!(open_ns.is_sorted() && open_ns[0] == open);
            let policy = BreakerPolicy { open_ns, ..BreakerPolicy::default() };
            let plain = super::open_ns(&policy, trips, seed, n);
            let got = super::open_ns(&BreakerPolicy { jitter_ppm, ..policy }, trips, seed, n);
            let most = plain / 1_000_000 * u64::from(jitter_ppm) + 1_000_000;
            prop_assert!(got <= MAX_OPEN_NS && got + most >= plain && got <= plain + most,
                "{plain} {got} {most}");
        }
    }
}
