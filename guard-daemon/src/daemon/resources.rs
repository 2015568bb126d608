//! Limits of bulkheads on the host: set, looked after, taken back.
//!
//! What is set is written to the undo log first, with what the file said before. What somebody else
//! writes later is reported and left: two that fight over a file help nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    /// By cgroup and file.
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
                    let now = std::fs::read_to_string(path.join(&file)).unwrap_or_default();
                    let found = Set { id, before, value: set, ticket };
                    let place = (path, file);
                    // Two for one file: it died between the second's intention and its write.
                    match book.set.remove(&place) {
                        Some(first) if first.id == id && now.trim() == first.value => {
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
                Some(format!("bulkhead {bulkhead}: {key} {} is {text}", record.value))
            })
        })
    }
}

fn settle(undo: &mut UndoLog, ticket: Ticket) {
    if let Err(error) = undo.done(ticket) {
        tracing::warn!(%error, "undo log not updated");
    }
}

fn record(setting: &Setting, state: &str, refusal: Option<Refusal>) -> LimitRecord {
    let Refusal { why, cure } =
        refusal.unwrap_or(Refusal { why: String::new(), cure: String::new() });
    LimitRecord {
        resource: setting.key.to_owned(),
        value: setting.value.clone(),
        limit: setting.number,
        state: state.to_owned(),
        why,
        cure,
        remark: String::new(),
    }
}

impl State {
    /// Sets the limits of a bulkhead as configuration and pressure want them, takes back what is not
    /// wanted any more, and writes down how each stands. May be called at any time.
    fn set_limits(&mut self, plan: &BulkheadPlan) {
        let Some(live) = self.bulkheads.get(&plan.name) else { return };
        let (path, id) = (live.cgroup.path().to_owned(), live.cgroup.id());
        let mut wanted = limits::settings(&plan.limits);
        if self.monitor() {
            let records = wanted.iter().map(|setting| record(setting, "monitor", None)).collect();
            self.limits.records.insert(plan.name.clone(), records);
            self.lift(|(place, _)| *place == path);
            return;
        }
        // Asking every process for its name is for bulkheads that have limits.
        let shared = if wanted.is_empty() {
            Vec::new()
        } else {
            live.cgroup.shared_infrastructure().unwrap_or_default()
        };
        let mut records = Vec::new();
        if let Some((pid, name)) = shared.first() {
            let refusal = Refusal {
                why: format!(
                    "process {pid} ({name}) in it serves others too, and the limit would hit all of \
                     them"
                ),
                cure: format!("run the agent alone in it: guardctl exec {} -- CMD", plan.name),
            };
            let refused = wanted.drain(..);
            records.extend(refused.map(|s| record(&s, "not_enforced", Some(refusal.clone()))));
        }
        let pressing = self.limits.pressing.get(&plan.name).cloned().unwrap_or_default();
        let configured = wanted.clone();
        for setting in pressing {
            wanted.retain(|other| other.file != setting.file);
            wanted.push(setting);
        }
        self.lift(|(place, file)| {
            *place == path && !wanted.iter().any(|setting| setting.file == *file)
        });
        for setting in &wanted {
            let result = self.set_one(plan, &path, id, setting);
            // Pressure's own values are no limits of the configuration.
            let Some(own) = configured.iter().find(|own| own.file == setting.file) else {
                if let Err((_, refusal)) = result {
                    let Refusal { why, cure } = refusal;
                    tracing::warn!(
                        bulkhead = plan.name,
                        file = setting.file,
                        why,
                        cure,
                        "a stage of the pressure plan has no effect"
                    );
                }
                continue;
            };
            records.push(match result {
                Ok(()) => record(own, "enforced", None),
                Err((state, refusal)) => record(own, state, Some(refusal)),
            });
        }
        // What is counted from here on is told: nobody was above a limit that was not there.
        if !self.limits.seen.contains_key(&plan.name)
            && let Some(live) = self.bulkheads.get(&plan.name)
        {
            self.limits.seen.insert(plan.name.clone(), live.cgroup.usage());
        }
        self.remark(plan, &mut records);
        self.limits.records.insert(plan.name.clone(), records);
    }

