//! Pairs of durations of which one must not be below the other.

use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;
use crate::config::text::duration::format as show;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    for bulkhead in root.named("bulkheads") {
        pair(&bulkhead.node, "connect_timeout", "call_timeout", sink);
        let timeouts = bulkhead.node.table("timeouts");
        for service in timeouts.map_or(&[][..], |t| t.named("services")) {
            pair(&service.node, "connect_timeout", "call_timeout", sink);
        }
        let breaker = bulkhead.node.table("breaker");
        for service in breaker.map_or(&[][..], |b| b.named("services")) {
            pair(&service.node, "open_timeout", "max_open_timeout", sink);
        }
    }
    for service in root.named("services") {
        pair(&service.node, "connect_timeout", "call_timeout", sink);
    }
    if let Some(breaker) = root.table("defaults").and_then(|d| d.table("breaker")) {
        pair(breaker, "open_timeout", "max_open_timeout", sink);
    }
    for policy in root.named("retry_policies") {
        // With a fixed delay, the longest has no meaning.
        if policy.node.text("backoff") != Some("fixed") {
            pair(&policy.node, "initial_delay", "max_delay", sink);
        }
    }
}

/// `lower` must not be above `upper`, where the file sets at least one of them.
fn pair(node: &Node, lower: &str, upper: &str, sink: &mut Sink) {
    let (Some(low), Some(high)) = (node.field(lower), node.field(upper)) else { return };
    let (Some(low_value), Some(high_value)) = (node.duration(lower), node.duration(upper)) else {
        return;
    };
    if low_value <= high_value || !(low.given || high.given) {
        return;
    }
    // Point at the one that is in the file; at the upper one if both are.
    let (at, label) = if high.given {
        (high, format!("must be at least {}", show(low_value)))
    } else {
        (low, format!("must be at most {}", show(high_value)))
    };
    let message = format!("`{}` is shorter than `{lower}`", high.path);
    let default = |field: &crate::config::read::Field| if field.given { "" } else { " (default)" };
    let help = format!(
        "{lower} is {}{}, {upper} is {}{}: raise `{upper}` or lower `{lower}`",
        show(low_value),
        default(low),
        show(high_value),
        default(high),
    );
    let mut found = sink.make(Severity::Error, &at.span, &at.path, message).label(label).help(help);
    if low.given && high.given {
        found = found.related(&low.span, format!("`{lower}` is {}", show(low_value)));
    }
    sink.push(found);
}
