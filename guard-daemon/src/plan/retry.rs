//! `[retry_policies.NAME]`: how often and how fast something is tried again, by type of error. For
//! guard's own actions, and for agents that want to follow them. It waits for nothing itself.

use std::time::Duration;

/// Connections that fail.
pub const NETWORK_ERROR: &str = "network_error";
/// Answers that say "later".
pub const RATE_LIMIT: &str = "rate_limit_429";
/// Answers that say "wrong".
pub const VALIDATION_ERROR: &str = "validation_error";

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RetryPolicyPlan {
    /// Name: the type of error.
    pub name: String,
    /// Attempts after the first.
    pub max_retries: u32,
    /// Whether the delay doubles each time; else it stays the same.
    pub exponential: bool,
    /// Delay before the first retry.
    #[serde(rename = "initial_delay_seconds", serialize_with = "seconds")]
    pub initial_delay: Duration,
    /// Longest delay.
    #[serde(rename = "max_delay_seconds", serialize_with = "seconds")]
    pub max_delay: Duration,
    /// Whether a random part of up to a half is taken off.
    pub jitter: bool,
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

impl RetryPolicyPlan {
    /// The built-in ones.
    pub fn built_in() -> Vec<Self> {
        let policy = |name: &str, max_retries, exponential, initial, max| Self {
            name: name.to_owned(),
            max_retries,
            exponential,
            initial_delay: Duration::from_secs(initial),
            max_delay: Duration::from_secs(max),
            jitter: exponential,
        };
        vec![
            policy(NETWORK_ERROR, 5, true, 1, 30),
            policy(RATE_LIMIT, 3, false, 60, 60),
            policy(VALIDATION_ERROR, 0, false, 1, 1),
        ]
    }

    /// Delay before retry `attempt` (from 0); `None` = it is given up. `seed` draws the jitter.
    pub fn delay(&self, attempt: u32, seed: u64) -> Option<Duration> {
        if attempt >= self.max_retries {
            return None;
        }
        Some(self.nth(attempt, seed))
    }

    /// The same, without an end: what a restart waits for, whose number is limited elsewhere.
    pub fn nth(&self, attempt: u32, seed: u64) -> Duration {
        let factor = if self.exponential { 1_u32 << attempt.min(30) } else { 1 };
        let delay = self.initial_delay.saturating_mul(factor).min(self.max_delay);
        if !self.jitter {
            return delay;
        }
        // One step of SplitMix64: neighbours need different numbers, nothing more.
        let mut z = seed.wrapping_add(u64::from(attempt) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        delay.mul_f64(1.0 - share / 2.0)
    }
}

/// The policies as variables: `GUARD_RETRY_NETWORK_ERROR_MAX_RETRIES=5` and so on.
pub fn environment(policies: &[RetryPolicyPlan]) -> Vec<(String, String)> {
    let of = |policy: &RetryPolicyPlan| {
        let name = policy.name.to_uppercase().replace('-', "_");
        let backoff = if policy.exponential { "exponential" } else { "fixed" };
        [
            ("MAX_RETRIES", policy.max_retries.to_string()),
            ("BACKOFF", backoff.to_owned()),
            ("INITIAL_DELAY_SECONDS", policy.initial_delay.as_secs_f64().to_string()),
            ("MAX_DELAY_SECONDS", policy.max_delay.as_secs_f64().to_string()),
            ("JITTER", policy.jitter.to_string()),
        ]
        .map(|(key, value)| (format!("GUARD_RETRY_{name}_{key}"), value))
    };
    policies.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_built_in_policies_are_those_of_the_guide() {
        let all = RetryPolicyPlan::built_in();
        let plain = |name: &str| {
            let found = all.iter().find(|policy| policy.name == name).unwrap();
            let policy = RetryPolicyPlan { jitter: false, ..found.clone() };
            (0..9).map_while(|n| policy.delay(n, 0)).map(|d| d.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(plain(NETWORK_ERROR), [1, 2, 4, 8, 16]);
        assert_eq!(plain(RATE_LIMIT), [60, 60, 60]);
        assert!(plain(VALIDATION_ERROR).is_empty());
    }

    proptest! {
        #[test]
        fn a_delay_is_never_longer_than_the_longest(attempt: u32, seed: u64, max in 1_u64..1000) {
            let policy = RetryPolicyPlan {
                max_delay: Duration::from_secs(max),
                max_retries: u32::MAX,
                ..RetryPolicyPlan::built_in().remove(0)
            };
            let delay = policy.nth(attempt, seed);
            prop_assert!(delay <= policy.max_delay);
            prop_assert!(delay >= policy.initial_delay.min(policy.max_delay) / 2);
        }
    }
}
