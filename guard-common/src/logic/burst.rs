//! Loss in bursts: Gilbert's two-state chain (Gilbert: "Capacity of a Burst-Noise Channel", 1960)
//! with every packet lost in the bad state and none in the good one.
//!
//! The chain is given by what an operator can measure: the share of packets lost, and how many are
//! lost in a row on average.

use crate::logic::random;

/// Bit of a rule's word that says "in a burst", and of the answer of [`lost`]. The other bits count
/// the decisions.
pub const LOST: u64 = 1 << 63;

/// Whether the packet after `word` is lost: [`LOST`] or 0. Chances are in 1/2^32: `begin` that a
/// packet is lost after one that was not, `end` that it is not after one that was. With `end` 0
/// packets know nothing of one another, as long as the word's bit stays 0.
#[inline(always)]
pub const fn lost(word: u64, seed: u64, begin: u64, end: u64) -> u64 {
    let (bad, draw) = (word & LOST, word & !LOST);
    let changes = random::hits(seed, draw, if bad == 0 { begin } else { end });
    // No branch: the kernel's verifier would follow both ways to the end of the program.
    bad ^ ((changes as u64) << 63)
}

/// What of the word changes besides its count.
#[inline(always)]
pub const fn toggled(word: u64, lost: u64, end: u64) -> u64 {
    ((word & LOST) ^ lost) & 0_u64.wrapping_sub((end != 0) as u64)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::abi::fault::PROBABILITY_ALWAYS;

    fn lengths(seed: u64, begin: u64, end: u64) -> (usize, Vec<usize>) {
        let (mut word, mut lost, mut bursts) = (0, 0, Vec::new());
        for _ in 0..200_000 {
            let now = super::lost(word, seed, begin, end);
            if now != 0 {
                lost += 1;
                if word & LOST == 0 {
                    bursts.push(0);
                }
                *bursts.last_mut().unwrap() += 1;
            }
            word = (word + 1) ^ toggled(word, now, end);
        }
        (lost, bursts)
    }

    #[test]
    fn share_and_length_are_those_of_the_chain() {
        // 5 % in bursts of 4: end = 1/4, begin = 0.05 / (4 × 0.95).
        let (begin, end) = ((1_u64 << 32) * 5 / 380, 1 << 30);
        for seed in 0..10 {
            let (lost, bursts) = lengths(seed, begin, end);
            // The spread of the share is that of independent losses, wider by about sqrt(2 × 4):
            // five standard deviations are 1378.
            assert!((8_622..=11_378).contains(&lost), "seed {seed}: {lost}");
            let mean = lost as f64 / bursts.len() as f64;
            assert!((3.6..4.4).contains(&mean), "seed {seed}: bursts of {mean}");
            let single = bursts.iter().filter(|length| **length == 1).count();
            let share = single as f64 / bursts.len() as f64;
            assert!((0.21..0.29).contains(&share), "seed {seed}: {share} are of length one");
        }
    }

    proptest! {
        #[test]
        fn certain_steps_are_taken(word: u64, seed: u64) {
            prop_assert_eq!(lost(word, seed, PROBABILITY_ALWAYS, 0), LOST, "never ends");
            prop_assert_eq!(lost(word, seed, 0, PROBABILITY_ALWAYS), 0, "never begins");
        }

        #[test]
        fn without_bursts_each_packet_is_a_draw_of_its_own(n in 0..LOST, seed: u64, chance: u64) {
            let now = lost(n, seed, chance, 0);
            prop_assert_eq!(now != 0, random::hits(seed, n, chance));
            prop_assert_eq!(toggled(n, now, 0), 0);
        }
    }
}
