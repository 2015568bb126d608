//! Limits of bulkheads on the host: set, looked after, taken back.
//!
//! What is set is written to the undo log first, with what the file said before. What somebody else
//! writes later is reported and left: two that fight over a file help nobody.

mod record;
mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::bulkheads::LiveBulkhead;
use super::error::DaemonError;
use super::state::{Guard, State};
use crate::cgroup::limits::{self, Refusal, Restored, Setting, Usage};
use crate::control::api::LimitRecord;
use crate::journal::{Entry, Ticket, Undo, UndoLog};
use crate::plan::{BulkheadPlan, Plan};

/// File of the stage that must never outlive its daemon.
const FREEZE: &str = "cgroup.freeze";

/// A value that guard has set.
#[derive(Debug)]
struct Set {
    id: u64,
    before: String,
    value: String,
    ticket: Ticket,
}

/// Everything that guard has set, and how each limit stands.
#[derive(Debug, Default)]
pub(crate) struct LimitBook {
    /// By cgroup and place in its files ([`Setting::place`]).
    set: BTreeMap<(PathBuf, String), Set>,
    /// Controllers switched on: cgroup, its id, controller.
    switched: Vec<(PathBuf, u64, String, Ticket)>,
    /// How the limits stand, by bulkhead.
    records: BTreeMap<String, Vec<LimitRecord>>,
    /// What pressure asks for beside the configuration, by bulkhead.
    pub(super) pressing: BTreeMap<String, Vec<Setting>>,
    /// The last look at each bulkhead with limits.
    pub(super) seen: BTreeMap<String, Usage>,
    /// Times that a bulkhead was above a limit that monitor mode did not set.
    pub(crate) would_have: u64,
}

/// Whether an entry of the undo log is a limit that the next guardd may take over. What pressure did
/// to a bulkhead never is: nobody would be there to take it back.
pub(super) fn is_kept(what: &Undo) -> bool {
    match what {
        Undo::CgroupValue { file, .. } => file != FREEZE,
        Undo::ControllerOn { .. } => true,
        _ => false,
    }
}

impl LimitBook {
    /// A value that pressure asks for; it takes the place of the configuration's.
    pub(super) fn press(&mut self, bulkhead: &str, setting: Setting) {
        let pressing = self.pressing.entry(bulkhead.to_owned()).or_default();
        pressing.retain(|other| other.file != setting.file);
        pressing.push(setting);
    }

    /// Takes over what an earlier guardd has set.
    pub(super) fn take_over(undo: &mut UndoLog) -> Self {
        let mut book = Self::default();
        for Entry { ticket, what, same_boot } in undo.open_entries() {
            if !same_boot {
                continue;
            }
            match what {
                Undo::ControllerOn { path, id, controller } => {
                    book.switched.push((path, id, controller, ticket));
                }
                Undo::CgroupValue { path, id, file, before, set } => {
                    let now = limits::standing(&path, &file).unwrap_or_default();
                    let found = Set { id, before, value: set, ticket };
                    let place = (path, file);
                    // Two for one file: it died between the second's intention and its write.
                    match book.set.remove(&place) {
                        Some(first) if first.id == id && now == first.value => {
                            settle(undo, found.ticket);
                            book.set.insert(place, first);
                        }
                        Some(first) => {
                            settle(undo, first.ticket);
                            book.set.insert(place, found);
                        }
                        None => {
                            book.set.insert(place, found);
                        }
                    }
                }
                _ => {}
            }
        }
        book
    }

    /// How the limits of a bulkhead stand.
    pub(crate) fn records(&self, bulkhead: &str) -> &[LimitRecord] {
        self.records.get(bulkhead).map_or(&[], Vec::as_slice)
    }

    /// What is not as the configuration wants it, one line each.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.records.iter().flat_map(|(bulkhead, records)| {
            records.iter().filter_map(move |record| {
                let (key, why) = (&record.resource, &record.why);
                let text = match record.state.as_str() {
                    "not_enforced" => {
                        format!("not enforced, because {why}; cure: {}", record.cure)
                    }
                    "changed" => format!("{why}; cure: {}", record.cure),
                    _ => return None,
                };
                Some(format!("bulkhead {bulkhead}: {key} {} is {text}", record.shown()))
            })
        })
    }
}

fn settle(undo: &mut UndoLog, ticket: Ticket) {
    if let Err(error) = undo.done(ticket) {
        tracing::warn!(%error, "undo log not updated");
    }
}

impl State {
    /// Takes back the values of these places (cgroup, file).
    fn lift(&mut self, wanted: impl Fn(&(PathBuf, String)) -> bool) {
        let places: Vec<_> =
            self.limits.set.keys().filter(|place| wanted(place)).cloned().collect();
        for place in places {
            let Some(set) = self.limits.set.remove(&place) else { continue };
            let (path, file) = &place;
            match limits::restore(path, set.id, file, &set.before, &set.value) {
                Ok(Restored::Restored | Restored::Gone) => settle(&mut self.undo, set.ticket),
                Ok(Restored::Others(now)) => {
                    tracing::warn!(cgroup = %path.display(), file, now, "changed by somebody since; left");
                    settle(&mut self.undo, set.ticket);
                }
                Err(error) => {
                    tracing::error!(cgroup = %path.display(), file, %error,
                        "a limit stays; it is tried again");
                    self.limits.set.insert(place, set);
                }
            }
        }
    }

