//! Which socket options a connection gets, given those that it has. What an agent has set more
//! strictly stays: guard never makes a dead connection live longer.

use crate::abi::hygiene::HygienePolicy;

const MS_PER_SECOND: u64 = 1_000;

/// The options of a connection as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `SO_KEEPALIVE`; 0 = off.
    pub keepalive: u32,
    /// `TCP_KEEPIDLE`, s.
    pub idle_s: u32,
    /// `TCP_KEEPINTVL`, s.
    pub interval_s: u32,
    /// `TCP_KEEPCNT`.
    pub probes: u32,
    /// `TCP_USER_TIMEOUT`, ms; 0 = none.
    pub user_timeout_ms: u32,
}

/// What is set on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// 1 = keepalive as the policy says; 0 = it stays as it is.
    pub keepalive: u32,
    /// New `TCP_USER_TIMEOUT`, ms; 0 = it stays as it is.
    pub user_timeout_ms: u32,
}

/// Time from the last sign of life until keepalive gives a connection up, ms.
#[inline(always)]
const fn patience_ms(idle_s: u32, interval_s: u32, probes: u32) -> u64 {
    (idle_s as u64 + interval_s as u64 * probes as u64) * MS_PER_SECOND
}

/// What to set.
///
/// Keepalive is judged as a whole: an agent's own is kept if it finds a dead peer at least as soon.
/// With a user timeout the kernel counts time instead of probes, so that one which is longer than the
/// agent's own keepalive would loosen that: the timeout follows the keepalive that is in force.
#[inline(always)]
pub const fn change(found: &Found, policy: &HygienePolicy) -> Change {
    let own_ms = patience_ms(found.idle_s, found.interval_s, found.probes);
    let wanted_ms =
        patience_ms(policy.keepalive_idle_s, policy.keepalive_interval_s, policy.keepalive_probes);
    let keeps_own = found.keepalive != 0 && own_ms != 0 && own_ms <= wanted_ms;
    // A second look finds what the first has set.
    let is_ours = found.idle_s == policy.keepalive_idle_s
        && found.interval_s == policy.keepalive_interval_s
        && found.probes == policy.keepalive_probes;
    let limit_ms = if keeps_own && !is_ours && own_ms < policy.user_timeout_ms as u64 {
        own_ms as u32
    } else {
        policy.user_timeout_ms
    };
    let has_stricter = found.user_timeout_ms != 0 && found.user_timeout_ms <= limit_ms;
    Change {
        keepalive: if keeps_own { 0 } else { 1 },
        user_timeout_ms: if has_stricter { 0 } else { limit_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: HygienePolicy = HygienePolicy {
        keepalive_idle_s: 30,
        keepalive_interval_s: 10,
        keepalive_probes: 3,
        user_timeout_ms: 60_000,
    };
    /// What a new socket has.
    const FRESH: Found =
        Found { keepalive: 0, idle_s: 7_200, interval_s: 75, probes: 9, user_timeout_ms: 0 };
    const ALL: Change = Change { keepalive: 1, user_timeout_ms: 60_000 };

    #[test]
    fn a_fresh_socket_gets_all_of_it() {
        assert_eq!(change(&FRESH, &POLICY), ALL);
        assert_eq!(change(&Found::default(), &POLICY), ALL, "options that cannot be read");
    }

    #[test]
    fn what_is_looser_is_replaced() {
        let node = Found { keepalive: 1, idle_s: 60, interval_s: 1, probes: 10, ..FRESH };
        assert_eq!(change(&node, &POLICY), ALL);
        let kernel_default = Found { keepalive: 1, ..FRESH };
        assert_eq!(change(&kernel_default, &POLICY), ALL);
        let patient = Found { user_timeout_ms: 600_000, ..FRESH };
        assert_eq!(change(&patient, &POLICY), ALL);
    }

    #[test]
    fn what_is_stricter_stays() {
        let own = Found { keepalive: 1, idle_s: 10, interval_s: 5, probes: 4, ..FRESH };
        assert_eq!(change(&own, &POLICY), Change { keepalive: 0, user_timeout_ms: 30_000 });
        let hasty = Found { user_timeout_ms: 5_000, ..FRESH };
        assert_eq!(change(&hasty, &POLICY), Change { keepalive: 1, user_timeout_ms: 0 });
        let both = Found { user_timeout_ms: 20_000, ..own };
        assert_eq!(change(&both, &POLICY), Change::default());
        let as_ours =
            Found { keepalive: 1, idle_s: 30, interval_s: 10, probes: 3, user_timeout_ms: 60_000 };
        assert_eq!(change(&as_ours, &POLICY), Change::default());
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let policy = HygienePolicy { user_timeout_ms: 600_000, ..POLICY };
        let set = Found {
            keepalive: 1,
            idle_s: policy.keepalive_idle_s,
            interval_s: policy.keepalive_interval_s,
            probes: policy.keepalive_probes,
            user_timeout_ms: policy.user_timeout_ms,
        };
        assert_eq!(change(&set, &policy), Change::default());
        let own = Found { idle_s: 10, interval_s: 5, probes: 4, ..set };
        let followed = Found { user_timeout_ms: 30_000, ..own };
        assert_eq!(change(&followed, &policy), Change::default());
    }

    #[test]
    fn a_numbers_edge() {
        let most =
            Found { keepalive: 1, idle_s: u32::MAX, interval_s: u32::MAX, probes: 127, ..FRESH };
        assert_eq!(change(&most, &POLICY), ALL);
    }
}
