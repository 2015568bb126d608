//! Drills by a schedule: guardd looks at the clock and runs each that is due as a guardctl of its own.
//! It judges nothing and reads nothing of what a drill does; what ends a drill's faults is the same as
//! for a drill of a person (docs/guide/drills.md). It never runs two drills at a time.

mod child;
mod due;
mod memory;
mod table;

use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use tokio::sync::watch;

use super::state::Guard;
use crate::plan::SchedulePlan;
use child::{Child, Outcome};
pub(crate) use table::{Due, Schedules};

/// The clock may be set, and the host may sleep: it is looked at this often, or more often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while a planned time waits for another drill's end.
const WAITING_EVERY: Duration = Duration::from_secs(1);
/// A planned time has come for sure.
const AFTER: Duration = Duration::from_millis(5);

/// A drill that runs.
struct Running {
    due: Due,
    child: Child,
}

/// Runs what is due, until the stop; then what still runs is ended.
pub(super) async fn run(guard: Arc<Guard>, mut stopped: watch::Receiver<bool>) {
    let mut running: Option<Running> = None;
    check_files(&guard).await;
    loop {
        let wait = match look(&guard, running.is_some()).await {
            (Some(due), _) => {
                running = begin(&guard, due).await;
                continue;
            }
            (None, wait) => wait,
        };
        tokio::select! {
            // The only change is the stop; an error means that the sender is gone, which is one too.
            _ = stopped.changed() => break,
            () = guard.schedules_changed.notified() => check_files(&guard).await,
            outcome = ended(running.as_mut()) => {
                if let Some(Running { due, .. }) = running.take() {
                    finish(&guard, due, outcome).await;
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Some(Running { due, child }) = running {
        tracing::warn!(schedule = due.plan.name, "guardd stops: the drill ends");
        let outcome = child.stop().await;
        finish(&guard, due, outcome).await;
    }
}

/// The end of the drill that runs; never, without one.
async fn ended(running: Option<&mut Running>) -> Outcome {
    match running {
        Some(running) => running.child.ended().await,
        None => std::future::pending().await,
    }
}

/// What is due now, and when to look again. The state's lock is waited for on a thread that may block.
async fn look(guard: &Arc<Guard>, is_running: bool) -> (Option<Due>, Duration) {
    let guard = Arc::clone(guard);
    let looked = tokio::task::spawn_blocking(move || {
        let now = Zoned::now();
        let due = guard.due_now(&now, is_running);
        let state = guard.lock();
        let wait = match (state.schedules.is_waiting(), state.schedules.first_next()) {
            (true, _) => WAITING_EVERY,
            (false, Some(next)) => {
                let until = next.duration_since(Zoned::now().timestamp());
                Duration::try_from(until).unwrap_or_default().saturating_add(AFTER).min(LOOK_EVERY)
            }
            // Nothing is planned: a reload wakes it.
            (false, None) => Duration::from_hours(1),
        };
        (due, wait)
    });
    looked.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the schedules could not be looked at");
        (None, LOOK_EVERY)
    })
}

/// Starts a drill. What cannot be started is over, and counts as failed.
async fn begin(guard: &Arc<Guard>, due: Due) -> Option<Running> {
    let SchedulePlan { name, drill, .. } = &due.plan;
    let planned = due.planned;
    let socket = guard.control_socket();
    match Child::start(&socket, &due.plan) {
        Ok(child) => {
            let pid = child.pid();
            tracing::warn!(schedule = name, drill = %drill.display(), %planned, pid, "drill scheduled");
            guard.events.note("drill_scheduled", |event| {
                event.message =
                    format!("{name}: {}, planned for {planned}, pid {pid}", drill.display());
            });
            Some(Running { due, child })
        }
        Err(why) => {
            finish(guard, due, Outcome::failed(why)).await;
            None
        }
    }
}

/// Notes how a drill ended.
async fn finish(guard: &Arc<Guard>, due: Due, outcome: Outcome) {
    let name = due.plan.name.clone();
    let code = outcome.exit_code.map_or_else(|| "no exit code".to_owned(), |c| format!("exit {c}"));
    let text = format!("{name}: {}, {code}: {}", outcome.verdict.name(), outcome.why);
    let (exit_code, run_id) = (outcome.exit_code, &outcome.run_id);
    if outcome.verdict.is_good() {
        tracing::info!(schedule = name, exit_code, run_id, "scheduled drill: {text}");
    } else {
        tracing::error!(schedule = name, exit_code, run_id, "scheduled drill: {text}");
    }
    guard.events.note("drill_finished", |event| event.message = text);
    let guard = Arc::clone(guard);
    let noted = tokio::task::spawn_blocking(move || guard.lock().schedules.ended(&due, outcome));
    if let Err(error) = noted.await {
        tracing::error!(schedule = name, %error, "the end of a scheduled drill was not counted");
    }
}

/// Says now what a drill file would make fail at its planned time.
async fn check_files(guard: &Arc<Guard>) {
    let guard = Arc::clone(guard);
    let checked = tokio::task::spawn_blocking(move || {
        let schedules = guard.lock().plan.schedules.clone();
        for schedule in schedules.iter().filter(|schedule| schedule.enabled) {
            if let Err(errors) = crate::drill::file::load(&schedule.drill) {
                let drill = schedule.drill.display();
                tracing::warn!(schedule = schedule.name, %drill, "the drill cannot run as it is: {errors}");
            }
        }
    });
    if let Err(error) = checked.await {
        tracing::error!(%error, "the drill files of the schedules were not checked");
    }
}
