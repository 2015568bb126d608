//! What is left of runs whose main process has ended: reported after a while, and, if the
//! configuration says so, ended. Never in a cgroup that guard did not make, and never beside a
//! process that serves others too: that is looked up right before each signal.

use std::time::{Duration, Instant};

use super::process::names;
use super::{Place, Run, Stage, State, place_text};
use crate::cgroup::End;
use crate::daemon::state::Guard;

impl Guard {
    /// Looks at every run.
    pub(super) fn look_at_runs(&self, now: Instant) {
        let mut state = self.lock();
        let places: Vec<Place> = state.members.runs.keys().cloned().collect();
        for place in places {
            self.look_at_run(&mut state, &place, now);
        }
        state.save_mains();
    }

    fn look_at_run(&self, state: &mut State, place: &Place, now: Instant) {
        let Some(run) = state.members.runs.get_mut(place) else { return };
        run.mains.retain(super::Main::runs);
        if !run.mains.is_empty() {
            run.settle();
            return;
        }
        let pids = match state.pids_of(place) {
            Ok(pids) => pids,
            Err(error) => {
                tracing::warn!(%error, "orphans cannot be looked up");
                return;
            }
        };
        let Some(run) = state.members.runs.get_mut(place) else { return };
        if pids.is_empty() {
            run.settle();
            run.joined = false;
            if run.sub.is_some() {
                state.drop_run_if_empty(place);
            } else {
                state.members.runs.remove(place);
            }
            return;
        }
        // Nobody joined: somebody else put them here.
        if run.joined {
            self.look_at_orphans(state, place, &pids, now);
        }
    }

    fn look_at_orphans(&self, state: &mut State, place: &Place, pids: &[u32], now: Instant) {
        let rules = state.plan.bulkhead(&place.0).map(|plan| plan.orphans).unwrap_or_default();
        let Some(run) = state.members.runs.get_mut(place) else { return };
        let since = now.saturating_duration_since(*run.ended.get_or_insert(now));
        if since < rules.after {
            return;
        }
        run.orphans = pids.len() as u64;
        let stage = run.stage;
        let next = match stage {
            Stage::Quiet => {
                self.note_orphans("orphans", place, pids, &format!("left {}", seconds(since)));
                Stage::Reported
            }
            Stage::Reported | Stage::Spared if rules.end => {
                self.ask_to_end(state, place, pids, stage, now)
            }
            Stage::Asked(at) if now.saturating_duration_since(at) >= rules.grace => {
                self.kill_orphans(state, place, pids)
            }
            // A process that cannot end (in the kernel) keeps it there.
            other => other,
        };
        if let Some(run) = state.members.runs.get_mut(place) {
            run.stage = next;
        }
    }

    fn ask_to_end(
        &self,
        state: &mut State,
        place: &Place,
        pids: &[u32],
        stage: Stage,
        now: Instant,
    ) -> Stage {
        let spared = state.why_spared(place).or_else(|| {
            let monitor = state.monitor() && stage != Stage::Spared;
            state.members.would_end += if monitor { pids.len() as u64 } else { 0 };
            state.monitor().then(|| "guard only monitors, and would have ended them".to_owned())
        });
        if let Some(why) = spared {
            if stage != Stage::Spared {
                self.note_orphans("orphans_spared", place, pids, &why);
            }
            return Stage::Spared;
        }
        match state.cgroup_of(place).map(|cgroup| cgroup.signal(pids, End::Asked)) {
            Some(Ok(count)) => {
                self.note_orphans("orphans_ended", place, pids, &format!("SIGTERM to {count}"));
                Stage::Asked(now)
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "orphans stay");
                stage
            }
            None => stage,
        }
    }

    fn kill_orphans(&self, state: &State, place: &Place, pids: &[u32]) -> Stage {
        if let Some(why) = state.why_spared(place) {
            self.note_orphans("orphans_spared", place, pids, &why);
            return Stage::Spared;
        }
        let Some(cgroup) = state.cgroup_of(place) else { return Stage::Quiet };
        // The kernel's own kill takes all cgroups below, with the runs in them.
        let alone = !place.1.is_empty()
            || !cgroup.has_inner()
                && state.members.of(&place.0).all(|(_, run)| {
                    run.sub.as_ref().is_none_or(|sub| matches!(sub.cgroup.populated(), Ok(false)))
                });
        let killed = if alone { cgroup.kill() } else { cgroup.signal(pids, End::Forced).map(drop) };
        match killed {
            Ok(()) => self.note_orphans("orphans_ended", place, pids, "SIGKILL"),
            Err(error) => tracing::warn!(%error, "orphans stay"),
        }
        // Signalled one by one, they may have forked meanwhile: once more, then.
        if alone { Stage::Killed } else { Stage::Reported }
    }

    fn note_orphans(&self, kind: &str, place: &Place, pids: &[u32], what: &str) {
        let message = format!("{}: {what}: {}", place_text(place), names(pids));
        tracing::warn!(kind, "{message}");
        self.events.note(kind, |event| {
            event.bulkhead.clone_from(&place.0);
            event.pid = pids.first().copied();
            event.message = message;
        });
    }
}

impl Run {
    /// There are no orphans (any more).
    fn settle(&mut self) {
        (self.ended, self.stage, self.orphans) = (None, Stage::Quiet, 0);
    }
}

impl State {
    /// Why nothing in this cgroup may be ended. When in doubt, nothing.
    fn why_spared(&self, place: &Place) -> Option<String> {
        let Some(cgroup) = self.cgroup_of(place) else { return Some("its cgroup is gone".into()) };
        if !self.is_ours(cgroup) {
            return Some("guard did not make their cgroup, and ends nothing there".into());
        }
        match cgroup.shared_infrastructure() {
            Err(error) => Some(error.to_string()),
            Ok(shared) => shared.first().map(|(pid, name)| {
                format!("process {pid} ({name}) in the same cgroup serves others too")
            }),
        }
    }
}

fn seconds(since: Duration) -> String {
    format!("{:.1}s after their main process ended", since.as_secs_f64())
}
