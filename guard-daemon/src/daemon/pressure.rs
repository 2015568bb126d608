//! What is done to a bulkhead that presses against its resources, stage by stage, and how it is
//! taken back. Never touched: processes that serve others, and the bulkhead's first process but by
//! the last stage. Nothing of it outlives guardd's end, whatever `daemon.on_exit` says.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::state::{Guard, State};
use crate::cgroup::limits::{self, Usage};
use crate::plan::{BulkheadPlan, PressurePlan, Stage};
use crate::pressure::{Ladder, Level, Move, level};

/// Where each bulkhead with a pressure plan stands, under which plan.
#[derive(Debug, Default)]
pub(crate) struct Ladders {
    by_bulkhead: BTreeMap<String, (PressurePlan, Ladder)>,
    /// Times that a stage came, by bulkhead.
    entered: BTreeMap<(String, Stage), u64>,
    /// What a refused connect gets, by bulkhead.
    refusing: BTreeMap<String, Errno>,
}

impl Ladders {
    /// Whether new connections of any bulkhead are refused.
    pub(super) fn any_refused(&self) -> bool {
        !self.refusing.is_empty()
    }
}

impl Guard {
    /// One look at one bulkhead.
    pub(super) fn press(&self, state: &mut State, plan: &BulkheadPlan, usage: &Usage) {
        let Some(pressure) = &plan.pressure else { return };
        let known = state.ladders.by_bulkhead.get(&plan.name);
        if known.is_some_and(|(before, _)| before != pressure) {
            self.end_pressure_of(state, &plan.name, "the configuration has changed");
        }
        let (_, ladder) = state
            .ladders
            .by_bulkhead
            .entry(plan.name.clone())
            .or_insert_with(|| (pressure.clone(), Ladder::default()));
        let level = level(pressure, &plan.limits, usage);
        match ladder.step(pressure, &level, std::time::Instant::now()) {
            Move::Stay => {}
            Move::Enter(stage) => {
                let why = if let Level::Above(why) = level { why } else { String::new() };
                self.enter(state, plan, pressure, stage, usage, &why);
            }
            Move::Leave(stage) => self.leave(state, plan, stage, "calm again"),
        }
    }

    fn enter(
        &self,
        state: &mut State,
        plan: &BulkheadPlan,
        pressure: &PressurePlan,
        stage: Stage,
        usage: &Usage,
        why: &str,
    ) {
        let name = &plan.name;
        if state.monitor() {
            state.limits.would_have += 1;
            self.note_stage("would_have", name, format!("would have: {stage} ({why})"));
            return;
        }
        let result = match Self::spared(state, name, stage) {
            Some(why) => Err(why),
            None => self.act(state, plan, pressure, stage, usage),
        };
        match result {
            Ok(what) => {
                *state.ladders.entered.entry((name.clone(), stage)).or_default() += 1;
                self.note_stage("pressure_stage", name, format!("{stage}: {what} ({why})"));
            }
            Err(reason) => {
                self.note_stage("pressure_stage_skipped", name, format!("{stage}: {reason}"));
            }
        }
    }

    /// Why this stage is not for this bulkhead.
    fn spared(state: &State, name: &str, stage: Stage) -> Option<String> {
        if stage == Stage::Refuse {
            return None;
        }
        state.shared_by(name)
    }

    /// Does it; what was done, or why not.
    fn act(
        &self,
        state: &mut State,
        plan: &BulkheadPlan,
        pressure: &PressurePlan,
        stage: Stage,
        usage: &Usage,
    ) -> Result<String, String> {
        let name = &plan.name;
        match stage {
            Stage::Throttle => {
                let whole = plan.limits.memory_max.or(usage.memory_bytes);
                let whole = whole.ok_or("memory.high needs the controller memory")?;
                let mut bytes = (whole as f64 * pressure.throttle_to / 100.0) as u64;
                bytes = bytes.min(plan.limits.memory_high.unwrap_or(bytes));
                let setting = limits::throttle(bytes);
                let text = format!("memory.high is {}", setting.value);
                state.limits.press(name, setting.clone());
                self.set_limits_of(state, plan);
                if state.bulkheads.get(name).and_then(|live| live.cgroup.value(setting.file).ok())
                    != Some(setting.value)
                {
                    return Err("memory.high could not be set; the log says why".into());
                }
                Ok(text)
            }
            Stage::Refuse => {
                state.refuse_connects(name, Some(pressure.errno))?;
                Ok(format!("new connections get {:?}", pressure.errno))
            }
            Stage::Freeze => {
                state.limits.press(name, limits::frozen());
                self.set_limits_of(state, plan);
                let frozen =
                    state.bulkheads.get(name).and_then(|l| l.cgroup.value("cgroup.freeze").ok());
                if frozen.as_deref() != Some("1") {
                    return Err("cgroup.freeze could not be set; the log says why".into());
                }
                Ok("no process of it runs".into())
            }
            Stage::KillNewest => {
                let live = state.bulkheads.get(name).ok_or("it is gone")?;
                let victims = live.cgroup.youngest_first();
                let (pid, start) =
                    *victims.first().ok_or("nobody is left but its first process")?;
                let command = std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .map(|text| text.trim_end().to_owned())
                    .unwrap_or_default();
                live.cgroup
                    .kill_one(pid, start)
                    .map_err(|error| format!("process {pid} ({command}): {error}"))?;
                if victims.len() > 1
                    && let Some((_, ladder)) = state.ladders.by_bulkhead.get_mut(name)
                {
                    ladder.again();
                }
                Ok(format!("process {pid} ({command}) killed"))
            }
            Stage::Kill => {
                let live = state.bulkheads.get(name).ok_or("it is gone")?;
                let count = live.cgroup.subtree_procs().map_or(0, |procs| procs.count());
                live.cgroup.kill_all().map_err(|error| format!("cgroup.kill: {error}"))?;
                // Whoever comes next starts afresh, not frozen.
                self.end_pressure_of(state, name, "all its processes were killed");
                Ok(format!("killed, processes: {count}"))
            }
        }
    }

