//! The host's budget of retries: a share of all calls, with a minimum. The hooks take from it, and
//! this fills it. A guardd that is gone fills nothing, and then nobody's retries are refused for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use guard_common::abi::limits::ONE_RETRY;
use guard_common::abi::outcome::Outcome;

use super::state::State;
use crate::kernel::Counters;
use crate::plan::RetryBudgetPlan;

/// Calls of this time count for how much may be saved up.
const MEMORY: Duration = Duration::from_secs(10);
/// How long the budget is believed after it was filled: several ticks.
const VALID: Duration = Duration::from_secs(5);

/// What was seen of calls.
#[derive(Debug, Default)]
pub(crate) struct RetryBudgetFill {
    /// Calls ever, and when they were counted; the oldest first.
    seen: VecDeque<(Instant, u64)>,
}

/// What to add, and how much there may be then; in thousandths of a retry.
#[derive(Debug, PartialEq, Eq)]
struct Filling {
    more: u64,
    most: u64,
}

impl RetryBudgetFill {
    fn fill(&mut self, plan: RetryBudgetPlan, calls: u64, now: Instant) -> Filling {
        let one = ONE_RETRY as f64;
        let in_memory = |at: &Instant| now.duration_since(*at) <= MEMORY;
        while self.seen.front().is_some_and(|(at, _)| !in_memory(at)) {
            self.seen.pop_front();
        }
        let first = self.seen.is_empty();
        let (since, before) = self.seen.back().copied().unwrap_or((now, calls));
        let oldest = self.seen.front().map_or(calls, |(_, calls)| *calls);
        self.seen.push_back((now, calls));
        let seconds = now.duration_since(since).as_secs_f64();
        // Counters begin anew where the maps do.
        let share = |since: u64| plan.share * calls.saturating_sub(since) as f64;
        let most = (one * (share(oldest) + plan.min_per_second * MEMORY.as_secs_f64())) as u64;
        let more = (one * (share(before) + plan.min_per_second * seconds)) as u64;
        // A host begins with what a quiet one has saved up.
        Filling { more: if first { most } else { more }, most }
    }
}

/// Calls that were made; what guard rejected is none.
pub(super) fn calls_made(counters: &Counters) -> u64 {
    let of = |outcome: Outcome| counters.values().map(|stats| stats.calls_of(outcome)).sum::<u64>();
    Outcome::ALL.into_iter().filter(|o| *o != Outcome::Rejected).map(of).sum()
}

impl State {
    /// Retries that are left, if any are limited.
    pub(super) fn retry_budget_left(&self) -> Option<f64> {
        let limited = self.plan.limits.limit_retries();
        limited.then(|| self.kernel.retry_budget_left() as f64 / ONE_RETRY as f64)
    }

    /// Fills the budget for the calls since the last time.
    pub(super) fn fill_retry_budget(&mut self, counters: &Counters) {
        let filling = self.retry_budget.fill(
            self.plan.limits.retry_budget,
            calls_made(counters),
            Instant::now(),
        );
        self.kernel.fill_retry_budget(filling.more, filling.most, VALID);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: RetryBudgetPlan = RetryBudgetPlan { share: 0.2, min_per_second: 10.0 };

    #[test]
    fn a_quiet_host_has_its_minimum_and_saves_ten_seconds_of_it() {
        let mut budget = RetryBudgetFill::default();
        let start = Instant::now();
        assert_eq!(budget.fill(PLAN, 500, start), Filling { more: 100_000, most: 100_000 });
        let later = start + Duration::from_millis(500);
        assert_eq!(budget.fill(PLAN, 500, later), Filling { more: 5_000, most: 100_000 });
    }

    #[test]
    fn a_fifth_of_the_calls_is_added() {
        let mut budget = RetryBudgetFill::default();
        let start = Instant::now();
        budget.fill(PLAN, 0, start);
        let second = start + Duration::from_secs(1);
        assert_eq!(budget.fill(PLAN, 1000, second), Filling { more: 210_000, most: 300_000 });
        // What was called long ago counts no more.
        let much_later = start + Duration::from_mins(1);
        assert_eq!(budget.fill(PLAN, 1000, much_later).most, 100_000);
    }
}
