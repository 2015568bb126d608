//! What bulkheads may do: connections, retries, budgets. Each setting of a (bulkhead, service) from
//! its own table, else from the bulkhead. Plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

/// All that the configuration says of limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitRules {
    /// `[defaults.retry_budget]`.
    pub retry_budget: RetryBudgetPlan,
    /// By bulkhead.
    pub of_bulkheads: BTreeMap<String, LimitSettings>,
    /// `limits.services.NAME` of bulkheads, by (bulkhead, service).
    pub of_pairs: BTreeMap<(String, String), LimitSettings>,
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

    /// Limits of a pair: its own connections; retries and errno of its own or else the bulkhead's.
    pub fn of_pair(&self, bulkhead: &str, service: &str) -> LimitSettings {
        let whole = self.of_bulkhead(bulkhead);
        let key = (bulkhead.to_owned(), service.to_owned());
        let own = self.of_pairs.get(&key).copied().unwrap_or_default();
        LimitSettings {
            max_connections: own.max_connections,
            retries: own.retries.or(whole.retries),
            errno: own.errno.or(whole.errno),
        }
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
        let whole = LimitSettings { max_connections: Some(64), retries, errno: None };
        let own = LimitSettings { errno: Some(Errno::EHOSTUNREACH), ..LimitSettings::default() };
        let mut rules = LimitRules::default();
        rules.of_bulkheads.insert("a".into(), whole);
        rules.of_pairs.insert(("a".into(), "api".into()), own);
        let wanted =
            LimitSettings { max_connections: None, retries, errno: Some(Errno::EHOSTUNREACH) };
        assert_eq!(rules.of_pair("a", "api"), wanted);
        assert_eq!(rules.of_pair("b", "api"), LimitSettings::default());
        assert!(rules.limit_retries());
    }
}
