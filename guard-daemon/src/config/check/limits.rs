//! Limits that contradict one another, or limit nothing.

use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;

const AMOUNTS: [&str; 3] = ["bytes", "calls", "connects"];

pub(super) fn check(root: &Node, sink: &mut Sink) {
    for service in root.named("services") {
        burst(&service.node, sink);
    }
    for bulkhead in root.named("bulkheads") {
        let node = &bulkhead.node;
        burst(node, sink);
        for budget in node.list("budgets") {
            if !AMOUNTS.iter().any(|key| budget.names(key)) {
                let message = format!("`{}` limits nothing", budget.path);
                let help = "give at least one of `bytes`, `calls` and `connects`";
                sink.error(&budget.span, &budget.path, message, "no amount", help);
            }
        }
        let Some(limits) = node.table("limits") else { continue };
        for service in limits.named("services") {
            connections(node, &service.node, sink);
            burst(&service.node, sink);
        }
    }
}

/// A burst of calls that nothing paces.
fn burst(node: &Node, sink: &mut Sink) {
    let Some(field) = node.given("max_calls_burst") else { return };
    if node.number("max_calls_per_second").is_some() {
        return;
    }
    let message = format!("`{}` never acts without `max_calls_per_second`", field.path);
    let found = sink
        .make(Severity::Warning, &field.span, &field.path, message)
        .help("set the rate beside it, or remove this");
    sink.push(found);
}

/// A service's limit above the bulkhead's never acts.
fn connections(whole: &Node, own: &Node, sink: &mut Sink) {
    const KEY: &str = "max_connections";
    let (Some(of_all), Some(field)) = (whole.given(KEY), own.given(KEY)) else { return };
    let (Some(most), Some(wanted)) = (whole.integer(KEY), own.integer(KEY)) else { return };
    if wanted <= most {
        return;
    }
    let message = format!("`{}` is above the bulkhead's own `{KEY}` and never acts", field.path);
    let found = sink
        .make(Severity::Warning, &field.span, &field.path, message)
        .label(format!("{wanted}, and the bulkhead has {most}"))
        .help("lower it, or raise the bulkhead's");
    sink.push(found.related(&of_all.span, "the bulkhead's"));
}
