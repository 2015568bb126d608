//! The types of agents and their checkpoints.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Listed;

/// `GET /v1/agents`, and the answer to a request about some.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Agents {
    /// `guard.agents/1`.
    pub schema: String,
    /// By name.
    pub agents: Vec<AgentStatus>,
}

/// One agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Name.
    pub name: String,
    /// Bulkhead.
    pub bulkhead: String,
    /// `starting`, `running`, `waiting` (for its restart), `stopping`, `stopped`, `ended`, `failed`.
    pub state: String,
    /// Process id; absent if it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Process id of its supervisor; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<u32>,
    /// Since when it is in this state: RFC 3339; empty if it never began.
    pub since: String,
    /// Restarts since its first start of this boot.
    pub restarts: u64,
    /// How it ended last; empty if it never did.
    pub last_end: String,
    /// Number of its newest checkpoint; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
}

/// `POST /v1/agents`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRequest {
    /// Which one; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to do.
    pub action: AgentAction,
}

/// What can be done with an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentAction {
    /// Start it, also when it was given up.
    Start,
    /// Stop it until somebody starts it.
    Stop,
    /// One after the other.
    Restart,
}

/// `POST /v1/checkpoints`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointRequest {
    /// A bulkhead or an agent.
    pub target: String,
    /// What to do.
    pub action: CheckpointAction,
    /// Which one to restore; absent = the newest good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// What can be done with checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointAction {
    /// Make one.
    Save,
    /// Say which there are.
    List,
    /// Put one back.
    Restore,
}

/// Answer to [`CheckpointRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checkpoints {
    /// `guard.checkpoints/1`.
    pub schema: String,
    /// Whose.
    pub agent: String,
    /// What was done; empty for a list.
    pub done: String,
    /// Those that there are now, newest first.
    pub checkpoints: Vec<Listed>,
}
