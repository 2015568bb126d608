//! Whether and when an agent that has ended is started again. Pure: time and chance are given.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// After which ends an agent is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// After every end.
    Always,
    /// After a crash: a signal, an exit code other than 0, a failed health check.
    OnFailure,
    /// Never.
    Never,
}

impl Restart {
    /// Its word in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "always" => Some(Self::Always),
            "on_failure" => Some(Self::OnFailure),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// How an agent is started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// After which ends.
    pub restart: Restart,
    /// Pause before the first restart.
    pub delay: Duration,
    /// Longest pause: it doubles with each restart.
    pub max_delay: Duration,
    /// Restarts within `limit_window` after which it gives up.
    pub limit: u32,
    /// Over which they are counted.
    pub limit_window: Duration,
    /// An agent that ran for so long was well: the pause begins anew.
    pub reset_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::OnFailure,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(1),
            limit: 5,
            limit_window: Duration::from_mins(10),
            reset_after: Duration::from_mins(10),
        }
    }
}

/// What becomes of an agent that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is started again after a pause.
    Again(Duration),
    /// It stays ended: the policy says so.
    Stay,
    /// It stays ended: it was started too often.
    GiveUp,
}

/// What the policy has to remember.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// When restarts were decided, since any fixed moment.
    restarts: VecDeque<Duration>,
    /// Restarts since it was well.
    in_a_row: u32,
}

impl Tracker {
    /// The agent has ended at `now` after it `ran`. `random` is 0 to 1: the pause is half to all
    /// of what it is by the number of restarts.
    pub fn ended(
        &mut self,
        policy: &Policy,
        crashed: bool,
        now: Duration,
        ran: Duration,
        random: f64,
    ) -> Decision {
        match policy.restart {
            Restart::Never => return Decision::Stay,
            Restart::OnFailure if !crashed => return Decision::Stay,
            _ => {}
        }
        if ran >= policy.reset_after {
            self.in_a_row = 0;
        }
        let begin = now.saturating_sub(policy.limit_window);
        while self.restarts.front().is_some_and(|at| now >= policy.limit_window && *at < begin) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= policy.limit as usize {
            return Decision::GiveUp;
        }
        self.restarts.push_back(now);
        let doubled = policy.delay.saturating_mul(2_u32.saturating_pow(self.in_a_row.min(31)));
        self.in_a_row = self.in_a_row.saturating_add(1);
        let pause = doubled.min(policy.max_delay.max(policy.delay));
        Decision::Again(pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_healthy_time() {
        let policy = Policy { limit: 1000, max_delay: SECOND * 10, ..Policy::default() };
        let mut tracker = Tracker::default();
        let mut pause = |now: u64, ran: u64| match tracker.ended(
            &policy,
            true,
            SECOND * now as u32,
            SECOND * ran as u32,
            1.0,
        ) {
            Decision::Again(pause) => pause.as_secs(),
            other => unreachable!("{other:?}"),
        };
        let pauses: Vec<u64> = (0..6).map(|n| pause(n, 0)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pause(1000, 600), 1);
        assert_eq!(pause(1001, 1), 2);
    }

    #[test]
    fn it_gives_up_at_the_limit_and_only_within_the_window() {
        let policy = Policy { limit: 3, limit_window: SECOND * 60, ..Policy::default() };
        let mut tracker = Tracker::default();
        let mut end = |now: u32| tracker.ended(&policy, true, SECOND * now, SECOND, 0.5);
        for now in [0, 10, 20] {
            assert!(matches!(end(now), Decision::Again(_)));
        }
        assert_eq!(end(30), Decision::GiveUp);
        assert!(matches!(end(61), Decision::Again(_)), "the first is out of the window");
        assert_eq!(end(62), Decision::GiveUp);
    }

    #[test]
    fn which_ends_are_followed_by_a_start() {
        for (restart, crashed, again) in [
            (Restart::Always, false, true),
            (Restart::Always, true, true),
            (Restart::OnFailure, false, false),
            (Restart::OnFailure, true, true),
            (Restart::Never, false, false),
            (Restart::Never, true, false),
        ] {
            let policy = Policy { restart, ..Policy::default() };
            let decision = Tracker::default().ended(&policy, crashed, SECOND, SECOND, 0.0);
            assert_eq!(matches!(decision, Decision::Again(_)), again, "{restart:?} {crashed}");
        }
    }

    proptest! {
        /// Never more restarts in any window than the limit, never a pause out of its range.
        #[test]
        fn healing_is_bounded(
            limit in 1_u32..8,
            ends in proptest::collection::vec((0_u64..40, 0_u64..40, 0.0_f64..1.0), 1..200),
        ) {
            let policy = Policy {
                limit, limit_window: SECOND * 60, reset_after: SECOND * 30, ..Policy::default()
            };
            let mut tracker = Tracker::default();
            let mut restarts: Vec<Duration> = Vec::new();
            let mut now = Duration::ZERO;
            for (wait, ran, random) in ends {
                now += Duration::from_secs(wait);
                let ran = Duration::from_secs(ran);
                if let Decision::Again(pause) = tracker.ended(&policy, true, now, ran, random) {
                    prop_assert!(pause >= policy.delay / 2 && pause <= policy.max_delay);
                    restarts.push(now);
                    let within = restarts.iter().filter(|at| **at + policy.limit_window > now);
                    prop_assert!(within.count() <= limit as usize);
                }
            }
        }
    }
}
