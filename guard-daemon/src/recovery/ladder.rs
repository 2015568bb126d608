//! Which step of a rule comes next, for one target (a bulkhead, a service, or both). A pure state
//! machine: it reads no clock, does nothing, and never has two actions under way.
//!
//! ```text
//! Quiet -> Acting(0) -> Verifying -> Resting -> Quiet
//!             ^            | not within its time
//!             '-- next ----'--> no step left, or too many in the hour -> Failed -> (well) -> Resting
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::plan::RulePlan;

const HOUR: Duration = Duration::from_hours(1);

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Quiet,
    Acting {
        step: usize,
    },
    Verifying {
        step: usize,
        until: Instant,
    },
    /// A person was called; nothing more is done until it is well.
    Failed,
    Resting {
        until: Instant,
    },
}

/// The ladder of one target.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    phase: Phase,
    /// When recoveries began, within the last hour.
    begun: VecDeque<Instant>,
    /// When a person was called because these were too many.
    called: Option<Instant>,
    well_since: Option<Instant>,
}

/// What is known of the target at a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether the detectors fire; `None` = too little is known.
    pub sick: Option<bool>,
    /// Whether the verification holds; `None` = too little is known.
    pub verified: Option<bool>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Stay,
    /// An incident begins, with step 0.
    Begin,
    /// An incident begins, and nothing may be done any more this hour: call a person, unless that was
    /// done already. What comes and goes every few seconds is told once, not each time.
    BeginAboveLimit {
        /// Whether to call.
        call: bool,
    },
    /// The step before did not help: take this one.
    Next(usize),
    /// It is well; after this step, or by itself.
    Recovered(Option<usize>),
    /// The last step did not help: call a person.
    GiveUp,
}

impl Ladder {
    /// A ladder of an incident that an earlier daemon has left open: it may only end.
    pub fn of_open_incident() -> Self {
        Self { phase: Phase::Failed, ..Self::default() }
    }

    /// One look. After `Begin` and `Next`, [`Ladder::acted`] must follow.
    pub fn look(&mut self, rule: &RulePlan, look: Look, now: Instant) -> Order {
        self.count_down(rule, look, now);
        match self.phase {
            Phase::Quiet if look.sick == Some(true) => {
                if self.begun.len() >= rule.max_per_hour {
                    self.phase = Phase::Failed;
                    let call = self.called.is_none_or(|at| now.duration_since(at) >= HOUR);
                    if call {
                        self.called = Some(now);
                    }
                    return Order::BeginAboveLimit { call };
                }
                self.begun.push_back(now);
                self.phase = Phase::Acting { step: 0 };
                Order::Begin
            }
            Phase::Verifying { step, .. } if look.verified == Some(true) => {
                self.rest(rule, now);
                Order::Recovered(Some(step))
            }
            Phase::Verifying { step, until } if now >= until => {
                // Nothing happens any more: neither a good call nor a sign of sickness. Of processes that
                // do not run that says nothing.
                let silent = look.verified.is_none() && look.sick != Some(true);
                if silent && !rule.holds_still(step) {
                    self.rest(rule, now);
                    return Order::Recovered(Some(step));
                }
                self.after(rule, step)
            }
            Phase::Failed if look.verified == Some(true) => {
                self.rest(rule, now);
                Order::Recovered(None)
            }
            Phase::Resting { until } if now >= until => {
                self.phase = Phase::Quiet;
                Order::Stay
            }
            _ => Order::Stay,
        }
    }

    fn after(&mut self, rule: &RulePlan, step: usize) -> Order {
        if step + 1 < rule.steps.len() {
            self.phase = Phase::Acting { step: step + 1 };
            Order::Next(step + 1)
        } else {
            self.phase = Phase::Failed;
            Order::GiveUp
        }
    }

    fn rest(&mut self, rule: &RulePlan, now: Instant) {
        self.phase = Phase::Resting { until: now + rule.cooldown };
    }

