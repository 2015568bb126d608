//! Which planned time is to be acted on now. It starts nothing; it writes down what is done with before
//! anybody can start it.

use std::path::PathBuf;

use jiff::{Timestamp, Zoned};

use super::memory;
use super::table::Due;
use crate::daemon::state::Guard;
use crate::schedule::{Busy, Decision, decide};

impl Guard {
    /// What is to be started now; everything else that is due is noted. What is returned has been
    /// written down as done with, so that it cannot be returned again.
    pub(super) fn due_now(&self, now: &Zoned, is_running: bool) -> Option<Due> {
        let mut state = self.lock();
        let busy = if state.faults.halted().is_some() {
            Some(Busy::Halted)
        } else {
            (is_running || state.drill.is_some()).then_some(Busy::Drill)
        };
        let plans = state.plan.schedules.clone();
        let schedules = &mut state.schedules;
        let mut is_changed = schedules.take(&plans, now);
        let mut due = None;
        for plan in plans.iter().filter(|plan| plan.enabled) {
            let busy = busy.or(due.as_ref().map(|_| Busy::Drill));
            let (Some(known), Some(live)) =
                (schedules.memory.get_mut(&plan.name), schedules.live.get_mut(&plan.name))
            else {
                continue;
            };
            let planned = plan.calendar.previous(now);
            let was_waiting = live.waiting.take();
            let decision =
                decide(now.timestamp(), planned, known.handled, was_waiting, &plan.rules, busy);
            let done = match decision {
                Decision::Nothing => None,
                Decision::Wait(planned) => {
                    live.waiting = Some(planned);
                    None
                }
                Decision::Start(planned) => {
                    due = Some(Due { plan: plan.clone(), planned });
                    Some(planned)
                }
                Decision::Skip(planned, why) => {
                    self.note_skip(&plan.name, planned, why.words());
                    Some(planned)
                }
            };
            if let Some(gone) =
                was_waiting.filter(|gone| Some(*gone) != done && live.waiting != Some(*gone))
            {
                self.note_skip(&plan.name, gone, "the next planned time has come");
            }
            if let Some(done) = done {
                known.handled = done;
                is_changed = true;
            }
        }
        if is_changed && let Err(error) = memory::write(&schedules.state_dir, &schedules.memory) {
            let directory = schedules.state_dir.display();
            tracing::error!(%directory, %error, "planned times that are done with cannot be written down");
            if let Some(due) = due.take() {
                // A restart would run it again.
                self.note_skip(&due.plan.name, due.planned, "guardd's state cannot be written");
            }
        }
        schedules.running = match (&due, is_running) {
            (Some(due), _) => Some(due.plan.name.clone()),
            (None, true) => schedules.running.take(),
            (None, false) => None,
        };
        due
    }

    fn note_skip(&self, name: &str, planned: Timestamp, why: &str) {
        tracing::warn!(schedule = name, %planned, why, "scheduled drill left out");
        self.events.note("drill_skipped", |event| {
            event.message = format!("{name}, planned for {planned}: {why}");
        });
    }

    /// Where a guardctl finds this guardd.
    pub(super) fn control_socket(&self) -> PathBuf {
        self.lock().plan.daemon.control_socket.clone()
    }
}
