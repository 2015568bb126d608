//! Limits of a bulkhead that contradict each other, and stages that could never come.

use crate::config::read::{Field, Node};
use crate::config::sink::Sink;
use crate::config::text::size;
use crate::plan::Stage;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    for bulkhead in root.named("bulkheads") {
        high_below_max(&bulkhead.node, sink);
        devices(&bulkhead.node, sink);
        if let Some(field) = bulkhead.node.given("pressure")
            && let Some(pressure) = bulkhead.node.table("pressure")
        {
            thresholds(&bulkhead.node, pressure, field, sink);
            order(pressure, sink);
        }
    }
}

fn high_below_max(node: &Node, sink: &mut Sink) {
    let (Some(high), Some(max)) = (node.integer("memory_high"), node.integer("memory_max")) else {
        return;
    };
    let Some(field) = node.field("memory_high") else { return };
    if high < max {
        return;
    }
    let message = format!(
        "`{}` is not below `memory_max`: the kernel would kill before it slows down",
        field.path
    );
    let help = format!(
        "memory_high is {}, memory_max is {}: lower `memory_high`, three quarters of `memory_max` \
         are usual",
        size::format(high),
        size::format(max)
    );
    let label = format!("must be below {}", size::format(max));
    sink.error(&field.span, &field.path, message, label, help);
}

/// An entry without a limit is a slip, and of two for one device only one could hold.
fn devices(node: &Node, sink: &mut Sink) {
    let mut known: Vec<&str> = Vec::new();
    for entry in node.list("io_max") {
        if !["rbps", "wbps", "riops", "wiops"].iter().any(|key| entry.names(key)) {
            let message = format!("`{}` limits nothing", entry.path);
            let help = "give at least one of `rbps`, `wbps`, `riops` and `wiops`";
            sink.error(&entry.span, &entry.path, message, "no limit", help);
        }
        let Some(device) = entry.text("device") else { continue };
        if known.contains(&device) {
            let message = format!("`{}` is a second entry for {device}", entry.path);
            let help = "write all limits of a device in one entry";
            sink.error(&entry.span, &entry.path, message, "the device has one already", help);
        }
        known.push(device);
    }
}

/// Without a threshold nothing would ever happen, and neither does a share without a whole.
fn thresholds(bulkhead: &Node, pressure: &Node, field: &Field, sink: &mut Sink) {
    const THRESHOLDS: [&str; 4] =
        ["memory_above", "memory_stall_above", "cpu_stall_above", "io_stall_above"];
    if !THRESHOLDS.iter().any(|key| pressure.names(key)) {
        let message = format!("`{}` has no threshold, so no stage would ever come", field.path);
        let help = format!("add at least one of {}", THRESHOLDS.join(", "));
        sink.warning(&field.span, &field.path, message, "a threshold is missing", help);
    }
    if let Some(above) = pressure.given("memory_above")
        && sink.is_complete()
        && !bulkhead.names("memory_max")
    {
        let message = format!("`{}` is a share of `memory_max`, which is not set", above.path);
        let help = "set `memory_max` of this bulkhead, or use `memory_stall_above`";
        sink.warning(&above.span, &above.path, message, "of what?", help);
    }
}

/// Severe before mild is a slip of the pen, not a wish.
fn order(pressure: &Node, sink: &mut Sink) {
    let Some(field) = pressure.given("stages") else { return };
    let stages: Vec<Stage> =
        pressure.texts("stages").iter().filter_map(|word| Stage::from_name(word)).collect();
    if stages.is_sorted() {
        return;
    }
    let mut sorted = stages;
    sorted.sort_unstable();
    let words: Vec<String> = sorted.iter().map(|stage| format!("\"{stage}\"")).collect();
    let message = format!("`{}` must go from mild to severe", field.path);
    let help = format!("write stages = [{}]", words.join(", "));
    sink.error(&field.span, &field.path, message, "not in order", help);
}
