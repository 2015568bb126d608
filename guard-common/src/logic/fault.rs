//! Whether a fault rule acts now.

use crate::abi::fault::FaultRule;

/// Whether a rule may act at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Not yet begun, in the pause of a pulse, or an empty slot: as if the rule did not exist.
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
    } else if rule.pulse_period_ns != 0
        && (now_ns - rule.not_before_ns) % rule.pulse_period_ns >= rule.pulse_on_ns
    {
        Window::NotYet
    } else {
        Window::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::fault::EFFECT_DELAY;

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

    #[test]
    fn a_pulse_comes_and_goes_from_its_start_on() {
        let rule = FaultRule { pulse_on_ns: 3, pulse_period_ns: 10, ..rule() };
        let open: std::vec::Vec<u64> =
            (100..125).filter(|now| window(&rule, *now, 1000) == Window::Open).collect();
        assert_eq!(open, [100, 101, 102, 110, 111, 112, 120, 121, 122]);
        assert_eq!(window(&rule, 105, 1000), Window::NotYet);
        assert_eq!(window(&rule, 205, 1000), Window::Over, "its deadline holds in pauses, too");
    }
}
