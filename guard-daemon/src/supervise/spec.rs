//! What a supervisor is told of its agent: a file that guardd writes, or the arguments of
//! `guardctl exec --supervise`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub bulkhead: String,
    /// Its own cgroup, inside the bulkhead's: absolute path.
    pub cgroup: PathBuf,
    /// Last component of it, which is what guardd makes it by.
    pub sub: String,
    /// Control socket of guardd.
    pub socket: PathBuf,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it starts; `None` = where the supervisor is.
    pub directory: Option<PathBuf>,
    /// USER or USER:GROUP; `None` = who runs the supervisor.
    pub user: Option<String>,
    /// Added to its environment.
    pub environment: BTreeMap<String, String>,
    /// Nothing of the supervisor's own environment, terminal and input is passed on.
    pub clean: bool,
    /// When it is started again.
    pub policy: Policy,
    /// How it is known to be well.
    pub health: Option<HealthSpec>,
    /// How it is ended.
    pub stop: StopSpec,
    /// Where its output goes; `None` = where the supervisor's goes.
    pub log: Option<PathBuf>,
    /// Where the supervisor writes down how things are; `None` = nowhere.
    pub report: Option<PathBuf>,
    /// What is put back after a crash.
    pub checkpoint: Option<CheckpointSpec>,
}

/// A command that says by its exit code whether the agent is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// Program and arguments; runs as the agent's user, in its cgroup.
    pub command: Vec<String>,
    /// Pause between two.
    pub every: Duration,
    /// Longest time for one; longer is a failure.
    pub timeout: Duration,
    /// Failures in a row after which the agent is started again.
    pub failures: u32,
    /// After a start, failures do not count for so long.
    pub start_grace: Duration,
}

/// How an agent is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// Name of the signal that asks it to end.
    pub signal: String,
    /// How long it may take; then all of it is killed.
    pub timeout: Duration,
}

impl Default for StopSpec {
    fn default() -> Self {
        Self { signal: "SIGTERM".into(), timeout: Duration::from_secs(10) }
    }
}

/// The checkpoints of an agent, as its supervisor needs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSpec {
    /// Where they are.
    pub directory: PathBuf,
    /// State paths.
    pub paths: Vec<PathBuf>,
    /// Whether the last good one is put back before a restart after a crash.
    pub restore_on_crash: bool,
}

impl AgentSpec {
    /// Reads what guardd wrote for a supervisor.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
