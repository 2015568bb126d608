//! What the drill was about on this host: targets with their addresses, and what is never touched.

use super::markdown::{item, table};
use super::{or_dash, row};
use crate::drill::Record;
use crate::drill::record::PlannedFault;

/// The part of the report.
pub(super) fn text(record: &Record) -> String {
    let mut page = "## Plan\n\n".to_owned();
    if record.plan.faults.is_empty() {
        page.push_str("guardd made no plan.\n\n");
    } else {
        let rows: Vec<Vec<String>> = record.plan.faults.iter().map(fault).collect();
        let titles =
            ["bulkhead", "cgroup", "processes", "service", "addresses", "effect", "engine", "when"];
        page.push_str(&table(&titles, &rows));
        page.push_str("When: since the faults began.\n\n");
    }
    page.push_str(&list("Never touched:", &record.plan.protected));
    page.push_str(&list("Bulkheads that no fault is about:", &record.plan.bystanders));
    page.push_str(&list("What guardd warned of:", &record.plan.warnings));
    page
}

/// Nothing, if there is nothing to list.
fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: Vec<String> = lines.iter().map(|line| item(line)).collect();
    format!("{title}\n\n{}\n", items.concat())
}

fn fault(fault: &PlannedFault) -> Vec<String> {
    let pids: Vec<String> = fault.pids.iter().map(u32::to_string).collect();
    row([
        &fault.bulkhead,
        &fault.cgroup,
        or_dash(&pids.join(", ")),
        &fault.service,
        or_dash(&fault.addresses.join(", ")),
        &fault.effect,
        &fault.engine,
        &format!("{:.1} s to {:.1} s", fault.start_seconds, fault.end_seconds),
    ])
}
