//! Which bucket of the call-duration histogram a time belongs to.

use crate::abi::stats::{CALL_BUCKET_COUNT, CALL_BUCKETS_NS};

/// Index of the first bucket whose upper bound is not below `ns`; the last bucket takes the rest.
#[inline(always)]
pub fn bucket_of(ns: u64) -> usize {
    let mut index = 0;
    // A plain scan: 16 compares of constants, which the kernel's verifier follows without branches
    // multiplying (the sum has no data-dependent jump).
    for bound in CALL_BUCKETS_NS {
        index += usize::from(ns > bound);
    }
    index & 31
}

/// Estimates a quantile (0..=1) in ns from bucket counts by linear interpolation within its
/// bucket, as Prometheus does; the last bucket yields its lower bound. `None` without samples.
pub fn quantile_ns(buckets: &[u64; CALL_BUCKET_COUNT], quantile: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = quantile * total as f64;
    let mut below = 0.0;
    for (index, count) in buckets.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            let lower = if index == 0 { 0.0 } else { CALL_BUCKETS_NS[index - 1] as f64 };
            let Some(upper) = CALL_BUCKETS_NS.get(index) else { return Some(lower) };
            return Some(
                lower + (*upper as f64 - lower) * ((rank - below) / count).clamp(0.0, 1.0),
            );
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_lies_within_its_bucket(ns: u64) {
            let index = bucket_of(ns);
            prop_assert!(index < CALL_BUCKET_COUNT);
            if let Some(upper) = CALL_BUCKETS_NS.get(index) {
                prop_assert!(ns <= *upper);
            }
            if index > 0 {
                prop_assert!(ns > CALL_BUCKETS_NS[index - 1]);
            }
        }
    }

    #[test]
    fn bounds_belong_to_the_lower_bucket() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1_000_000), 0);
        assert_eq!(bucket_of(1_000_001), 1);
        assert_eq!(bucket_of(81_920_000_000), 15);
        assert_eq!(bucket_of(u64::MAX), 16);
    }

    #[test]
    fn quantiles_interpolate() {
        let mut buckets = [0; CALL_BUCKET_COUNT];
        assert_eq!(quantile_ns(&buckets, 0.5), None);
        buckets[1] = 100;
        let median = quantile_ns(&buckets, 0.5).unwrap();
        assert!((median - 3_000_000.0).abs() < 1.0, "{median}");
        buckets[16] = 1000;
        assert_eq!(quantile_ns(&buckets, 0.99), Some(81_920_000_000.0));
    }
}