    /// Sets one value; else how it stands, and why.
    fn set_one(
        &mut self,
        plan: &BulkheadPlan,
        path: &Path,
        id: u64,
        setting: &Setting,
    ) -> Result<(), (&'static str, Refusal)> {
        let not = |refusal| ("not_enforced", refusal);
        let Self { limits: book, undo, bulkheads, hierarchy, root, .. } = self;
        let Some(live) = bulkheads.get(&plan.name) else { return Ok(()) };
        if !setting.controller.is_empty() {
            let switched = &mut book.switched;
            limits::switch_on(
                hierarchy,
                root,
                &plan.cgroup,
                setting.controller,
                &mut |path, id| {
                    let controller = setting.controller.to_owned();
                    // Journalled already, by a try that the kernel refused then.
                    if switched.iter().any(|(p, i, c, _)| p == path && *i == id && *c == controller)
                    {
                        return Ok(());
                    }
                    let entry = Undo::ControllerOn {
                        path: path.to_owned(),
                        id,
                        controller: controller.clone(),
                    };
                    let ticket = undo.intend(entry).map_err(|e| e.to_string())?;
                    switched.push((path.to_owned(), id, controller, ticket));
                    Ok(())
                },
            )
            .map_err(not)?;
        }
        let now = live.cgroup.value(setting.file).map_err(|errno| {
            not(Refusal {
                why: format!("{}/{} cannot be read: {errno}", path.display(), setting.file),
                cure: "use a kernel that has this file; if the cgroup was removed, guardctl reload"
                    .into(),
            })
        })?;
        let place = (path.to_owned(), setting.file.to_owned());
        let mine = book.set.get(&place).filter(|set| set.id == id);
        let before = match mine {
            Some(set) if set.value == setting.value && now == setting.value => return Ok(()),
            Some(set) if set.value == setting.value => {
                let refusal = Refusal {
                    why: format!("\"{now}\" now: somebody has changed {} since", setting.file),
                    cure: "change the configuration instead; it is set again when guardd starts"
                        .into(),
                };
                return Err(("changed", refusal));
            }
            Some(set) => set.before.clone(),
            None => now,
        };
        live.cgroup.would_harm(setting).map_err(not)?;
        let intended = undo.intend(Undo::CgroupValue {
            path: path.to_owned(),
            id,
            file: setting.file.to_owned(),
            before: before.clone(),
            set: setting.value.clone(),
        });
        let ticket = intended.map_err(|error| {
            not(Refusal {
                why: format!("its undo could not be journalled: {error}"),
                cure: "make room in daemon.state_dir".into(),
            })
        })?;
        if let Err(refusal) = live.cgroup.set_value(setting) {
            settle(undo, ticket);
            return Err(not(refusal));
        }
        let set = Set { id, before, value: setting.value.clone(), ticket };
        if let Some(old) = book.set.insert(place, set) {
            settle(undo, old.ticket);
        }
        Ok(())
    }

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
            let path = live.cgroup.path().to_owned();
            self.lift(|(place, _)| *place == path);
        }
    }

    /// Takes back what an earlier guardd set for cgroups that are no bulkheads any more.
    fn lift_limits_of_others(&mut self) {
        let own: Vec<_> =
            self.bulkheads.values().map(|live| live.cgroup.path().to_owned()).collect();
        self.lift(|(place, _)| !own.contains(place));
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

    /// What is odd about limits that are enforced.
    fn remark(&self, plan: &BulkheadPlan, records: &mut [LimitRecord]) {
        let Some(live) = self.bulkheads.get(&plan.name) else { return };
        let memory = limits::memory_of_host();
        for record in records.iter_mut().filter(|record| record.state == "enforced") {
            match record.resource.as_str() {
                "memory_max" | "memory_high" if memory.is_some_and(|m| record.limit > m as f64) => {
                    record.remark = "above the memory of this host, so it is never reached".into();
                }
                "pids_max" => {
                    let running = live.cgroup.value("pids.current").ok();
                    let running: Option<u64> = running.and_then(|text| text.parse().ok());
                    if let Some(running) = running.filter(|n| *n as f64 > record.limit) {
                        record.remark =
                            format!("{running} run already: no new one until there are fewer");
                    }
                }
                _ => {}
            }
        }
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
        let LimitRecord { resource, value, state, why, cure, remark, .. } = record;
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
                if let Err(Refusal { why, cure }) = able.and_then(|()| harmless()) {
                    let (name, key) = (&bulkhead.name, setting.key);
                    problems.push(format!(
                        "bulkhead {name}: {key} cannot be enforced, because {why}; cure: {cure}"
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(DaemonError::Limits(problems)) }
    }
}