    fn count_down(&mut self, rule: &RulePlan, look: Look, now: Instant) {
        while self.begun.front().is_some_and(|at| now.duration_since(*at) >= HOUR) {
            self.begun.pop_front();
        }
        let quiet = matches!(self.phase, Phase::Quiet | Phase::Resting { .. });
        if look.sick == Some(true) || !quiet {
            self.well_since = None;
            return;
        }
        let since = *self.well_since.get_or_insert(now);
        if now.duration_since(since) >= rule.reset_after {
            self.begun.clear();
            self.called = None;
        }
    }

    /// The action of the step under way has ended: its verification begins. `skip`: it was not done,
    /// so that there is nothing to wait for.
    pub fn acted(&mut self, rule: &RulePlan, skip: bool, now: Instant) {
        if let Phase::Acting { step } = self.phase {
            let within = if skip { Duration::ZERO } else { rule.verify.within };
            self.phase = Phase::Verifying { step, until: now + within };
        }
    }

    /// Whether an action is under way.
    pub fn is_acting(&self) -> bool {
        matches!(self.phase, Phase::Acting { .. })
    }

    /// Whether an incident goes on.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Acting { .. } | Phase::Verifying { .. } | Phase::Failed)
    }

    /// The step that was reached, if an incident goes on.
    pub fn reached(&self) -> Option<usize> {
        match self.phase {
            Phase::Acting { step } | Phase::Verifying { step, .. } => Some(step),
            Phase::Failed => Some(usize::MAX),
            Phase::Quiet | Phase::Resting { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Action, Detector, StepPlan, VerifyPlan};

    const SICK: Look = Look { sick: Some(true), verified: Some(false) };
    const WELL: Look = Look { sick: Some(false), verified: Some(true) };
    const SILENT: Look = Look { sick: None, verified: None };

    fn rule(steps: usize, max_per_hour: usize) -> RulePlan {
        let step = StepPlan::plain(Action::FlushDns, Duration::from_secs(1));
        RulePlan {
            name: "r".into(),
            bulkhead: None,
            service: None,
            detectors: vec![Detector::SuccessRateBelow(0.8)],
            all: true,
            window: Duration::from_secs(30),
            min_calls: 10,
            steps: vec![step; steps],
            verify: VerifyPlan { success_rate_above: None, within: Duration::from_secs(10) },
            cooldown: Duration::from_secs(15),
            max_per_hour,
            reset_after: Duration::from_mins(10),
            allow_repeat: false,
            dry_run: false,
        }
    }

    #[test]
    fn steps_follow_each_other_until_one_helps() {
        let (rule, start) = (rule(3, 6), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ladder = Ladder::default();
        assert_eq!(ladder.look(&rule, SILENT, at(0)), Order::Stay);
        assert_eq!(ladder.look(&rule, SICK, at(0)), Order::Begin);
        assert_eq!(ladder.look(&rule, SICK, at(5)), Order::Stay, "its action is under way");
        ladder.acted(&rule, false, at(5));
        assert_eq!(ladder.look(&rule, SICK, at(14)), Order::Stay);
        assert_eq!(ladder.look(&rule, SICK, at(15)), Order::Next(1));
        ladder.acted(&rule, false, at(16));
        assert_eq!(ladder.look(&rule, WELL, at(17)), Order::Recovered(Some(1)));
        assert_eq!(ladder.look(&rule, SICK, at(20)), Order::Stay, "it rests");
        assert_eq!(ladder.look(&rule, SICK, at(33)), Order::Stay);
        assert_eq!(ladder.look(&rule, SICK, at(34)), Order::Begin);
    }

    #[test]
    fn what_does_not_help_ends_and_is_told_once() {
        let (rule, start) = (rule(1, 6), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ladder = Ladder::default();
        ladder.look(&rule, SICK, at(0));
        ladder.acted(&rule, false, at(0));
        assert_eq!(ladder.look(&rule, SICK, at(10)), Order::GiveUp);
        for seconds in 11..5000 {
            assert_eq!(ladder.look(&rule, SICK, at(seconds)), Order::Stay);
        }
        assert!(ladder.is_open());
        assert_eq!(ladder.look(&rule, WELL, at(5000)), Order::Recovered(None));
        assert!(!ladder.is_open());
    }

    #[test]
    fn a_step_that_was_skipped_is_not_waited_for() {
        let (rule, now) = (rule(2, 6), Instant::now());
        let mut ladder = Ladder::default();
        ladder.look(&rule, SICK, now);
        ladder.acted(&rule, true, now);
        assert_eq!(ladder.look(&rule, SICK, now), Order::Next(1));
    }

    #[test]
    fn what_comes_and_goes_above_the_limit_calls_a_person_once() {
        let (rule, start) = (rule(1, 1), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ladder = Ladder::default();
        assert_eq!(ladder.look(&rule, SICK, at(0)), Order::Begin);
        ladder.acted(&rule, false, at(0));
        assert_eq!(ladder.look(&rule, WELL, at(1)), Order::Recovered(Some(0)));
        let mut begun = Vec::new();
        for seconds in 2..3000 {
            let look = if seconds % 40 < 20 { SICK } else { WELL };
            if let Order::BeginAboveLimit { call } = ladder.look(&rule, look, at(seconds)) {
                begun.push(call);
            }
        }
        assert!(begun.len() > 50, "{begun:?}");
        assert_eq!(begun.iter().filter(|call| **call).count(), 1);
        assert!(begun[0]);
        // Healthy for long enough, it counts from the beginning.
        for seconds in 3000..3700 {
            ladder.look(&rule, WELL, at(seconds));
        }
        assert_eq!(ladder.look(&rule, SICK, at(3700)), Order::Begin);
    }

    #[test]
    fn the_silence_of_frozen_processes_heals_nothing() {
        let freeze = StepPlan::plain(Action::Freeze, Duration::from_secs(1));
        let thaw = StepPlan { action: Action::Thaw, ..freeze.clone() };
        let start = Instant::now();
        let until = start + Duration::from_secs(10);
        let after = |steps: Vec<StepPlan>| {
            let rule = RulePlan { steps, ..rule(1, 6) };
            let mut ladder = Ladder::default();
            ladder.look(&rule, SICK, start);
            ladder.acted(&rule, false, start);
            let first = ladder.look(&rule, SILENT, until);
            ladder.acted(&rule, false, until);
            (first, ladder.look(&rule, SILENT, until + Duration::from_secs(10)))
        };
        assert_eq!(after(vec![freeze.clone()]).0, Order::GiveUp);
        let healed = (Order::Next(1), Order::Recovered(Some(1)));
        assert_eq!(after(vec![freeze, thaw]), healed);
    }

    proptest! {
        /// Whatever happens: no more recoveries in an hour than allowed, no two actions at once, each
        /// incident begins before it ends.
        #[test]
        fn healing_is_bounded(
            looks in prop::collection::vec((0_u64..120, 0_usize..4, any::<bool>()), 1..400),
            max in 1_usize..5,
        ) {
            let rule = RulePlan { reset_after: Duration::from_hours(100), ..rule(3, max) };
            let mut ladder = Ladder::default();
            let mut now = Instant::now();
            let (mut begun, mut open, mut acting) = (Vec::new(), false, false);
            for (seconds, look, acts) in looks {
                now += Duration::from_secs(seconds);
                if acting && acts {
                    ladder.acted(&rule, false, now);
                    acting = false;
                }
                let half = Look { sick: Some(true), verified: Some(true) };
                match ladder.look(&rule, [SICK, WELL, SILENT, half][look], now) {
                    Order::Stay => {}
                    Order::Begin => {
                        prop_assert!(!open && !acting);
                        (open, acting) = (true, true);
                        begun.push(now);
                    }
                    Order::BeginAboveLimit { .. } => {
                        prop_assert!(!open && !acting);
                        open = true;
                    }
                    Order::Next(step) => {
                        prop_assert!(open && !acting && step < 3);
                        acting = true;
                    }
                    Order::Recovered(_) => {
                        prop_assert!(open && !acting);
                        open = false;
                    }
                    Order::GiveUp => prop_assert!(open && !acting),
                }
                prop_assert_eq!(ladder.is_open(), open);
                let recent = begun.iter().filter(|at| now.duration_since(**at) < HOUR).count();
                prop_assert!(recent <= max, "{recent} in an hour");
            }
        }
    }
}