    /// Takes back what was set for a bulkhead that goes.
    pub(super) fn lift_limits(&mut self, bulkhead: &str) {
        self.limits.records.remove(bulkhead);
        self.limits.pressing.remove(bulkhead);
        self.limits.seen.remove(bulkhead);
        if let Some(live) = self.bulkheads.get(bulkhead) {
            let paths: Vec<_> = live.cgroups().map(|cgroup| cgroup.path().to_owned()).collect();
            self.lift(|(path, _)| paths.contains(path));
        }
    }

    /// Takes back what was set for cgroups that a pattern does not match any more.
    pub(super) fn lift_limits_at(&mut self, paths: &[PathBuf]) {
        self.lift(|(path, _)| paths.contains(path));
    }

    /// Takes back what an earlier guardd set for cgroups that are no bulkheads any more.
    fn lift_limits_of_others(&mut self) {
        let cgroups = self.bulkheads.values().flat_map(LiveBulkhead::cgroups);
        let own: BTreeSet<_> = cgroups.map(|cgroup| cgroup.path().to_owned()).collect();
        self.lift(|(path, _)| !own.contains(path));
    }

    /// Takes back everything, controllers last.
    pub(super) fn lift_all_limits(&mut self) {
        self.lift(|_| true);
        self.limits.records.clear();
    }

    /// Switches controllers off again; after the bulkheads' cgroups are gone. Returns what stays.
    pub(super) fn switch_off_controllers(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for (path, id, controller, ticket) in
            std::mem::take(&mut self.limits.switched).into_iter().rev()
        {
            match limits::switch_off(&path, id, &controller) {
                Ok(_) => settle(&mut self.undo, ticket),
                Err(why) => {
                    left.push(format!("the controller {controller} stays switched on: {why}"));
                    self.limits.switched.push((path, id, controller, ticket));
                }
            }
        }
        left
    }
}

impl Guard {
    /// Sets all limits, and tells what has changed since the last time.
    pub(super) fn set_all_limits(&self, state: &mut State) {
        for plan in state.plan.bulkheads.clone() {
            self.set_limits_of(state, &plan);
        }
        state.lift_limits_of_others();
    }

    /// Sets the limits of those bulkheads that have any: some wait until there is room, and others
    /// may have been changed by somebody.
    pub(super) fn look_after_limits(&self, state: &mut State) {
        let plans: Vec<_> =
            state.plan.bulkheads.iter().filter(|p| p.has_limits()).cloned().collect();
        for plan in plans {
            self.set_limits_of(state, &plan);
        }
    }

    /// Sets the limits of one bulkhead and tells what has changed.
    pub(super) fn set_limits_of(&self, state: &mut State, plan: &BulkheadPlan) {
        let old = state.limits.records(&plan.name).to_vec();
        state.set_limits(plan);
        for new in state.limits.records(&plan.name) {
            let before = old.iter().find(|record| record.resource == new.resource);
            let same = |r: &LimitRecord| {
                (&r.state, &r.value, &r.remark) == (&new.state, &new.value, &new.remark)
            };
            if before.is_none_or(|before| !same(before)) {
                self.tell_limit(&plan.name, new);
            }
        }
    }

    fn tell_limit(&self, bulkhead: &str, record: &LimitRecord) {
        let LimitRecord { resource, state, why, cure, remark, .. } = record;
        let value = record.shown();
        let (kind, message) = match state.as_str() {
            "enforced" if remark.is_empty() => ("limit_set", format!("{resource} is {value}")),
            "enforced" => ("limit_set", format!("{resource} is {value}: {remark}")),
            "changed" => ("limit_changed", format!("{resource} {value} is {why}; {cure}")),
            "monitor" => return,
            _ => (
                "limit_not_enforced",
                format!("{resource} {value} is not enforced, because {why}; cure: {cure}"),
            ),
        };
        if kind == "limit_set" && remark.is_empty() {
            tracing::info!(bulkhead, "{message}");
        } else {
            tracing::warn!(bulkhead, "{message}");
        }
        self.events.note(kind, |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            event.message = message;
        });
    }
}

impl State {
    /// With `daemon.strict`, whether every limit of the plan in force is enforced.
    pub(super) fn insist_on_limits(&self) -> Result<(), DaemonError> {
        let problems: Vec<_> = self.limits.problems().collect();
        if self.plan.daemon.strict && !self.monitor() && !problems.is_empty() {
            return Err(DaemonError::Limits(problems));
        }
        Ok(())
    }

    /// With `daemon.strict` in a new plan, whether its limits could be enforced, as far as can be seen
    /// without touching anything.
    pub(super) fn foresee_limits(&self, new: &Plan) -> Result<(), DaemonError> {
        if !new.daemon.strict || new.daemon.mode == crate::plan::Mode::Monitor {
            return Ok(());
        }
        let mut problems = Vec::new();
        for bulkhead in &new.bulkheads {
            for setting in limits::settings(&bulkhead.limits) {
                let able = limits::check_controller(
                    &self.hierarchy,
                    &self.root,
                    &bulkhead.cgroup,
                    setting.controller,
                );
                let live = self.bulkheads.get(&bulkhead.name);
                let harmless = || live.map_or(Ok(()), |live| live.cgroup.would_harm(&setting));
                let placed = || setting.place().map(drop);
                let result = able.and_then(|()| placed()).and_then(|()| harmless());
                if let Err(Refusal { why, cure }) = result {
                    let (name, key) = (&bulkhead.name, setting.name());
                    problems.push(format!(
                        "bulkhead {name}: {key} cannot be enforced, because {why}; cure: {cure}"
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(DaemonError::Limits(problems)) }
    }
}
