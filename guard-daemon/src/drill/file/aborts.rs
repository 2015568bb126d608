//! `[[abort]]`: exactly one condition each, and only keys that belong to it.

use super::{pairs, promql};
use crate::config::{Node, Sink};
use crate::drill::spec::{Abort, Condition};

/// A condition's keys: the one that chooses it, and those that go with it.
type Keys = (&'static str, &'static [&'static str]);

const SUCCESS_RATE: Keys = ("success_rate_below", &["for", "bulkhead", "service", "min_calls"]);
const PROMQL: Keys = ("promql", &["for", "prometheus", "above", "below", "timeout"]);

/// All abort conditions; those with an error are left out.
pub(super) fn read(root: &Node, sink: &mut Sink) -> Vec<Abort> {
    root.list("abort").iter().filter_map(|node| abort(node, sink)).collect()
}

fn abort(node: &Node, sink: &mut Sink) -> Option<Abort> {
    let keys = choose(node, sink)?;
    strangers(node, keys, sink);
    let condition = if keys.0 == PROMQL.0 {
        promql::check(node, "below", "above", sink);
        Condition::Promql {
            query: promql::query(node)?,
            below: node.number("below"),
            above: node.number("above"),
        }
    } else {
        needs_bulkhead(node, sink);
        Condition::SuccessRate {
            pairs: pairs(node)?,
            success_rate_below: node.number("success_rate_below")?,
            min_calls: node.integer("min_calls")?,
        }
    };
    Some(Abort { condition, window: node.duration("for")? })
}

/// The one condition of an entry; `None` after an error.
fn choose(node: &Node, sink: &mut Sink) -> Option<Keys> {
    match (node.names(SUCCESS_RATE.0), node.names(PROMQL.0)) {
        (true, false) => Some(SUCCESS_RATE),
        (false, true) => Some(PROMQL),
        (true, true) => {
            let at = node.given(PROMQL.0).map_or(&node.span, |field| &field.span);
            let message = format!("`{}` has two conditions", node.path);
            let help = "write an [[abort]] for each: any of them ends the faults";
            sink.error(at, &node.path, message, "a second condition", help);
            None
        }
        (false, false) if sink.is_complete() => {
            let message = format!("`{}` has no condition", node.path);
            let help = "add `success_rate_below = 0.5` with a `bulkhead`, or `promql` with `above` or \
                        `below`";
            sink.error(&node.span, &node.path, message, "nothing to watch", help);
            None
        }
        (false, false) => None,
    }
}

/// Keys that have no meaning with this condition.
fn strangers(node: &Node, (chosen, others): Keys, sink: &mut Sink) {
    let belongs = |key: &str| key == chosen || others.contains(&key);
    for field in node.fields.iter().filter(|field| field.given && !belongs(field.key.name)) {
        let message = format!("`{}` does not go with `{chosen}`", field.path);
        let help = format!("leave it out; keys with `{chosen}`: {}", others.join(", "));
        sink.error(&field.span, &field.path, message, "not a key of this condition", help);
    }
}

fn needs_bulkhead(node: &Node, sink: &mut Sink) {
    if !node.names("bulkhead") && sink.is_complete() {
        let path = format!("{}.bulkhead", node.path);
        let message = format!("`{path}` is missing: `{}` needs it", SUCCESS_RATE.0);
        let help = "add `bulkhead = \"writing\"`: whose calls are watched";
        sink.error(&node.span, &path, message, "required here", help);
    }
}
