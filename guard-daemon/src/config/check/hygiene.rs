//! Times of connection hygiene that must fit together, with the defaults that are in force where a
//! table is silent.

use crate::config::build;
use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;
use crate::config::text::duration::format as show;
use crate::plan::HygienePlan;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let defaults = root.table("defaults").and_then(|defaults| defaults.table("hygiene"));
    let mut base = HygienePlan::default();
    if let Some(node) = defaults {
        base = build::hygiene(node).over(base);
        table(node, &base, sink);
    }
    for service in root.named("services") {
        if let Some(node) = service.node.table("hygiene") {
            table(node, &build::hygiene(node).over(base), sink);
        }
    }
}

fn table(node: &Node, plan: &HygienePlan, sink: &mut Sink) {
    let total = plan.keepalive_total();
    if plan.user_timeout < total {
        let keys = ["user_timeout", "keepalive", "keepalive_interval", "keepalive_probes"];
        let help = format!(
            "user_timeout is {}, keepalive {} + keepalive_interval {} × keepalive_probes {} is {}: \
             with a shorter user_timeout the kernel ends a connection at the first lost probe",
            show(plan.user_timeout),
            show(plan.keepalive),
            show(plan.keepalive_interval),
            plan.keepalive_probes,
            show(total),
        );
        let label = format!("user_timeout must be at least {}", show(total));
        report(node, &keys, "`user_timeout` is shorter than keepalive takes", label, help, sink);
    }
    if plan.peer_closed_busy < plan.peer_closed {
        let help = format!(
            "peer_closed is {}, peer_closed_busy is {}: raise `peer_closed_busy` or lower `peer_closed`",
            show(plan.peer_closed),
            show(plan.peer_closed_busy)
        );
        let label = format!("peer_closed_busy must be at least {}", show(plan.peer_closed));
        let keys = ["peer_closed_busy", "peer_closed"];
        report(node, &keys, "`peer_closed_busy` is shorter than `peer_closed`", label, help, sink);
    }
}

/// At the first of the keys that the table gives. None given: its defaults are at fault, and are
/// reported where they stand.
fn report(node: &Node, keys: &[&str], message: &str, label: String, help: String, sink: &mut Sink) {
    let Some(field) = keys.iter().find_map(|key| node.given(key)) else { return };
    let message = format!("{message} in `{}`", node.path);
    let found = sink.make(Severity::Error, &field.span, &field.path, message);
    sink.push(found.label(label).help(help));
}
