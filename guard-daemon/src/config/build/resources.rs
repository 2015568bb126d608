//! Limits and pressure of a bulkhead.

use std::time::Duration;

use nix::errno::Errno;

use crate::config::read::Node;
use crate::config::text::signals;
use crate::plan::{IoMaxPlan, LimitsPlan, PressurePlan, Stage};

pub(super) fn limits(node: &Node) -> LimitsPlan {
    LimitsPlan {
        memory_max: node.integer("memory_max"),
        memory_high: node.integer("memory_high"),
        memory_swap_max: node.integer("memory_swap_max"),
        memory_oom_group: node.given("memory_oom_group").map(|_| node.flag("memory_oom_group")),
        cpu_max: node.number("cpu_max"),
        cpu_weight: node.integer("cpu_weight"),
        pids_max: node.integer("pids_max"),
        io_weight: node.integer("io_weight"),
        io_max: node.list("io_max").iter().filter_map(io_max).collect(),
    }
}

/// `None` only after an error.
fn io_max(node: &Node) -> Option<IoMaxPlan> {
    Some(IoMaxPlan {
        device: node.text("device")?.into(),
        rbps: node.integer("rbps"),
        wbps: node.integer("wbps"),
        riops: node.integer("riops"),
        wiops: node.integer("wiops"),
    })
}

/// `None` if the file says nothing about it.
pub(super) fn pressure(bulkhead: &Node) -> Option<PressurePlan> {
    let node = bulkhead.given("pressure").and_then(|_| bulkhead.table("pressure"))?;
    let mut stages: Vec<Stage> =
        node.texts("stages").iter().filter_map(|word| Stage::from_name(word)).collect();
    if stages.is_empty() {
        stages.push(Stage::Throttle);
    }
    Some(PressurePlan {
        memory_above: node.number("memory_above"),
        memory_stall_above: node.number("memory_stall_above"),
        cpu_stall_above: node.number("cpu_stall_above"),
        io_stall_above: node.number("io_stall_above"),
        lasting: node.duration("lasting").unwrap_or(Duration::from_secs(10)),
        stages,
        calm_share: node.number("calm_share").unwrap_or(1.0),
        calm_for: node.duration("calm_for").unwrap_or(Duration::from_secs(30)),
        throttle_to: node.number("throttle_to").unwrap_or(100.0),
        errno: node.text("errno").and_then(signals::errno).unwrap_or(Errno::ECONNREFUSED),
    })
}
