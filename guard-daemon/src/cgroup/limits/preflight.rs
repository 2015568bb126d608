//! What can be known about limits without touching anything: for `guardctl check`, `doctor`, and
//! before a reload.

use std::path::Path;

use super::controllers::{self, Refusal};
use super::settings;
use crate::cgroup::Hierarchy;
use crate::config::text::size;
use crate::plan::{CgroupRoot, Plan};

/// Controllers that limits need.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "io"];

/// Something that an operator should hear about a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The bulkhead.
    pub bulkhead: String,
    /// Key of the configuration.
    pub key: &'static str,
    /// Why, and what to do.
    pub refusal: Refusal,
    /// Whether the limit cannot be enforced; if not, it has no effect or an odd one.
    pub fatal: bool,
}

/// For each controller whether this host's cgroup v2 has it.
pub fn offered(hierarchy: &Hierarchy) -> Vec<(&'static str, Option<Refusal>)> {
    let there = hierarchy.controllers().unwrap_or_default();
    CONTROLLERS
        .into_iter()
        .map(|controller| {
            let missing = !there.iter().any(|word| word == controller);
            (controller, missing.then(|| controllers::absent(controller, hierarchy.is_hybrid())))
        })
        .collect()
}

/// Memory of this host, bytes.
pub fn memory_of_host() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What is wrong with the limits of a plan on this host.
pub fn preflight(plan: &Plan) -> Vec<Finding> {
    let hierarchy = Hierarchy::discover().ok();
    let top = hierarchy.as_ref().map(offered).unwrap_or_default();
    let root = match &plan.daemon.cgroup_root {
        CgroupRoot::Path(path) => words_of(path),
        CgroupRoot::Auto => None,
    };
    let memory = memory_of_host();
    let mut findings = Vec::new();
    for bulkhead in &plan.bulkheads {
        for setting in settings(&bulkhead.limits) {
            let mut found = |refusal, fatal| {
                let bulkhead = bulkhead.name.clone();
                findings.push(Finding { bulkhead, key: setting.key, refusal, fatal });
            };
            if let Err(refusal) = setting.place() {
                found(refusal, true);
            }
            if let Some(memory) = memory
                && matches!(setting.key, "memory_max" | "memory_high")
                && setting.number > memory as f64
            {
                found(above_host(setting.number as u64, memory), false);
            }
            let refusal = top
                .iter()
                .find(|(name, _)| *name == setting.controller)
                .and_then(|(_, refusal)| refusal.clone());
            if let Some(refusal) = refusal {
                found(refusal, true);
            } else if let Some(words) = &root
                && !words.iter().any(|word| word == setting.controller)
            {
                let why = format!(
                    "daemon.cgroup_root does not have the controller {}",
                    setting.controller
                );
                let cure = "switch it on in cgroup.subtree_control of the cgroup above it; for a \
                            unit of systemd: Delegate=yes";
                found(Refusal::new(why, cure), true);
            }
        }
    }
    findings
}

/// A limit that can never be reached.
fn above_host(limit: u64, memory: u64) -> Refusal {
    Refusal::new(
        format!(
            "it is {}, and this host has {}: the limit can never be reached",
            size::format(limit),
            size::format(memory >> 20 << 20)
        ),
        "lower it: half of the host's memory is much for one agent",
    )
}

fn words_of(root: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    Some(text.split_whitespace().map(str::to_owned).collect())
}
