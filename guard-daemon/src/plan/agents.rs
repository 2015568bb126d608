//! `[agents.NAME]`: agents that guardd runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::supervise::{HealthSpec, Policy, StopSpec};

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentPlan {
    /// Name, unique.
    pub name: String,
    /// Where it runs.
    pub bulkhead: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// USER or USER:GROUP; `None` = root.
    pub user: Option<String>,
    /// Added to its environment.
    pub environment: BTreeMap<String, String>,
    /// When it is started again.
    pub policy: Policy,
    /// How it is known to be well.
    pub health: Option<HealthSpec>,
    /// How it is ended.
    pub stop: StopSpec,
    /// Agents that must run before it.
    pub after: Vec<String>,
    /// Checkpoints of its state.
    pub checkpoint: Option<CheckpointPlan>,
}

/// `[agents.NAME.checkpoint]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointPlan {
    /// State paths.
    pub paths: Vec<PathBuf>,
    /// Patterns of names that are left out.
    pub exclude: Vec<String>,
    /// Pause between two.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
    /// Whether each is read back.
    pub verify: bool,
    /// Longest time that the agent stands still.
    pub max_freeze: Duration,
    /// Whether the last good one is put back after a crash.
    pub restore_on_crash: bool,
}