    fn leave(&self, state: &mut State, plan: &BulkheadPlan, stage: Stage, why: &str) {
        let name = &plan.name;
        match stage {
            Stage::Throttle | Stage::Freeze => {
                let file = if stage == Stage::Freeze { "cgroup.freeze" } else { "memory.high" };
                if let Some(pressing) = state.limits.pressing.get_mut(name) {
                    pressing.retain(|setting| setting.file != file);
                }
                self.set_limits_of(state, plan);
            }
            Stage::Refuse => {
                if let Err(error) = state.refuse_connects(name, None) {
                    tracing::error!(bulkhead = name, error, "new connections are still refused");
                }
            }
            // What was killed stays so.
            Stage::KillNewest | Stage::Kill => return,
        }
        if !state.monitor() {
            self.note_stage("pressure_relieved", name, format!("{stage} taken back: {why}"));
        }
    }

    /// Takes back all stages of a bulkhead.
    fn end_pressure_of(&self, state: &mut State, name: &str, why: &str) {
        let Some((pressure, mut ladder)) = state.ladders.by_bulkhead.remove(name) else { return };
        let stages = ladder.in_force(&pressure).to_vec();
        ladder.reset();
        let plan = state.plan.bulkhead(name).cloned();
        for stage in stages.into_iter().rev() {
            if let Some(plan) = &plan {
                self.leave(state, plan, stage, why);
            }
        }
    }

    /// Takes back all stages of all bulkheads.
    pub(super) fn end_pressure(&self, state: &mut State) {
        let names: Vec<_> = state.ladders.by_bulkhead.keys().cloned().collect();
        for name in names {
            self.end_pressure_of(state, &name, "guardd stops");
        }
    }

    /// Takes back the stages of bulkheads that have no pressure plan any more, or are gone.
    pub(super) fn drop_ladders(&self, state: &mut State) {
        let with_plan =
            |name: &String| state.plan.bulkhead(name).is_some_and(|plan| plan.pressure.is_some());
        let names: Vec<_> =
            state.ladders.by_bulkhead.keys().filter(|name| !with_plan(name)).cloned().collect();
        for name in names {
            self.end_pressure_of(state, &name, "it has no pressure plan any more");
        }
    }

    fn note_stage(&self, kind: &str, bulkhead: &str, message: String) {
        tracing::warn!(bulkhead, kind, "{message}");
        self.events.note(kind, |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            event.message = message;
        });
    }
}

impl State {
    /// Refuses new connections of a bulkhead, or lets them pass again.
    fn refuse_connects(&mut self, bulkhead: &str, errno: Option<Errno>) -> Result<(), String> {
        let id = self.bulkheads.get(bulkhead).ok_or("it is gone")?.id;
        match errno {
            Some(errno) => self.ladders.refusing.insert(bulkhead.to_owned(), errno),
            None => self.ladders.refusing.remove(bulkhead),
        };
        self.kernel.set_pressure(id, errno.map(|e| e as u32)).map_err(|e| e.to_string())?;
        self.write_control().map_err(|e| e.to_string())
    }

    /// Says again which new connections are refused, before the kernel forgets it.
    pub(super) fn renew_refusals(&mut self) {
        for (name, errno) in &self.ladders.refusing {
            let Some(live) = self.bulkheads.get(name) else { continue };
            if let Err(error) = self.kernel.set_pressure(live.id, Some(*errno as u32)) {
                tracing::error!(bulkhead = name, %error, "new connections will pass again");
            }
        }
    }

    /// Connections refused so far under pressure; 0 too if it was never asked for.
    pub(super) fn refused_under_pressure(&self, id: u32) -> u64 {
        self.kernel.pressure_refused(id).unwrap_or(0)
    }

    /// The stages in force, mild to severe.
    pub(super) fn stages_of(&self, bulkhead: &str) -> Vec<Stage> {
        let known = self.ladders.by_bulkhead.get(bulkhead);
        known.map(|(plan, ladder)| ladder.in_force(plan).to_vec()).unwrap_or_default()
    }

    /// For each stage of the plan whether it is in force, and how often it came.
    pub(super) fn stage_samples(&self, bulkhead: &str) -> Vec<(&'static str, bool, u64)> {
        let Some((plan, ladder)) = self.ladders.by_bulkhead.get(bulkhead) else {
            return Vec::new();
        };
        let count = |stage: Stage| {
            self.ladders.entered.get(&(bulkhead.to_owned(), stage)).copied().unwrap_or(0)
        };
        plan.stages
            .iter()
            .map(|stage| (stage.name(), ladder.in_force(plan).contains(stage), count(*stage)))
            .collect()
    }
}
