//! The limits of bulkheads in `status`: what was asked for, what is in use, and whether it holds.

use super::super::look::{Look, Tone};
use super::super::table::{Cell, Column, Table};
use super::super::text::{clean, count};
use crate::config::text::size;
use crate::control::api::{BulkheadStatus, LimitRecord, ResourceStatus};

/// Nothing where no bulkhead has a limit or a stage in force.
pub(super) fn resources(bulkheads: &[BulkheadStatus], look: &Look) -> String {
    let mut page = String::new();
    if bulkheads.iter().any(|bulkhead| !bulkhead.resources.limits.is_empty()) {
        page.push('\n');
        page.push_str(&limits(bulkheads, look));
    }
    for bulkhead in bulkheads.iter().filter(|b| !b.resources.stages.is_empty()) {
        let text = format!(
            "{} under pressure: {}",
            clean(&bulkhead.name),
            clean(&bulkhead.resources.stages.join(", "))
        );
        page.push_str(&format!("\n{}\n", look.paint(Tone::Odd, &text)));
    }
    page
}

fn limits(bulkheads: &[BulkheadStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::Words("BULKHEAD"),
        Column::Words("LIMIT"),
        Column::Figures("VALUE"),
        Column::Figures("IN USE"),
        Column::Words("AT THE LIMIT"),
        Column::Words("STATE"),
    ]);
    for bulkhead in bulkheads {
        let mut name = bulkhead.name.as_str();
        for record in &bulkhead.resources.limits {
            let state = record.state.replace('_', " ");
            table.row(vec![
                std::mem::take(&mut name).into(),
                record.resource.as_str().into(),
                record.shown().into(),
                in_use(record, &bulkhead.resources).into(),
                at_the_limit(record, &bulkhead.resources).into(),
                match record.state.as_str() {
                    "enforced" => state.as_str().into(),
                    "monitor" => "would be set".into(),
                    _ => Cell::toned(Tone::Bad, &state),
                },
            ]);
        }
    }
    table.render(look)
}

fn in_use(record: &LimitRecord, resources: &ResourceStatus) -> String {
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| size::format(bytes >> 20 << 20));
    match record.resource.as_str() {
        "memory_max" | "memory_high" => bytes(resources.memory_bytes),
        "memory_swap_max" => bytes(resources.swap_bytes),
        "pids_max" => resources.pids.map(count),
        _ => None,
    }
    .unwrap_or_else(|| "-".into())
}

fn at_the_limit(record: &LimitRecord, resources: &ResourceStatus) -> String {
    let times =
        |n: Option<u64>, words: &str| n.filter(|n| *n > 0).map(|n| format!("{} {words}", count(n)));
    match record.resource.as_str() {
        "memory_max" => times(resources.oom_kills, "killed")
            .or_else(|| times(resources.memory_max_events, "times reached")),
        "memory_high" => times(resources.memory_high_events, "times slowed down"),
        "pids_max" => times(resources.pids_refused, "forks refused"),
        "cpu_max" => resources
            .cpu_throttled_seconds
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| format!("{seconds:.1}s taken away")),
        of_device if of_device.starts_with("io_max ") => resources
            .io_stall_percent
            .filter(|percent| *percent > 0.0)
            .map(|percent| format!("waits {percent:.0}% of the time")),
        _ => None,
    }
    .unwrap_or_else(|| "-".into())
}
