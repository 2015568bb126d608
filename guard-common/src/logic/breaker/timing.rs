//! How long a breaker stays open.

use crate::abi::breaker::{BreakerPolicy, MAX_OPEN_NS, PPM};
use crate::logic::random;

use super::word::MAX_TRIPS;

/// Open time after `trips` earlier trips in a row, ns: `open_ns` × backoff^trips, at most
/// `max_open_ns`, ± jitter (the `n`-th draw of `seed`), at most [`MAX_OPEN_NS`].
#[inline(always)]
pub const fn open_ns(policy: &BreakerPolicy, trips: u64, seed: u64, n: u64) -> u64 {
    let limit = min(policy.max_open_ns, MAX_OPEN_NS);
    let mut open = min(policy.open_ns, limit);
    let mut left = min(trips, MAX_TRIPS);
    while left > 0 {
        // No overflow: a day in ns has 47 bits, a factor at most 16.
        open = min(open.wrapping_mul((policy.backoff & 0xffff) as u64) >> 8, limit);
        left -= 1;
    }
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
        let policy = BreakerPolicy {
            open_ns: 5 * SECOND,
            max_open_ns: 60 * SECOND,
            backoff: 512,
            ..BreakerPolicy::default()
        };
        let times: Vec<u64> = (0..6).map(|trips| open_ns(&policy, trips, 1, 1) / SECOND).collect();
        assert_eq!(times, [5, 10, 20, 40, 60, 60]);
    }

    proptest! {
        #[test]
        fn stays_within_jitter_and_a_day(
            open in 1_u64..=MAX_OPEN_NS,
            backoff in 256_u32..=4096,
            jitter_ppm in 0_u32..=PPM,
            trips in 0_u64..100,
            seed: u64,
            n: u64,
        ) {
            let policy = BreakerPolicy {
                open_ns: open, max_open_ns: MAX_OPEN_NS, backoff, ..BreakerPolicy::default()
            };
            let plain = super::open_ns(&policy, trips, seed, n);
            let got = super::open_ns(&BreakerPolicy { jitter_ppm, ..policy }, trips, seed, n);
            let most = plain / 1_000_000 * u64::from(jitter_ppm) + 1_000_000;
            prop_assert!(got <= MAX_OPEN_NS && got + most >= plain && got <= plain + most,
                "{plain} {got} {most}");
        }
    }
}
