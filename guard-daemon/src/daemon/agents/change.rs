//! Starting, stopping, restarting: for operators, and as actions of a recovery. Each waits, in
//! bounded time, and never with the state locked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Guard, boot_id};
use crate::control::Peer;
use crate::control::api::{AgentAction, AgentRequest, Agents, ErrorBody};
use crate::plan::AgentPlan;
use crate::recovery::{ActionResult, Outcome};
use crate::supervise::{Report, State, alive};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Beyond the agent's own stop timeout.
const GRACE: Duration = Duration::from_secs(10);
/// How long a supervisor may take to start its agent.
const START: Duration = Duration::from_secs(10);
/// Longest restart of a unit.
const UNIT: Duration = Duration::from_mins(1);

/// Asks a supervisor to end its agent and itself.
pub(super) fn ask_to_stop(report: &Report) {
    let Ok(pid) = i32::try_from(report.supervisor.0) else { return };
    if alive(report.supervisor)
        && let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM)
    {
        tracing::warn!(pid, %error, "a supervisor cannot be asked to stop");
    }
}

pub(super) fn refuse<T>(error: String, help: &str, exit_code: u8) -> Result<T, ErrorBody> {
    Err(ErrorBody { error, help: help.to_owned(), exit_code })
}

impl Guard {
    /// The agent with this name, or the only one of the bulkhead with this name.
    pub(super) fn agent_plan(&self, target: &str) -> Result<AgentPlan, ErrorBody> {
        let state = self.lock();
        let agents = &state.plan.agents;
        let of_bulkhead: Vec<_> = agents.iter().filter(|a| a.bulkhead == target).collect();
        match (agents.iter().find(|agent| agent.name == target), of_bulkhead.as_slice()) {
            (Some(agent), _) => Ok(agent.clone()),
            (None, [agent]) => Ok((*agent).clone()),
            (None, []) => refuse(
                format!("no agent is called {target}, and none runs in a bulkhead of that name"),
                "guardctl agent list; agents are defined as [agents.NAME] in guard.toml",
                2,
            ),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|a| a.name.as_str()).collect();
                let error = format!("bulkhead {target} has several agents: {}", names.join(", "));
                refuse(error, "name the agent", 2)
            }
        }
    }

    /// For the control socket.
    pub(crate) fn change_agent(
        &self,
        peer: &Peer,
        request: &AgentRequest,
    ) -> Result<Agents, ErrorBody> {
        tracing::info!(uid = peer.uid, ?request, "agents");
        let plans = match &request.name {
            Some(name) => vec![self.agent_plan(name)?],
            None => self.dependents_first(),
        };
        for plan in &plans {
            match request.action {
                AgentAction::Stop => self.stop_agent(plan)?,
                AgentAction::Start => self.start_agent(plan)?,
                AgentAction::Restart => {
                    self.stop_agent(plan)?;
                    self.start_agent(plan)?;
                }
            }
        }
        let mut agents = self.agents_now();
        agents.agents.retain(|agent| plans.iter().any(|plan| plan.name == agent.name));
        Ok(agents)
    }

    /// All agents, each before those that it is `after`.
    fn dependents_first(&self) -> Vec<AgentPlan> {
        let mut left = self.lock().plan.agents.clone();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let needed =
                |name: &str| left.iter().any(|a| a.after.iter().any(|after| after == name));
            // The configuration has no circles; if it had, the first would do.
            let next = left.iter().position(|agent| !needed(&agent.name)).unwrap_or(0);
            order.push(left.remove(next));
        }
        order
    }

    /// Stops it and waits for it. It stays stopped.
    pub(super) fn stop_agent(&self, plan: &AgentPlan) -> Result<(), ErrorBody> {
        let name = &plan.name;
        let Some(_taken) = self.agents.take_soon(name) else { return busy(name) };
        let files = self.agent_files(name);
        let marked = std::fs::create_dir_all(self.agents_dir())
            .and_then(|()| std::fs::write(&files.stopped, ""));
        if let Err(error) = marked {
            return refuse(format!("{}: {error}", files.stopped.display()), "", 1);
        }
        self.stop_supervisor(plan)
    }

    /// Ends the supervisor, and with it the agent, and waits for it.
    pub(super) fn stop_supervisor(&self, plan: &AgentPlan) -> Result<(), ErrorBody> {
        let name = &plan.name;
        let until = Instant::now() + plan.stop.timeout + GRACE;
        let mut asked = false;
        loop {
            let mine = self.child_runs(name);
            let report = self.report_of(name, boot_id());
            let report = report.filter(|report| alive(report.supervisor));
            if report.is_none() && !mine {
                return Ok(());
            }
            // One that has only just begun has no report yet.
            if let (Some(report), false) = (&report, asked) {
                ask_to_stop(report);
                asked = true;
            }
            if Instant::now() >= until {
                let error =
                    format!("agent {name} has not stopped within {:?}", plan.stop.timeout + GRACE);
                return refuse(error, "guardctl agent list; it was asked, and may still end", 1);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn child_runs(&self, name: &str) -> bool {
        let mut book = self.agents.lock();
        book.children.get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts it, whatever it was, and waits until it runs or is known not to.
    pub(super) fn start_agent(&self, plan: &AgentPlan) -> Result<(), ErrorBody> {
        let name = &plan.name;
        let Some(_taken) = self.agents.take_soon(name) else { return busy(name) };
        let files = self.agent_files(name);
        if let Err(error) = std::fs::remove_file(&files.stopped)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return refuse(format!("{}: {error}", files.stopped.display()), "", 1);
        }
        let report = self.report_of(name, boot_id());
        if self.child_runs(name) || report.is_some_and(|report| alive(report.supervisor)) {
            return Ok(());
        }
        self.agents.lock().not_before.remove(name);
        if let Err(error) = self.start_supervisor(plan) {
            return refuse(format!("agent {name} does not start: {error}"), "", 1);
        }
        let until = Instant::now() + START;
        while Instant::now() < until {
            let report = self.report_of(name, boot_id()).filter(|r| alive(r.supervisor));
            match report.map(|report| report.state) {
                Some(State::Running | State::Waiting) => return Ok(()),
                None if !self.child_runs(name) => break,
                _ => std::thread::sleep(LOOK),
            }
        }
        let last = self.report_of(name, boot_id()).and_then(|report| report.last_end);
        let last = last.map_or_else(|| "its supervisor said nothing".to_owned(), |end| end.words());
        let help = format!("{} and supervisors.log beside it", files.log.display());
        refuse(format!("agent {name} does not run: {last}"), &help, 1)
    }

    /// Restarts an agent (by its name or its bulkhead's) or a systemd unit; an action of recoveries.
    pub(crate) fn restart_agent(self: &Arc<Self>, target: &str) -> Outcome {
        let began = Instant::now();
        let outcome = |result, message| Outcome { result, message, took: began.elapsed() };
        let unit = target
            .rsplit_once('.')
            .is_some_and(|(_, kind)| matches!(kind, "service" | "scope" | "target"));
        if self.lock().monitor() {
            return outcome(ActionResult::WouldHave, format!("{target} would be restarted"));
        }
        if unit {
            return match crate::cgroup::systemd::restart_unit(target, UNIT) {
                Ok(()) => outcome(ActionResult::Done, format!("unit {target} restarted")),
                Err(error) => outcome(ActionResult::Failed, error.to_string()),
            };
        }
        let plan = match self.agent_plan(target) {
            Ok(plan) => plan,
            Err(body) => return outcome(ActionResult::Skipped, body.error),
        };
        match self.stop_agent(&plan).and_then(|()| self.start_agent(&plan)) {
            Ok(()) => outcome(ActionResult::Done, format!("agent {} restarted", plan.name)),
            Err(body) => outcome(ActionResult::Failed, body.error),
        }
    }
}

pub(super) fn busy<T>(name: &str) -> Result<T, ErrorBody> {
    refuse(format!("agent {name} is being changed by somebody else"), "try again in a moment", 1)
}
