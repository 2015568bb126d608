//! Checkpoints of agents: at their times, for operators, and as actions of recoveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::change::{busy, refuse};
use super::freeze::AgentFreezer;
use super::{Guard, boot_id, sub_of};
use crate::checkpoint::{self, Freezer, Restored, Saved, Settings};
use crate::control::Peer;
use crate::control::api::{CheckpointAction, CheckpointRequest, Checkpoints, ErrorBody};
use crate::plan::AgentPlan;
use crate::recovery::{ActionResult, Outcome};
use crate::supervise::{State, alive};

/// Pause between two looks at what is due.
const LOOK: Duration = Duration::from_millis(500);
/// The same without any agent that has checkpoints.
const IDLE: Duration = Duration::from_secs(5);

impl Guard {
    /// Makes checkpoints at their times, one after the other, until `stop`.
    pub(crate) fn checkpoint_until(self: &Arc<Self>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let agents = self.lock().plan.agents.clone();
            for agent in &agents {
                let Some(plan) = &agent.checkpoint else { continue };
                let now = Instant::now();
                let due = {
                    let mut book = self.agents.lock();
                    let at = *book.due.entry(agent.name.clone()).or_insert(now + plan.every);
                    // A shorter pause after a reload holds at once.
                    let due = at.min(now + plan.every) <= now;
                    if due {
                        book.due.insert(agent.name.clone(), now + plan.every);
                    }
                    due
                };
                let report = self.report_of(&agent.name, boot_id());
                let runs = report.is_some_and(|r| r.state == State::Running && alive(r.supervisor));
                // What does not run does not change; a crash is followed by a restore.
                if due && runs && !stop.load(Ordering::Relaxed) {
                    drop(self.save_checkpoint(agent));
                }
            }
            let any = agents.iter().any(|agent| agent.checkpoint.is_some());
            std::thread::park_timeout(if any { LOOK } else { IDLE });
        }
    }

    fn settings_of(&self, agent: &AgentPlan) -> Result<Settings, ErrorBody> {
        let Some(plan) = &agent.checkpoint else {
            let help = format!("add [agents.{}.checkpoint] with its state paths", agent.name);
            return refuse(format!("agent {} has no checkpoints configured", agent.name), &help, 2);
        };
        Ok(Settings {
            directory: self.checkpoints_dir(&agent.name),
            paths: plan.paths.clone(),
            exclude: plan.exclude.clone(),
            keep: plan.keep,
            verify: plan.verify,
            max_freeze: plan.max_freeze,
        })
    }

    /// Makes one; tells how it went.
    fn save_checkpoint(self: &Arc<Self>, agent: &AgentPlan) -> Result<Saved, ErrorBody> {
        let settings = self.settings_of(agent)?;
        let (name, bulkhead) = (&agent.name, &agent.bulkhead);
        let cgroup = {
            let state = self.lock();
            if state.monitor() {
                let help = "daemon.mode = \"enforce\"";
                return refuse("monitor mode freezes nobody".into(), help, 1);
            }
            state.bulkheads.get(bulkhead).map(|live| live.cgroup.path().join(sub_of(name)))
        };
        let freezer = cgroup.map_or(Ok(None), |path| AgentFreezer::of(self, &path));
        let result = freezer.map_err(|error| format!("not frozen: {error}")).and_then(|freezer| {
            let freezer = freezer.map(|freezer| Box::new(freezer) as Box<dyn Freezer>);
            checkpoint::save(&settings, freezer).map_err(|error| error.to_string())
        });
        let mut book = self.agents.lock();
        let counts = book.checkpoints.entry(name.clone()).or_default();
        match &result {
            Ok(saved) => {
                counts.saved += 1;
                counts.frozen += saved.frozen;
            }
            Err(_) => counts.failed += 1,
        }
        drop(book);
        let (kind, message) = match &result {
            Ok(saved) => ("checkpoint_saved", words(saved)),
            Err(error) => ("checkpoint_failed", error.clone()),
        };
        if result.is_err() {
            tracing::error!(agent = name, message, "checkpoint failed");
        } else {
            tracing::info!(agent = name, message, "checkpoint");
        }
        self.events.note(kind, |event| {
            event.bulkhead.clone_from(bulkhead);
            event.message = format!("agent {name}: {message}");
        });
        result.or_else(|error| refuse(error, "guardctl explain agents.NAME.checkpoint", 1))
    }

    /// Stops the agent, puts one back, starts the agent if it was not stopped before.
    fn restore_checkpoint(
        &self,
        agent: &AgentPlan,
        number: Option<u64>,
    ) -> Result<Restored, ErrorBody> {
        let settings = self.settings_of(agent)?;
        let name = &agent.name;
        let stopped_before = self.agent_files(name).stopped.exists();
        if checkpoint::newest(&settings.directory).is_none() {
            return refuse(format!("agent {name} has no checkpoints"), "", 1);
        }
        let result = {
            let Some(_taken) = self.agents.take_soon(name) else { return busy(name) };
            self.stop_supervisor(agent)?;
            checkpoint::restore(&settings, number)
        };
        let (kind, message) = match &result {
            Ok(restored) => ("checkpoint_restored", restored.words()),
            Err(error) => ("checkpoint_not_restored", error.to_string()),
        };
        tracing::warn!(agent = name, message, kind, "checkpoint");
        self.events.note(kind, |event| {
            event.bulkhead.clone_from(&agent.bulkhead);
            event.message = format!("agent {name}: {message}");
        });
        if !stopped_before {
            self.start_agent(agent)?;
        }
        let Ok(restored) = result else { return refuse(message, "guardctl checkpoint list", 1) };
        self.agents.lock().checkpoints.entry(name.clone()).or_default().restored += 1;
        Ok(restored)
    }

    /// For the control socket.
    pub(crate) fn checkpoints(
        self: &Arc<Self>,
        peer: &Peer,
        request: &CheckpointRequest,
    ) -> Result<Checkpoints, ErrorBody> {
        let agent = self.agent_plan(&request.target)?;
        if request.action != CheckpointAction::List {
            tracing::info!(uid = peer.uid, ?request, "checkpoint asked for");
        }
        let done = match request.action {
            CheckpointAction::List => String::new(),
            CheckpointAction::Save => words(&self.save_checkpoint(&agent)?),
            CheckpointAction::Restore => {
                let restored = self.restore_checkpoint(&agent, request.number)?;
                format!("restored: {}", restored.words())
            }
        };
        let settings = self.settings_of(&agent)?;
        let checkpoints = checkpoint::list(&settings.directory)
            .or_else(|error| refuse(error.to_string(), "", 1))?;
        Ok(Checkpoints {
            schema: "guard.checkpoints/1".into(),
            agent: agent.name,
            done,
            checkpoints,
        })
    }

    /// Makes a checkpoint of the agent of a bulkhead; an action of recoveries.
    pub(crate) fn checkpoint_agent(self: &Arc<Self>, bulkhead: &str) -> Outcome {
        self.act_on_agent(bulkhead, |agent| Ok(words(&self.save_checkpoint(agent)?)))
    }

    /// Stops the agent of a bulkhead, puts the last good checkpoint back, starts it; an action of
    /// recoveries.
    pub(crate) fn restore_agent(self: &Arc<Self>, bulkhead: &str) -> Outcome {
        self.act_on_agent(bulkhead, |agent| Ok(self.restore_checkpoint(agent, None)?.words()))
    }

    fn act_on_agent(
        &self,
        target: &str,
        work: impl FnOnce(&AgentPlan) -> Result<String, ErrorBody>,
    ) -> Outcome {
        let began = Instant::now();
        let monitor = self.lock().monitor();
        let (result, message) = match self.agent_plan(target) {
            Err(body) => (ActionResult::Skipped, body.error),
            Ok(agent) if agent.checkpoint.is_none() => {
                (ActionResult::Skipped, format!("agent {} has no checkpoints", agent.name))
            }
            Ok(agent) if monitor => (ActionResult::WouldHave, format!("agent {}", agent.name)),
            Ok(agent) => match work(&agent) {
                Ok(message) => (ActionResult::Done, message),
                Err(body) => (ActionResult::Failed, body.error),
            },
        };
        Outcome { result, message, took: began.elapsed() }
    }
}

fn words(saved: &Saved) -> String {
    let left_out = match saved.skipped.len() {
        0 => String::new(),
        n => format!("; {n} left out, the first: {}", saved.skipped[0]),
    };
    format!(
        "checkpoint {}: {} entries, {} bytes, frozen for {:.1} ms{left_out}",
        saved.number,
        saved.entries,
        saved.bytes,
        saved.frozen.as_secs_f64() * 1e3
    )
}
