//! `doctor` about limits: which controllers there are, PSI, and whether each limit is in force.

use super::{ok, problem};
use crate::cgroup::Hierarchy;
use crate::cgroup::limits::offered;
use crate::control::api::{Check, CheckResult};
use crate::daemon::state::State;

/// The controllers of this host's cgroup v2.
pub(super) fn controllers() -> Check {
    let Ok(hierarchy) = Hierarchy::discover() else {
        // The check of the hierarchy says it all.
        return ok("limits", "no cgroup2, so no limits");
    };
    let psi = if std::fs::read_to_string("/proc/pressure/memory").is_ok() {
        "pressure is measured (PSI)"
    } else {
        "pressure is not measured: this kernel has no PSI, or was booted with psi=0"
    };
    let offered = offered(&hierarchy);
    // Few limit block devices, and whoever does hears of it below.
    let io = offered.iter().find_map(|(name, refusal)| refusal.clone().filter(|_| *name == "io"));
    let others = offered.iter().filter(|(name, _)| *name != "io");
    let missing: Vec<_> = others.filter_map(|(_, refusal)| refusal.clone()).collect();
    let Some(first) = missing.first() else {
        let what = match io {
            None => "memory, cpu, pids and io can be limited".to_owned(),
            Some(io) => format!("memory, cpu and pids can be limited, io not: {}", io.why),
        };
        return ok("limits", format!("{what}; {psi}"));
    };
    let why: Vec<_> = missing.iter().map(|refusal| refusal.why.as_str()).collect();
    problem(
        CheckResult::Warning,
        "limits",
        format!("{}; {psi}", why.join("; ")),
        "memory_max, cpu_max, pids_max and their like are not enforced; everything else works",
        &first.cure,
    )
}

/// Limits that are not in force, or odd.
pub(super) fn enforced(state: &State) -> Vec<Check> {
    let mut checks = Vec::new();
    for bulkhead in state.bulkheads.keys() {
        for record in state.limits.records(bulkhead) {
            let name = format!("{bulkhead}: {} {}", record.resource, record.value);
            match record.state.as_str() {
                "not_enforced" => checks.push(problem(
                    CheckResult::Warning,
                    "limits",
                    format!("{name} is not enforced"),
                    format!("because {}", record.why),
                    &record.cure,
                )),
                "changed" => checks.push(problem(
                    CheckResult::Warning,
                    "limits",
                    format!("{name} is not in force"),
                    &record.why,
                    &record.cure,
                )),
                _ if !record.remark.is_empty() => checks.push(problem(
                    CheckResult::Warning,
                    "limits",
                    name,
                    &record.remark,
                    "choose another value",
                )),
                _ => {}
            }
        }
    }
    checks
}
