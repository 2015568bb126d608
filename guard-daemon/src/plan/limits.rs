//! What bulkheads may do: connections, retries, budgets. Each setting of a (bulkhead, service) from
//! its own table, else from the bulkhead. Plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use super::{PACING_MAX_DELAY, PacePlan, StormPlan};

/// All that the configuration says of limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitRules {
    /// `[defaults.retry_budget]`.
    pub retry_budget: RetryBudgetPlan,
    /// By bulkhead.
    pub of_bulkheads: BTreeMap<String, LimitSettings>,
    /// `limits.services.NAME` of bulkheads, by (bulkhead, service).
    pub of_pairs: BTreeMap<(String, String), LimitSettings>,
    /// `max_calls_per_second` of services, which all bulkheads share.
    pub of_services: BTreeMap<String, PacePlan>,
    /// What counts as a storm.
    pub storms: StormPlan,
    /// `budgets` of bulkheads, in the order of the file.
    pub budgets: BTreeMap<String, Vec<BudgetPlan>>,
}

/// The host's budget of retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetPlan {
    /// Share of all calls, 0 to 1.
    pub share: f64,
    /// Always allowed, per second.
    pub min_per_second: f64,
}

impl Default for RetryBudgetPlan {
    fn default() -> Self {
        Self { share: 0.2, min_per_second: 10.0 }
    }
}

/// Limits as far as somebody has said something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections open at once.
    pub max_connections: Option<u32>,
    /// Attempts after a failure.
    pub retries: Option<RetryPlan>,
    /// What a refused connect gets.
    pub errno: Option<Errno>,
    /// How fast calls may begin.
    pub pace: Option<PacePlan>,
    /// For how long a call is held at most.
    pub pacing_max_delay: Option<Duration>,
}

/// Attempts after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPlan {
    /// How many.
    pub max: u32,
    /// Within this time.
    pub window: Duration,
}

/// What a bulkhead may use up in a period; at least one of the amounts is set.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetPlan {
    /// Length of the period, from one multiple of it since 1970 to the next.
    pub per: Duration,
    /// Payload both ways.
    pub bytes: Option<u64>,
    /// Calls, answered or failed.
    pub calls: Option<u64>,
    /// Connection attempts.
    pub connects: Option<u64>,
    /// Services that it is about; empty = all.
    pub services: Vec<String>,
    /// Share of an amount from which on guard warns, 0 to 1.
    pub warn_at: f64,
    /// What happens then.
    pub on_exhausted: OnExhausted,
}

/// What happens when a budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// New calls to its services are refused.
    Block,
    /// And the bulkhead's processes stop.
    Freeze,
    /// Nothing but a warning.
    Warn,
}

impl LimitRules {
    /// Limits of a bulkhead as a whole.
    pub fn of_bulkhead(&self, bulkhead: &str) -> LimitSettings {
        self.of_bulkheads.get(bulkhead).copied().unwrap_or_default()
    }

    /// Limits of a pair: its own connections and pace; the rest its own or else the bulkhead's.
    pub fn of_pair(&self, bulkhead: &str, service: &str) -> LimitSettings {
        let whole = self.of_bulkhead(bulkhead);
        let key = (bulkhead.to_owned(), service.to_owned());
        let own = self.of_pairs.get(&key).copied().unwrap_or_default();
        LimitSettings {
            max_connections: own.max_connections,
            retries: own.retries.or(whole.retries),
            errno: own.errno.or(whole.errno),
            pace: own.pace,
            pacing_max_delay: whole.pacing_max_delay,
        }
    }

    /// For how long a call of a pair is held at most, if any rate is about it.
    pub fn pacing_of(&self, bulkhead: &str, service: &str) -> Option<Duration> {
        let whole = self.of_bulkhead(bulkhead);
        let own = self.of_pair(bulkhead, service);
        let paced = whole.pace.is_some() || own.pace.is_some();
        (paced || self.of_services.contains_key(service))
            .then(|| whole.pacing_max_delay.unwrap_or(PACING_MAX_DELAY))
    }

    /// Whether any retries are limited anywhere, so that the host's budget must be filled.
    pub fn limit_retries(&self) -> bool {
        let all = self.of_bulkheads.values().chain(self.of_pairs.values());
        all.into_iter().any(|settings| settings.retries.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_bulkheads_retries_and_errno_but_not_its_connections() {
        let retries = Some(RetryPlan { max: 3, window: Duration::from_secs(30) });
        let whole =
            LimitSettings { max_connections: Some(64), retries, ..LimitSettings::default() };
        let own = LimitSettings { errno: Some(Errno::EHOSTUNREACH), ..LimitSettings::default() };
        let mut rules = LimitRules::default();
        rules.of_bulkheads.insert("a".into(), whole);
        rules.of_pairs.insert(("a".into(), "api".into()), own);
        let wanted =
            LimitSettings { retries, errno: Some(Errno::EHOSTUNREACH), ..LimitSettings::default() };
        assert_eq!(rules.of_pair("a", "api"), wanted);
        assert_eq!(rules.of_pair("b", "api"), LimitSettings::default());
        assert!(rules.limit_retries());
    }

    #[test]
    fn a_pair_is_paced_by_whatever_rate_is_about_it() {
        let pace = Some(PacePlan::new(5.0, None));
        let mut rules = LimitRules::default();
        assert_eq!(rules.pacing_of("a", "api"), None);
        rules.of_services.insert("api".into(), PacePlan::new(1.0, None));
        assert_eq!(rules.pacing_of("a", "api"), Some(PACING_MAX_DELAY));
        assert_eq!(rules.pacing_of("a", "other"), None);
        let most = Duration::from_secs(3);
        let whole =
            LimitSettings { pace, pacing_max_delay: Some(most), ..LimitSettings::default() };
        rules.of_bulkheads.insert("a".into(), whole);
        assert_eq!(rules.pacing_of("a", "other"), Some(most));
        assert_eq!(rules.of_pair("a", "other").pace, None, "the bulkhead's own bucket has it");
    }
}
