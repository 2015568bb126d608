//! The sliding window of a breaker: exact counts in ten buckets, each one word that is changed by
//! compare-and-swap. A bucket that belongs to another time or generation counts as empty.
//!
//! | bits | field |
//! |---|---|
//! | 0–13 | slow calls |
//! | 14–27 | calls that were no success |
//! | 28–41 | calls |
//! | 42–47 | generation, lowest bits |
//! | 48–63 | number of the bucket since boot, lowest bits |
//!
//! A bucket that holds 16,383 calls takes no more: rates are then those of the first ones.
//! A bucket that nobody touched for 327,680 bucket lengths (weeks) could be taken for a fresh one.

use crate::abi::breaker::{BreakerPolicy, PPM, WINDOW_BUCKETS, reason};

const COUNT_BITS: u32 = 14;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const FAILED_AT: u32 = COUNT_BITS;
const CALLS_AT: u32 = 2 * COUNT_BITS;
const TAG_AT: u32 = 3 * COUNT_BITS;
const TAG_GENERATION_BITS: u32 = 6;
const TAG_EPOCH_BITS: u32 = 16;

/// Number of the bucket that `now_ns` is in, since boot. `bucket_ns` must not be 0.
#[inline(always)]
pub const fn epoch(policy: &BreakerPolicy, now_ns: u64) -> u64 {
    now_ns / policy.bucket_ns
}

/// Its place in the ring.
#[inline(always)]
pub const fn index(epoch: u64) -> usize {
    (epoch & (WINDOW_BUCKETS as u64 - 1)) as usize
}

#[inline(always)]
const fn tag(epoch: u64, generation: u64) -> u64 {
    let epoch = epoch & ((1 << TAG_EPOCH_BITS) - 1);
    let generation = generation & ((1 << TAG_GENERATION_BITS) - 1);
    (epoch << TAG_GENERATION_BITS) | generation
}

/// A bucket with one call more.
#[inline(always)]
pub const fn with_call(bucket: u64, epoch: u64, generation: u64, failed: bool, slow: bool) -> u64 {
    let tag = tag(epoch, generation);
    let mine = if bucket >> TAG_AT == tag { bucket } else { tag << TAG_AT };
    if (mine >> CALLS_AT) & COUNT_MAX == COUNT_MAX {
        return mine;
    }
    mine + (1 << CALLS_AT) + ((failed as u64) << FAILED_AT) + slow as u64
}

/// Sums of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls.
    pub calls: u64,
    /// Those of them that were no success.
    pub failed: u64,
    /// Those of them that were slow.
    pub slow: u64,
}

/// Sums of the window that ends now.
#[inline(always)]
pub const fn sums(buckets: &[u64; WINDOW_BUCKETS], epoch: u64, generation: u64) -> Sums {
    let mut sums = Sums { calls: 0, failed: 0, slow: 0 };
    let mut age = 0;
    while age < WINDOW_BUCKETS as u64 {
        let at = epoch.wrapping_sub(age);
        let bucket = buckets[index(at)];
        if bucket >> TAG_AT == tag(at, generation) {
            sums.calls += (bucket >> CALLS_AT) & COUNT_MAX;
            sums.failed += (bucket >> FAILED_AT) & COUNT_MAX;
            sums.slow += bucket & COUNT_MAX;
        }
        age += 1;
    }
    sums
}

/// Which rule of the window these sums break: `reason::*`, 0 = none.
#[inline(always)]
pub const fn verdict(policy: &BreakerPolicy, sums: Sums) -> u32 {
    if sums.calls == 0 || sums.calls < policy.min_calls as u64 {
        return 0;
    }
    let succeeded = sums.calls.wrapping_sub(sums.failed);
    if succeeded * (PPM as u64) < sums.calls * policy.min_success_ppm as u64 {
        return reason::SUCCESS_RATE;
    }
    let limit = policy.max_slow_ppm as u64;
    if limit != 0 && sums.slow * PPM as u64 >= sums.calls * limit {
        return reason::SLOW_CALLS;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BUCKET: u64 = 1_000;

    fn policy() -> BreakerPolicy {
        BreakerPolicy {
            bucket_ns: BUCKET,
            min_calls: 10,
            min_success_ppm: 800_000,
            max_slow_ppm: 500_000,
            ..BreakerPolicy::default()
        }
    }

    fn add(
        buckets: &mut [u64; WINDOW_BUCKETS],
        now: u64,
        generation: u64,
        failed: bool,
        slow: bool,
    ) {
        let epoch = epoch(&policy(), now);
        let bucket = &mut buckets[index(epoch)];
        *bucket = with_call(*bucket, epoch, generation, failed, slow);
    }

    proptest! {
        /// The buckets agree with a plain list of calls.
        #[test]
        fn sums_are_those_of_a_list(
            calls in prop::collection::vec((0_u64..4_000, any::<bool>(), any::<bool>()), 0..300),
            generation in 0_u64..4096,
        ) {
            let (mut buckets, mut list, mut now) = ([0; WINDOW_BUCKETS], Vec::new(), 1_000_000_u64);
            for (gap, failed, slow) in calls {
                now += gap;
                add(&mut buckets, now, generation, failed, slow);
                list.push((now, failed, slow));
                let from = now / BUCKET - (WINDOW_BUCKETS as u64 - 1);
                let live = list.iter().filter(|(at, ..)| at / BUCKET >= from);
                let mut want = Sums::default();
                for (_, failed, slow) in live {
                    want.calls += 1;
                    want.failed += u64::from(*failed);
                    want.slow += u64::from(*slow);
                }
                prop_assert_eq!(sums(&buckets, now / BUCKET, generation), want);
            }
        }
    }

    #[test]
    fn another_generation_starts_afresh() {
        let mut buckets = [0; WINDOW_BUCKETS];
        add(&mut buckets, 5_000, 7, true, false);
        assert_eq!(sums(&buckets, 5, 8), Sums::default());
        add(&mut buckets, 5_000, 8, false, false);
        assert_eq!(sums(&buckets, 5, 8), Sums { calls: 1, failed: 0, slow: 0 });
    }

    #[test]
    fn a_full_bucket_takes_no_more_and_spoils_nothing() {
        let mut buckets = [0; WINDOW_BUCKETS];
        for _ in 0..20_000 {
            add(&mut buckets, 0, 0, true, true);
        }
        let full = COUNT_MAX;
        assert_eq!(sums(&buckets, 0, 0), Sums { calls: full, failed: full, slow: full });
    }

    #[test]
    fn rules_of_the_window() {
        let verdict = |calls, failed, slow| verdict(&policy(), Sums { calls, failed, slow });
        assert_eq!(verdict(9, 9, 9), 0, "too few calls");
        assert_eq!(verdict(10, 2, 0), 0, "80 % is not below 80 %");
        assert_eq!(verdict(10, 3, 0), reason::SUCCESS_RATE);
        assert_eq!(verdict(10, 0, 4), 0);
        assert_eq!(verdict(10, 0, 5), reason::SLOW_CALLS);
    }
}
