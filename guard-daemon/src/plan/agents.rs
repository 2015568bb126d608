//! `[agents.NAME]`: programs that guard runs, starts again, and keeps the state of.

use std::path::PathBuf;
use std::time::Duration;

use super::RetryPolicyPlan;

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentPlan {
    /// Name, unique.
    pub name: String,
    /// The bulkhead in which it runs.
    pub bulkhead: String,
    /// Absolute path and arguments.
    pub command: Vec<String>,
    /// Working directory; `None` = `/`.
    pub directory: Option<PathBuf>,
    /// USER or USER:GROUP; `None` = that of guardd.
    pub user: Option<String>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Delays between starts: never given up by themselves, `start_limit` does that.
    pub backoff: RetryPolicyPlan,
    /// Starts within the window after which it stays down; at least 1.
    pub start_limit: usize,
    /// That window.
    pub start_limit_window: Duration,
    /// Running so long, it counts as well, and delays and limit begin anew.
    pub reset_after: Duration,
    /// Signal that asks it to stop.
    pub stop_signal: String,
    /// After which it is killed.
    pub stop_timeout: Duration,
    /// Agents that are started before it and stopped after it.
    pub after: Vec<String>,
    /// How its health is asked for.
    pub health: Option<HealthPlan>,
    /// What is kept of its state.
    pub checkpoint: Option<CheckpointPlan>,
}

/// When an agent is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever it ends.
    Always,
    /// When it ends by a signal or with another code than 0.
    OnFailure,
    /// Never.
    Never,
}

/// `[agents.NAME.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPlan {
    /// Absolute path and arguments; 0 = healthy.
    pub command: Vec<String>,
    /// From one question to the next.
    pub every: Duration,
    /// Longest time for an answer.
    pub timeout: Duration,
    /// Bad answers in a row after which it is started again.
    pub failures: u32,
    /// Time after a start in which bad answers count for nothing.
    pub start_grace: Duration,
}

/// `[agents.NAME.checkpoint]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPlan {
    /// Files and directories, absolute.
    pub paths: Vec<PathBuf>,
    /// From one to the next; `None` = only when somebody asks.
    pub every: Option<Duration>,
    /// How many are kept.
    pub keep: usize,
    /// Longest time for which the bulkhead may be frozen.
    pub max_freeze: Duration,
    /// Most bytes of one checkpoint.
    pub max_bytes: u64,
    /// Whether the last good one is restored before a start after a crash.
    pub restore_on_crash: bool,
}
