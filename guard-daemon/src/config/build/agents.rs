//! Agents of the plan.

use std::path::{Path, PathBuf};

use crate::config::read::{Named, Node};
use crate::plan::{AgentPlan, CheckpointPlan};
use crate::supervise::{HealthSpec, Policy, Restart, StopSpec};

pub(super) fn agent(entry: &Named, root: &Node) -> AgentPlan {
    let node = &entry.node;
    let pairs = node.texts("environment").iter().filter_map(|text| text.split_once('='));
    AgentPlan {
        name: entry.name.clone(),
        bulkhead: node.text("bulkhead").unwrap_or(&entry.name).to_owned(),
        command: node.texts("command").to_vec(),
        directory: PathBuf::from(node.text("directory").unwrap_or("/")),
        user: node.text("user").map(str::to_owned),
        environment: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        policy: policy(node, root),
        health: node.table("health").map(health),
        stop: node.table("stop").map(stop).unwrap_or_default(),
        after: node.texts("after").to_vec(),
        checkpoint: node.table("checkpoint").map(checkpoint),
    }
}

fn integer(node: &Node, name: &str) -> u32 {
    node.integer(name).and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
}

fn policy(node: &Node, root: &Node) -> Policy {
    let mut policy = Policy {
        restart: node.text("restart").and_then(Restart::from_name).unwrap_or(Restart::OnFailure),
        delay: node.duration("restart_delay").unwrap_or_default(),
        max_delay: node.duration("max_restart_delay").unwrap_or_default(),
        limit: integer(node, "start_limit"),
        limit_window: node.duration("start_limit_window").unwrap_or_default(),
        reset_after: node.duration("reset_after").unwrap_or_default(),
    };
    let named = node.text("restart_policy");
    let found =
        root.named("retry_policies").iter().find(|entry| Some(entry.name.as_str()) == named);
    if let Some(Named { node, .. }) = found {
        policy.delay = node.duration("initial_delay").unwrap_or(policy.delay);
        policy.max_delay = match node.text("backoff") {
            Some("fixed") => policy.delay,
            _ => node.duration("max_delay").unwrap_or(policy.max_delay),
        };
        policy.limit = integer(node, "max_retries");
    }
    policy
}

fn health(node: &Node) -> HealthSpec {
    HealthSpec {
        command: node.texts("command").to_vec(),
        every: node.duration("every").unwrap_or_default(),
        timeout: node.duration("timeout").unwrap_or_default(),
        failures: integer(node, "failures"),
        start_grace: node.duration("start_grace").unwrap_or_default(),
    }
}

fn stop(node: &Node) -> StopSpec {
    let default = StopSpec::default();
    StopSpec {
        signal: node.text("signal").map_or(default.signal, str::to_owned),
        timeout: node.duration("timeout").unwrap_or(default.timeout),
    }
}

fn checkpoint(node: &Node) -> CheckpointPlan {
    CheckpointPlan {
        paths: node.texts("paths").iter().map(|path| Path::new(path).to_owned()).collect(),
        exclude: node.texts("exclude").to_vec(),
        every: node.duration("every").unwrap_or_default(),
        keep: integer(node, "keep") as usize,
        verify: node.flag("verify"),
        max_freeze: node.duration("max_freeze").unwrap_or_default(),
        restore_on_crash: node.text("restore") != Some("never"),
    }
}
