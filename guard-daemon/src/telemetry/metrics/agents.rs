//! Agents that guardd runs, and their checkpoints. All reasons and results are there from the start,
//! so that a rate has a beginning.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Sample, Unit, family};

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentSample {
    /// Name.
    pub agent: String,
    /// Whether it runs.
    pub up: bool,
    /// Whether it was given up.
    pub failed: bool,
    /// Restarts of this boot, by reason.
    pub restarts: [(&'static str, u64); 7],
    /// Checkpoints made.
    pub saved: u64,
    /// Checkpoints that were not made.
    pub not_saved: u64,
    /// Checkpoints put back by guardd.
    pub restored: u64,
    /// How long it stood still for them.
    pub frozen_seconds: f64,
}

impl Sample {
    pub(super) fn encode_agents(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let label = |sample: &AgentSample| ("agent", sample.agent.clone());
        let flag = |flag: bool| f64::from(u8::from(flag));
        family("guard_agent_up", "1 while the agent runs")
            .gauges(encoder, self.agents.iter().map(|a| ([label(a)], flag(a.up))))?;
        family("guard_agent_failed", "1 if the agent was started too often and given up")
            .gauges(encoder, self.agents.iter().map(|a| ([label(a)], flag(a.failed))))?;
        let restarts = self.agents.iter().flat_map(|sample| {
            sample.restarts.iter().map(move |(reason, count)| {
                ([label(sample), ("reason", (*reason).to_owned())], *count as f64)
            })
        });
        family("guard_agent_restarts", "Restarts of agents, by how they ended before")
            .counters(encoder, restarts)?;
        let results = self.agents.iter().flat_map(|sample| {
            [("saved", sample.saved), ("failed", sample.not_saved), ("restored", sample.restored)]
                .map(|(result, count)| {
                    ([label(sample), ("result", result.to_owned())], count as f64)
                })
        });
        family("guard_checkpoints", "Checkpoints of agents, by result")
            .counters(encoder, results)?;
        let frozen = self.agents.iter().map(|a| ([label(a)], a.frozen_seconds));
        let name = "guard_checkpoint_freeze";
        let help = "Time that agents stood still for checkpoints, in all";
        Family { name, help, unit: Some(Unit::Seconds) }.counters(encoder, frozen)
    }
}
