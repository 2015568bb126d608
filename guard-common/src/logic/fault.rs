//! Whether a fault rule acts now, and how long its delay is.

use crate::abi::fault::FaultRule;
use crate::logic::random;

/// Whether a rule may act at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Not yet begun, or an empty slot: as if the rule did not exist.
    NotYet,
    /// It acts.
    Open,
    /// Its deadline or the daemon's lease is over: the traffic passes.
    Over,
}

/// Checks deadline and lease (boottime ns). The kernel does this at each packet, so that no fault
/// outlives its deadline or the daemon's last sign of life by more than the lease.
#[inline(always)]
pub const fn window(rule: &FaultRule, now_ns: u64, lease_until_ns: u64) -> Window {
    if rule.effect == 0 || now_ns < rule.not_before_ns {
        Window::NotYet
    } else if now_ns >= rule.expires_at_ns || now_ns >= lease_until_ns {
        Window::Over
    } else {
        Window::Open
    }
}

/// The delay of the `n`-th packet: uniform in `delay ± jitter`, never negative.
#[inline(always)]
pub const fn delay_ns(rule: &FaultRule, n: u64) -> u64 {
    if rule.jitter_ns == 0 {
        return rule.delay_ns;
    }
    let span = rule.jitter_ns.wrapping_mul(2).wrapping_add(1);
    // The upper half of the draw decides about hits; the lower half makes the jitter.
    let offset = (random::draw(rule.seed, n) & 0xffff_ffff).wrapping_mul(span >> 16) >> 16;
    rule.delay_ns.wrapping_add(offset).saturating_sub(rule.jitter_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::fault::EFFECT_DELAY;
    use proptest::prelude::*;

    fn rule() -> FaultRule {
        FaultRule {
            effect: EFFECT_DELAY,
            not_before_ns: 100,
            expires_at_ns: 200,
            ..FaultRule::default()
        }
    }

    #[test]
    fn acts_only_between_start_and_the_nearer_end() {
        let rule = rule();
        assert_eq!(window(&rule, 99, 1000), Window::NotYet);
        assert_eq!(window(&rule, 100, 1000), Window::Open);
        assert_eq!(window(&rule, 199, 1000), Window::Open);
        assert_eq!(window(&rule, 200, 1000), Window::Over);
        assert_eq!(window(&rule, 150, 151), Window::Open);
        assert_eq!(window(&rule, 151, 151), Window::Over);
        assert_eq!(window(&rule, 150, 0), Window::Over, "no lease, no fault");
        assert_eq!(window(&FaultRule::default(), 150, 1000), Window::NotYet);
    }

    proptest! {
        #[test]
        fn delay_stays_within_jitter(
            delay_ns in 0_u64..10_000_000_000,
            jitter_ns in 0_u64..5_000_000_000,
            seed: u64,
            n: u64,
        ) {
            let rule = FaultRule { seed, delay_ns, jitter_ns, ..rule() };
            let got = super::delay_ns(&rule, n);
            prop_assert!(got >= delay_ns.saturating_sub(jitter_ns));
            prop_assert!(got <= delay_ns + jitter_ns);
        }
    }

    #[test]
    fn jitter_is_centred() {
        let rule = FaultRule { delay_ns: 300_000_000, jitter_ns: 50_000_000, seed: 7, ..rule() };
        let sum: u64 = (0..10_000).map(|n| super::delay_ns(&rule, n)).sum();
        let mean = sum / 10_000;
        assert!((298_000_000..302_000_000).contains(&mean), "{mean}");
    }
}
