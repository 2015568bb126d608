//! One budget's account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::BudgetPlan;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Payload both ways.
    pub bytes: u64,
    /// Calls.
    pub calls: u64,
    /// Connection attempts.
    pub connects: u64,
}

/// One of the amounts, with what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// `bytes`, `calls` or `connects`.
    pub name: &'static str,
    /// In this period.
    pub used: u64,
    /// Allowed in a period.
    pub limit: u64,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new period has begun; `true` if the one before was used up.
    Period(bool),
    /// So much is used that people should know.
    Warned(Amount),
    /// It is used up.
    Exhausted(Amount),
}

/// One budget's account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Number of the period since 1970.
    period: u64,
    /// The hooks' counters at the last look; `None` before the first.
    seen: Option<Amounts>,
    used: Amounts,
    warned: bool,
    exhausted: bool,
    released: bool,
}

impl Amounts {
    /// What has come since `seen`; counters that are lower have begun anew.
    #[must_use]
    pub fn since(self, seen: Self) -> Self {
        let since = |now: u64, seen: u64| now.checked_sub(seen).unwrap_or(now);
        Self {
            bytes: since(self.bytes, seen.bytes),
            calls: since(self.calls, seen.calls),
            connects: since(self.connects, seen.connects),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            calls: self.calls.saturating_add(other.calls),
            connects: self.connects.saturating_add(other.connects),
        }
    }
}

impl Account {
    /// Takes in the hooks' counters at this time since 1970, and says what has changed, in order.
    pub fn look(&mut self, plan: &BudgetPlan, counters: Amounts, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        let period = number(plan, now);
        let more = self.seen.map_or_else(Amounts::default, |seen| counters.since(seen));
        if self.period != period {
            if self.seen.is_some() {
                changes.push(Change::Period(self.exhausted));
            }
            *self = Self { period, ..Self::default() };
        }
        // What came since the last look, half a second ago, counts for the new period.
        self.seen = Some(counters);
        self.used = self.used.plus(more);
        let amounts = self.amounts(plan);
        let share = |amount: &Amount| amount.used as f64 / amount.limit as f64;
        let most = amounts.into_iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        let Some(most) = most else { return changes };
        if !self.warned && share(&most) >= plan.warn_at {
            self.warned = true;
            changes.push(Change::Warned(most));
        }
        if !self.exhausted && most.used >= most.limit {
            self.exhausted = true;
            changes.push(Change::Exhausted(most));
        }
        changes
    }

    /// The counters at the last look.
    pub const fn seen(&self) -> Option<Amounts> {
        self.seen
    }

    /// The plan has changed: what is used may be below its limits now.
    pub fn reconsider(&mut self, plan: &BudgetPlan) {
        let amounts = self.amounts(plan);
        let reaches = |share: f64| amounts.iter().any(|a| a.used as f64 >= a.limit as f64 * share);
        self.warned &= reaches(plan.warn_at);
        self.exhausted &= reaches(1.0);
        self.released &= self.exhausted;
    }

    /// The amounts that are limited.
    pub fn amounts(&self, plan: &BudgetPlan) -> Vec<Amount> {
        let Amounts { bytes, calls, connects } = self.used;
        let amount = |name, used, limit: Option<u64>| Some(Amount { name, used, limit: limit? });
        let all = [
            amount("bytes", bytes, plan.bytes),
            amount("calls", calls, plan.calls),
            amount("connects", connects, plan.connects),
        ];
        all.into_iter().flatten().collect()
    }

    /// Whether what the plan says of a budget that is used up holds now.
    pub const fn acts(&self) -> bool {
        self.exhausted && !self.released
    }

    /// Whether it is used up, released or not.
    pub const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The operator lets it go on until the period ends; false if there was nothing to release.
    pub const fn release(&mut self) -> bool {
        let acted = self.acts();
        self.released |= acted;
        acted
    }

    /// When its period ends, since 1970.
    pub fn ends_at(&self, plan: &BudgetPlan) -> Duration {
        Duration::from_secs((self.period + 1).saturating_mul(seconds(plan)))
    }
}

fn seconds(plan: &BudgetPlan) -> u64 {
    plan.per.as_secs().max(1)
}

fn number(plan: &BudgetPlan, now: Duration) -> u64 {
    now.as_secs() / seconds(plan)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::OnExhausted;

    fn plan() -> BudgetPlan {
        BudgetPlan {
            per: Duration::from_mins(1),
            bytes: None,
            calls: Some(10),
            connects: None,
            services: Vec::new(),
            warn_at: 0.8,
            on_exhausted: OnExhausted::Block,
        }
    }

    fn calls(calls: u64) -> Amounts {
        Amounts { calls, ..Amounts::default() }
    }

    const NOW: Duration = Duration::from_mins(100);

    #[test]
    fn it_warns_once_and_ends_once_and_begins_anew() {
        let mut account = Account::default();
        assert_eq!(account.look(&plan(), calls(500), NOW), [], "what was before does not count");
        assert_eq!(account.look(&plan(), calls(507), NOW), []);
        let amount = |used| Amount { name: "calls", used, limit: 10 };
        assert_eq!(account.look(&plan(), calls(508), NOW), [Change::Warned(amount(8))]);
        assert_eq!(account.look(&plan(), calls(509), NOW), []);
        assert_eq!(account.look(&plan(), calls(512), NOW), [Change::Exhausted(amount(12))]);
        assert!(account.acts());
        assert_eq!(account.ends_at(&plan()), NOW + Duration::from_mins(1));
        let next = NOW + Duration::from_mins(1);
        assert_eq!(account.look(&plan(), calls(513), next), [Change::Period(true)]);
        assert_eq!(account.amounts(&plan()), [amount(1)]);
        assert!(!account.acts());
    }

    #[test]
    fn a_release_holds_until_the_period_ends() {
        let mut account = Account::default();
        account.look(&plan(), calls(0), NOW);
        assert!(!account.release(), "there is nothing to release");
        account.look(&plan(), calls(10), NOW);
        assert!(account.release() && !account.acts() && account.is_exhausted());
        account.look(&plan(), calls(100), NOW);
        assert!(!account.acts());
        let next = NOW + Duration::from_mins(1);
        account.look(&plan(), calls(100), next);
        account.look(&plan(), calls(110), next);
        assert!(account.acts(), "the next period has its own");
    }

    #[test]
    fn a_higher_limit_lets_it_go_on() {
        let mut account = Account::default();
        account.look(&plan(), calls(0), NOW);
        account.look(&plan(), calls(10), NOW);
        account.release();
        account.reconsider(&plan());
        assert!(account.is_exhausted() && !account.acts(), "nothing has changed");
        account.reconsider(&BudgetPlan { calls: Some(11), ..plan() });
        assert!(!account.is_exhausted() && account.warned);
        account.look(&plan(), calls(11), NOW);
        assert!(account.acts(), "the release was for what is over");
    }

    proptest! {
        /// However counters grow and begin anew, what is used is what they grew by.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_u64..50, any::<bool>()), 0..60)) {
            let mut account = Account::default();
            account.look(&plan(), calls(0), NOW);
            let (mut counter, mut grown) = (0, 0);
            for (more, anew) in steps {
                if anew {
                    account.look(&plan(), calls(0), NOW);
                    counter = 0;
                }
                counter += more;
                grown += more;
                account.look(&plan(), calls(counter), NOW);
            }
            prop_assert_eq!(account.used.calls, grown);
            prop_assert_eq!(account.is_exhausted(), grown >= 10);
        }
    }
}
