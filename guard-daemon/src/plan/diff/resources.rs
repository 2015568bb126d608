//! What a reload changes in the limits of a bulkhead.

use crate::config::text::size;
use crate::plan::{BulkheadPlan, IoMaxPlan, LimitsPlan};

/// Lines for the limits that differ.
pub(super) fn resources(old: &BulkheadPlan, new: &BulkheadPlan, lines: &mut Vec<String>) {
    let name = &new.name;
    let mut changed = |key: &str, old: Option<String>, new: Option<String>| {
        if old != new {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "no limit".into());
            lines.push(format!("bulkhead {name}: {key} {} -> {}", shown(old), shown(new)));
        }
    };
    // Destructured, so that a new limit is compared too.
    let LimitsPlan {
        memory_max,
        memory_high,
        memory_swap_max,
        memory_oom_group,
        cpu_max,
        cpu_weight,
        pids_max,
        io_weight,
        io_max,
    } = &old.limits;
    let after = &new.limits;
    let bytes = |value: Option<u64>| value.map(size::format);
    changed("memory_max", bytes(*memory_max), bytes(after.memory_max));
    changed("memory_high", bytes(*memory_high), bytes(after.memory_high));
    changed("memory_swap_max", bytes(*memory_swap_max), bytes(after.memory_swap_max));
    let flag = |value: Option<bool>| value.map(|flag| flag.to_string());
    changed("memory_oom_group", flag(*memory_oom_group), flag(after.memory_oom_group));
    let percent = |value: Option<f64>| value.map(|percent| format!("{percent}%"));
    changed("cpu_max", percent(*cpu_max), percent(after.cpu_max));
    let number = |value: Option<u64>| value.map(|number| number.to_string());
    changed("cpu_weight", number(*cpu_weight), number(after.cpu_weight));
    changed("pids_max", number(*pids_max), number(after.pids_max));
    changed("io_weight", number(*io_weight), number(after.io_weight));
    let listed = |list: &[IoMaxPlan]| {
        (!list.is_empty()).then(|| list.iter().map(io).collect::<Vec<_>>().join(", "))
    };
    changed("io_max", listed(io_max), listed(&after.io_max));
    if old.pressure != new.pressure {
        lines.push(match &new.pressure {
            None => format!("bulkhead {name}: nothing is done under pressure any more"),
            Some(pressure) => {
                let stages: Vec<_> = pressure.stages.iter().map(|stage| stage.name()).collect();
                format!("bulkhead {name}: pressure changed: {}", stages.join(", "))
            }
        });
    }
}

/// `/dev/vda rbps=10MiB wiops=100`
fn io(plan: &IoMaxPlan) -> String {
    let mut words = vec![plan.device.display().to_string()];
    for (name, limit) in plan.fields() {
        let Some(limit) = limit else { continue };
        let shown = if name.ends_with("bps") { size::format(limit) } else { limit.to_string() };
        words.push(format!("{name}={shown}"));
    }
    words.join(" ")
}
