//! When a bulkhead goes to the next stage of its pressure plan, and when a stage is taken back.
//! Pure decisions: it reads no file and acts on nothing.

use std::time::{Duration, Instant};

use crate::cgroup::limits::Usage;
use crate::plan::{LimitsPlan, PressurePlan, Stage};

#[cfg(test)]
mod tests;

/// How a bulkhead stands to its thresholds.
#[derive(Clone, Debug, PartialEq)]
pub enum Level {
    /// Below all of them by the margin.
    Calm,
    /// Neither calm nor above.
    Between,
    /// Above at least one: which, in words.
    Above(String),
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Stay,
    /// This stage comes in addition to those before it; one that kills may come again.
    Enter(Stage),
    /// This stage is taken back.
    Leave(Stage),
}

/// Where one bulkhead stands.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    /// Stages that are in force: the first so many of the plan.
    entered: usize,
    above_since: Option<Instant>,
    calm_since: Option<Instant>,
}

impl Ladder {
    /// The stages in force, mild to severe.
    pub fn in_force<'a>(&self, plan: &'a PressurePlan) -> &'a [Stage] {
        &plan.stages[..self.entered.min(plan.stages.len())]
    }

    /// What is to be done at this level; the answer counts as done.
    pub fn step(&mut self, plan: &PressurePlan, level: &Level, now: Instant) -> Move {
        // The plan may have become shorter.
        self.entered = self.entered.min(plan.stages.len());
        let over = |since: Option<Instant>, least: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= least)
        };
        match level {
            Level::Above(_) => {
                self.calm_since = None;
                self.above_since.get_or_insert(now);
                if !over(self.above_since, plan.lasting) {
                    return Move::Stay;
                }
                self.above_since = Some(now);
                // At the end of the plan only what kills comes again.
                if self.entered == plan.stages.len()
                    && plan.stages.last().is_none_or(|stage| *stage < Stage::KillNewest)
                {
                    return Move::Stay;
                }
                self.entered = (self.entered + 1).min(plan.stages.len());
                match self.entered.checked_sub(1).and_then(|last| plan.stages.get(last)) {
                    Some(stage) => Move::Enter(*stage),
                    None => Move::Stay,
                }
            }
            Level::Between => {
                (self.above_since, self.calm_since) = (None, None);
                Move::Stay
            }
            Level::Calm => {
                self.above_since = None;
                self.calm_since.get_or_insert(now);
                if self.entered == 0 || !over(self.calm_since, plan.calm_for) {
                    return Move::Stay;
                }
                self.calm_since = Some(now);
                self.entered -= 1;
                plan.stages.get(self.entered).map_or(Move::Stay, |stage| Move::Leave(*stage))
            }
        }
    }

    /// A stage that cannot be left behind yet is tried once more before the next one comes.
    pub fn again(&mut self) {
        self.entered = self.entered.saturating_sub(1);
    }

    /// Back to the beginning.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// How a bulkhead stands: its usage against the thresholds of the plan. What cannot be read is below
/// every threshold.
pub fn level(plan: &PressurePlan, limits: &LimitsPlan, usage: &Usage) -> Level {
    let share = match (usage.memory_bytes, limits.memory_max) {
        (Some(used), Some(max)) if max > 0 => Some(used as f64 / max as f64 * 100.0),
        _ => None,
    };
    let stalls = usage.pressure.map(|pressure| pressure.map(|pressure| pressure.some.avg10));
    let values = [share, stalls[0], stalls[1], stalls[2]];
    let mut calm = true;
    for ((name, threshold), value) in plan.thresholds().into_iter().zip(values) {
        let (Some(threshold), Some(value)) = (threshold, value) else { continue };
        if value > threshold {
            return Level::Above(format!("{name} {threshold}%: {value:.1}%"));
        }
        calm &= value < threshold * plan.calm_share;
    }
    if calm { Level::Calm } else { Level::Between }
}
