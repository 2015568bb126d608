//! The schedules as they stand: which times are done with, what is due, how runs ended. It starts
//! nothing; what it decides is `crate::schedule`'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, Zoned};

use super::child::Outcome;
use super::memory::{self, Memory, Remembered};
use crate::control::api::{ScheduleStatus, ScheduledRun};
use crate::plan::SchedulePlan;
use crate::telemetry::metrics::ScheduleSample;

/// A clock that was wrong by more is not believed: it would keep a schedule silent until then.
const FUTURE: Duration = Duration::from_hours(24);

/// What runs gave, in the order of the metrics' label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Deviated,
    Inconclusive,
    /// There is none: it did not start, or it died.
    Failed,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Held, Self::Deviated, Self::Inconclusive, Self::Failed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Deviated => "deviated",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }

    /// Whether nobody needs to look.
    pub(crate) fn is_good(self) -> bool {
        self == Self::Held
    }
}

/// A drill whose time has come.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) plan: SchedulePlan,
    pub(crate) planned: Timestamp,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    pub(super) state_dir: PathBuf,
    pub(super) memory: Memory,
    pub(super) live: BTreeMap<String, Live>,
    /// The one whose drill runs.
    pub(super) running: Option<String>,
}

/// What this guardd knows of one.
#[derive(Debug, Default)]
pub(super) struct Live {
    next: Option<Timestamp>,
    pub(super) waiting: Option<Timestamp>,
    last: Option<ScheduledRun>,
    /// By [`Verdict`].
    runs: [u64; 4],
}

impl Schedules {
    /// With what an earlier guardd wrote down.
    pub(crate) fn load(state_dir: &Path) -> Self {
        let memory = memory::read(state_dir).unwrap_or_else(|error| {
            tracing::error!(%error, "what is known of schedules cannot be read: times before now are not made up for");
            Memory::new()
        });
        Self { state_dir: state_dir.to_owned(), memory, ..Self::default() }
    }

    /// Whether one waits for another drill's end.
    pub(super) fn is_waiting(&self) -> bool {
        self.live.values().any(|live| live.waiting.is_some())
    }

    /// The next planned time of all.
    pub(super) fn first_next(&self) -> Option<Timestamp> {
        self.live.values().filter_map(|live| live.next).min()
    }

    /// Notes the end of a run.
    pub(super) fn ended(&mut self, due: &Due, outcome: Outcome) {
        self.running = None;
        // A reload may have taken the schedule away.
        let Some(live) = self.live.get_mut(&due.plan.name) else { return };
        if let Some(count) = live.runs.get_mut(outcome.verdict as usize) {
            *count += 1;
        }
        live.last = Some(ScheduledRun {
            planned: due.planned.to_string(),
            ended: Timestamp::now().to_string(),
            verdict: outcome.verdict.name().to_owned(),
            exit_code: outcome.exit_code,
            why: outcome.why,
            run_id: outcome.run_id,
        });
    }

    /// Takes the schedules of the plan; whether there is something to write down. A schedule that is
    /// new, was not enabled, or has another calendar than before begins now.
    pub(super) fn take(&mut self, plans: &[SchedulePlan], now: &Zoned) -> bool {
        let before = self.memory.clone();
        let is_there = |name: &String, only_enabled: bool| {
            plans.iter().any(|plan| plan.name == *name && (plan.enabled || !only_enabled))
        };
        self.memory.retain(|name, _| is_there(name, true));
        self.live.retain(|name, _| is_there(name, false));
        for plan in plans {
            let live = self.live.entry(plan.name.clone()).or_default();
            if !plan.enabled {
                (live.next, live.waiting) = (None, None);
                continue;
            }
            live.next = plan.calendar.next(now);
            let calendar = plan.calendar.text();
            let known = self.memory.get(&plan.name).is_some_and(|known| {
                let ahead = known.handled.duration_since(now.timestamp());
                known.calendar == calendar && Duration::try_from(ahead).unwrap_or_default() < FUTURE
            });
            if !known {
                live.waiting = None;
                let remembered =
                    Remembered { calendar: calendar.to_owned(), handled: now.timestamp() };
                self.memory.insert(plan.name.clone(), remembered);
            }
        }
        before != self.memory
    }

    /// For `drill list`.
    pub(crate) fn statuses(&self, plans: &[SchedulePlan], now: &Zoned) -> Vec<ScheduleStatus> {
        let status = |plan: &SchedulePlan| {
            let live = self.live.get(&plan.name);
            let next = plan.calendar.next(now).filter(|_| plan.enabled);
            let state = match live {
                _ if self.running.as_ref() == Some(&plan.name) => "running",
                Some(live) if live.waiting.is_some() => "waiting",
                _ if !plan.enabled => "disabled",
                _ => "idle",
            };
            ScheduleStatus {
                name: plan.name.clone(),
                drill: plan.drill.display().to_string(),
                calendar: plan.calendar.text().to_owned(),
                state: state.to_owned(),
                next: next.map(|next| next.to_zoned(now.time_zone().clone()).to_string()),
                next_unix_seconds: next.map(Timestamp::as_second),
                last: live.and_then(|live| live.last.clone()),
            }
        };
        plans.iter().map(status).collect()
    }

    /// For `/metrics`.
    pub(crate) fn samples(&self, plans: &[SchedulePlan], now: &Zoned) -> Vec<ScheduleSample> {
        let sample = |plan: &SchedulePlan| {
            let runs = self.live.get(&plan.name).map_or([0; 4], |live| live.runs);
            let next = plan.calendar.next(now).filter(|_| plan.enabled);
            ScheduleSample {
                schedule: plan.name.clone(),
                next_unix_seconds: next.map(|next| next.as_second() as f64),
                runs: Verdict::ALL.map(|verdict| (verdict.name(), runs[verdict as usize])),
            }
        };
        plans.iter().map(sample).collect()
    }
}

#[cfg(test)]
mod tests;
