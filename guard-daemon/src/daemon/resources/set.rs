//! Setting the limits of one bulkhead: in its own cgroup, and in those of others that its pattern
//! matches. What is set is written to the undo log first, with what was there before.
//!
//! In a cgroup of others no controller is switched on, and a limit of its maker's that is as strict
//! as the bulkhead's, or stricter, stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::record::{record, sum_up};
use super::{Set, settle};
use crate::cgroup::Bulkhead;
use crate::cgroup::limits::{self, Refusal, Setting};
use crate::control::api::LimitRecord;
use crate::daemon::bulkheads::LiveBulkhead;
use crate::daemon::state::State;
use crate::journal::Undo;
use crate::plan::BulkheadPlan;

/// How a limit stands that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// By guard.
    Set,
    /// By the maker of the cgroup.
    Theirs,
}

/// How it stands, and why.
pub(super) type Standing = Result<Held, (&'static str, Refusal)>;

/// A cgroup that gets limits.
struct Target {
    path: PathBuf,
    id: u64,
    /// The bulkhead's own.
    own: bool,
    /// Why it gets none.
    refused: Option<Refusal>,
}

/// What is to be done about one value in one cgroup.
enum Next {
    Nothing(Held),
    /// It says this, and is to be written.
    Write(String),
}

/// A value that is to be written.
struct Write {
    target: usize,
    setting: usize,
    place: String,
    before: String,
}

fn not(why: impl Into<String>, cure: impl Into<String>) -> (&'static str, Refusal) {
    ("not_enforced", Refusal { why: why.into(), cure: cure.into() })
}

impl LiveBulkhead {
    fn cgroup_at(&self, target: &Target) -> Option<&Bulkhead> {
        self.cgroups().find(|cgroup| cgroup.id() == target.id && cgroup.path() == target.path)
    }

    fn targets(&self, plan: &BulkheadPlan, look: bool) -> Vec<Target> {
        let cgroups = self.cgroups().enumerate();
        let targets = cgroups.map(|(index, cgroup)| Target {
            path: cgroup.path().to_owned(),
            id: cgroup.id(),
            own: index == 0,
            // Asking every process for its name is for bulkheads that have limits.
            refused: look.then(|| serves_others(cgroup, plan)).flatten(),
        });
        targets.collect()
    }
}

fn serves_others(cgroup: &Bulkhead, plan: &BulkheadPlan) -> Option<Refusal> {
    let shared = cgroup.shared_infrastructure().unwrap_or_default();
    let (pid, name) = shared.first()?;
    Some(Refusal {
        why: format!(
            "process {pid} ({name}) in it serves others too, and the limit would hit all of them"
        ),
        cure: format!("run the agent alone in it: guardctl exec {} -- CMD", plan.name),
    })
}

impl State {
    /// Sets the limits of a bulkhead as configuration and pressure want them, takes back what is not
    /// wanted any more, and writes down how each stands. May be called at any time.
    pub(super) fn set_limits(&mut self, plan: &BulkheadPlan) {
        let configured = limits::settings(&plan.limits);
        let Some(live) = self.bulkheads.get(&plan.name) else { return };
        let targets = live.targets(plan, !configured.is_empty() && !self.monitor());
        if self.monitor() {
            let records = configured.iter().map(|s| record(s, "monitor", None)).collect();
            self.limits.records.insert(plan.name.clone(), records);
            self.lift(|(path, _)| targets.iter().any(|target| target.path == *path));
            return;
        }
        let pressing = self.limits.pressing.get(&plan.name).cloned().unwrap_or_default();
        let mut records: Vec<LimitRecord> = Vec::new();
        let of_own = self.set_in(plan, &targets[..1], &configured, &pressing);
        let of_matches = self.set_in(plan, &targets[1..], &configured, &[]);
        for (index, setting) in configured.iter().enumerate() {
            let own = of_own.first().map_or(Ok(Held::Set), |of_own| of_own[index].clone());
            let matches = of_matches.iter().zip(&targets[1..]);
            let matches: Vec<_> =
                matches.map(|(of_one, target)| (target.path.as_path(), &of_one[index])).collect();
            records.push(sum_up(setting, own, plan.pattern.is_some().then_some(&matches)));
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

    /// Sets the values in these cgroups, with one wait for the disk; `pressing` beside what is
    /// configured, and in place of it. For each cgroup how each configured value stands.
    fn set_in(
        &mut self,
        plan: &BulkheadPlan,
        targets: &[Target],
        configured: &[Setting],
        pressing: &[Setting],
    ) -> Vec<Vec<Standing>> {
        let pressed = |file: &str| pressing.iter().find(|setting| setting.file == file);
        let more = pressing.iter().filter(|s| !configured.iter().any(|own| own.file == s.file));
        let wanted: Vec<&Setting> =
            configured.iter().map(|own| pressed(own.file).unwrap_or(own)).chain(more).collect();
        let places: Vec<Result<String, Refusal>> = wanted.iter().map(|s| s.place()).collect();
        let by_path: BTreeMap<&Path, &Target> =
            targets.iter().map(|target| (target.path.as_path(), target)).collect();
        self.lift(|(path, place)| {
            by_path.get(path.as_path()).is_some_and(|target| {
                let kept = places.iter().any(|at| at.as_ref() == Ok(place));
                !kept || (target.refused.is_some() && pressed(place).is_none())
            })
        });
        let mut standings = Vec::new();
        let mut writes = Vec::new();
        for (target_index, target) in targets.iter().enumerate() {
            let mut of_one: Vec<Standing> = Vec::new();
            for (index, setting) in wanted.iter().copied().enumerate() {
                let refused = target.refused.clone().filter(|_| pressed(setting.file).is_none());
                let next = match (&places[index], refused) {
                    (_, Some(refusal)) => Err(("not_enforced", refusal)),
                    (Err(refusal), None) => Err(("not_enforced", refusal.clone())),
                    (Ok(place), None) if places[..index].contains(&places[index]) => Err(not(
                        format!("another entry limits {place} too: both mean one disk"),
                        "write all limits of a disk in one entry of `io_max`",
                    )),
                    (Ok(place), None) => self.decide(plan, target, setting, place),
                };
                of_one.push(next.map(|next| match next {
                    Next::Nothing(held) => held,
                    Next::Write(before) => {
                        let place = places[index].clone().unwrap_or_default();
                        writes.push(Write { target: target_index, setting: index, place, before });
                        Held::Set
                    }
                }));
            }
            standings.push(of_one);
        }
        self.write_all(plan, targets, &wanted, writes, &mut standings);
        for of_one in &mut standings {
            for (setting, standing) in
                wanted[configured.len()..].iter().zip(&of_one[configured.len()..])
            {
                if let Err((_, Refusal { why, cure })) = standing {
                    let (bulkhead, file) = (&plan.name, setting.file);
                    tracing::warn!(bulkhead, file, why, cure, "pressure's own value has no effect");
                }
            }
            of_one.truncate(configured.len());
        }
        standings
    }

    /// What one value needs.
    fn decide(
        &mut self,
        plan: &BulkheadPlan,
        target: &Target,
        setting: &Setting,
        place: &str,
    ) -> Result<Next, (&'static str, Refusal)> {
        if target.own && !setting.controller.is_empty() {
            self.switch_on(plan, setting.controller)
                .map_err(|refusal| ("not_enforced", refusal))?;
        }
        let live = self.bulkheads.get(&plan.name);
        let Some(cgroup) = live.and_then(|live| live.cgroup_at(target)) else {
            return Err(not("its cgroup is gone", "guardctl reload"));
        };
        let shown = target.path.display();
        let now = cgroup.value_at(place).map_err(|errno| {
            if errno == nix::errno::Errno::ENOENT && !target.own {
                return not(
                    format!(
                        "{shown}/{place} is not there: its maker does not hand {} down",
                        setting.controller
                    ),
                    "limit it where it is made: MemoryMax= of the unit, docker run --memory",
                );
            }
            not(
                format!("{shown}/{place} cannot be read: {errno}"),
                "use a kernel that has this file; if the cgroup was removed, guardctl reload",
            )
        })?;
        let key = (target.path.clone(), place.to_owned());
        let mine = self.limits.set.get(&key).filter(|set| set.id == target.id);
        let before = match mine {
            Some(set) if set.value == setting.value && now == setting.value => {
                return Ok(Next::Nothing(Held::Set));
            }
            Some(set) if set.value == setting.value => {
                let why = format!("\"{now}\" now: somebody has changed {place} since");
                let cure = "change the configuration instead; it is set again when guardd starts";
                return Err(("changed", Refusal { why, cure: cure.into() }));
            }
            Some(set) => set.before.clone(),
            None => now,
        };
        if !target.own && setting.holds_already(&before) {
            self.lift(|place| *place == key);
            return Ok(Next::Nothing(Held::Theirs));
        }
        cgroup.would_harm(setting).map_err(|refusal| ("not_enforced", refusal))?;
        Ok(Next::Write(before))
    }

    /// Gives the bulkhead's own cgroup a controller.
    fn switch_on(&mut self, plan: &BulkheadPlan, controller: &str) -> Result<(), Refusal> {
        let Self { limits: book, undo, hierarchy, root, .. } = self;
        let switched = &mut book.switched;
        limits::switch_on(hierarchy, root, &plan.cgroup, controller, &mut |path, id| {
            let controller = controller.to_owned();
            // Journalled already, by a try that the kernel refused then.
            if switched.iter().any(|(p, i, c, _)| p == path && *i == id && *c == controller) {
                return Ok(());
            }
            let (path, of) = (path.to_owned(), controller.clone());
            let entry = Undo::ControllerOn { path: path.clone(), id, controller: of };
            let ticket = undo.intend(entry).map_err(|e| e.to_string())?;
            switched.push((path, id, controller, ticket));
            Ok(())
        })
    }

    /// Journals, then writes.
    fn write_all(
        &mut self,
        plan: &BulkheadPlan,
        targets: &[Target],
        wanted: &[&Setting],
        writes: Vec<Write>,
        standings: &mut [Vec<Standing>],
    ) {
        if writes.is_empty() {
            return;
        }
        let entry = |write: &Write| Undo::CgroupValue {
            path: targets[write.target].path.clone(),
            id: targets[write.target].id,
            file: write.place.clone(),
            before: write.before.clone(),
            set: wanted[write.setting].value.clone(),
        };
        let tickets = match self.undo.intend_all(writes.iter().map(entry).collect()) {
            Ok(tickets) => tickets,
            Err(error) => {
                for Write { target, setting, .. } in writes {
                    standings[target][setting] = Err(not(
                        format!("its undo could not be journalled: {error}"),
                        "make room in daemon.state_dir",
                    ));
                }
                return;
            }
        };
        let Self { limits: book, undo, bulkheads, .. } = self;
        for (Write { target, setting, place, before }, ticket) in writes.into_iter().zip(tickets) {
            let (to, value) = (&targets[target], wanted[setting]);
            let cgroup = bulkheads.get(&plan.name).and_then(|live| live.cgroup_at(to));
            if let Some(Err(refusal)) = cgroup.map(|cgroup| cgroup.set_value(&place, value)) {
                settle(undo, ticket);
                standings[target][setting] = Err(("not_enforced", refusal));
                continue;
            }
            let set = Set { id: to.id, before, value: value.value.clone(), ticket };
            if let Some(old) = book.set.insert((to.path.clone(), place), set) {
                settle(undo, old.ticket);
            }
        }
    }
}
