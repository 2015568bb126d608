//! How agents are: for status, lists and metrics.

use super::{Guard, boot_id};
use crate::control::api::{AgentStatus, Agents};
use crate::supervise::{End, State, alive};
use crate::telemetry::metrics::AgentSample;

impl Guard {
    /// Every agent.
    pub(crate) fn agents_now(&self) -> Agents {
        let plans = self.lock().plan.agents.clone();
        let boot = boot_id();
        let agents = plans.iter().map(|plan| {
            let report = self.report_of(&plan.name, boot).unwrap_or_default();
            let supervised = alive(report.supervisor);
            let newest = crate::checkpoint::newest(&self.checkpoints_dir(&plan.name));
            let stopped = self.agent_files(&plan.name).stopped.exists();
            let state = match report.state {
                state if supervised || state.is_final() => state.name(),
                _ if stopped => State::Stopped.name(),
                _ => State::Starting.name(),
            };
            AgentStatus {
                name: plan.name.clone(),
                bulkhead: plan.bulkhead.clone(),
                state: state.into(),
                pid: report.agent.filter(|id| alive(*id)).map(|(pid, _)| pid),
                supervisor: supervised.then_some(report.supervisor.0),
                restarts: report.restart_count(),
                last_end: report.last_end.as_ref().map(End::words).unwrap_or_default(),
                since: report.since,
                checkpoint: newest,
            }
        });
        Agents { schema: "guard.agents/1".into(), agents: agents.collect() }
    }

    /// For a scrape.
    pub(crate) fn agent_samples(&self) -> Vec<AgentSample> {
        let plans = self.lock().plan.agents.clone();
        let boot = boot_id();
        let sample = |name: &String| {
            let report = self.report_of(name, boot).unwrap_or_default();
            let counts = self.agents.lock().checkpoints.get(name).copied().unwrap_or_default();
            AgentSample {
                agent: name.clone(),
                up: report.state == State::Running && report.agent.is_some_and(alive),
                failed: report.state == State::Failed,
                restarts: End::REASONS
                    .map(|reason| (reason, report.restarts.get(reason).copied().unwrap_or(0))),
                saved: counts.saved,
                not_saved: counts.failed,
                restored: counts.restored,
                frozen_seconds: counts.frozen.as_secs_f64(),
            }
        };
        plans.iter().map(|plan| sample(&plan.name)).collect()
    }
}
