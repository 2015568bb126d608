//! Random decisions that can be replayed: the n-th draw of a seed is a function of both, so two
//! runs with the same seed and the same order of packets decide alike (splitmix64; Steele,
//! Lea, Flood: "Fast splittable pseudorandom number generators", 2014).

/// The `n`-th 64-bit draw of `seed`.
#[inline(always)]
pub const fn draw(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether the `n`-th draw of `seed` hits with a chance of `probability` / 2^32.
#[inline(always)]
pub const fn hits(seed: u64, n: u64, probability: u64) -> bool {
    (draw(seed, n) >> 32) < probability
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::fault::PROBABILITY_ALWAYS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn always_hits_and_zero_never_does(seed: u64, n: u64) {
            prop_assert!(hits(seed, n, PROBABILITY_ALWAYS));
            prop_assert!(!hits(seed, n, 0));
        }
    }

    #[test]
    fn share_of_hits_is_the_probability() {
        // 100,000 draws at 20 %: five standard deviations are 632.
        for seed in 0..20 {
            let hit = (0..100_000).filter(|n| hits(seed, *n, PROBABILITY_ALWAYS / 5)).count();
            assert!((19_368..=20_632).contains(&hit), "seed {seed}: {hit}");
        }
    }

    #[test]
    fn draws_are_the_published_sequence() {
        // The first outputs of splitmix64 for seed 1234567 as published with its reference code.
        assert_eq!(draw(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(draw(1_234_567, 1), 3_203_168_211_198_807_973);
    }
}
