//! `[agents.NAME]`.

use std::path::PathBuf;

use crate::config::read::{Named, Node};
use crate::plan::{AgentPlan, CheckpointPlan, HealthPlan, RestartPolicy, RetryPolicyPlan};

pub(super) fn agent(entry: &Named) -> AgentPlan {
    let node = &entry.node;
    let text = |name: &str| node.text(name).map(str::to_owned);
    let count = |name: &str| node.integer(name).and_then(|n| usize::try_from(n).ok());
    AgentPlan {
        name: entry.name.clone(),
        bulkhead: text("bulkhead").unwrap_or_else(|| entry.name.clone()),
        command: node.texts("command").to_vec(),
        directory: text("directory").map(PathBuf::from),
        user: text("user"),
        restart: node
            .text("restart")
            .and_then(RestartPolicy::from_name)
            .unwrap_or(RestartPolicy::OnFailure),
        backoff: RetryPolicyPlan {
            name: entry.name.clone(),
            max_retries: u32::MAX,
            exponential: true,
            initial_delay: node.duration("restart_delay").unwrap_or_default(),
            max_delay: node.duration("max_restart_delay").unwrap_or_default(),
            jitter: true,
        },
        start_limit: count("start_limit").unwrap_or(1),
        start_limit_window: node.duration("start_limit_window").unwrap_or_default(),
        reset_after: node.duration("reset_after").unwrap_or_default(),
        stop_signal: text("stop_signal").unwrap_or_default(),
        stop_timeout: node.duration("stop_timeout").unwrap_or_default(),
        after: node.texts("after").to_vec(),
        health: node.table("health").map(health),
        checkpoint: node.table("checkpoint").map(checkpoint),
    }
}

fn health(node: &Node) -> HealthPlan {
    HealthPlan {
        command: node.texts("command").to_vec(),
        every: node.duration("every").unwrap_or_default(),
        timeout: node.duration("timeout").unwrap_or_default(),
        failures: node.integer("failures").and_then(|n| n.try_into().ok()).unwrap_or(1),
        start_grace: node.duration("start_grace").unwrap_or_default(),
    }
}

fn checkpoint(node: &Node) -> CheckpointPlan {
    CheckpointPlan {
        paths: node.texts("paths").iter().map(PathBuf::from).collect(),
        every: node.duration("every"),
        keep: node.integer("keep").and_then(|n| n.try_into().ok()).unwrap_or(1),
        max_freeze: node.duration("max_freeze").unwrap_or_default(),
        max_bytes: node.integer("max_size").unwrap_or(0),
        restore_on_crash: node.flag("restore_on_crash"),
    }
}
