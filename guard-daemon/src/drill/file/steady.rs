//! `[[steady_state]]`: exactly one probe each, and only keys that belong to it.

use super::names::{self, Given};
use super::probes::{PROBES, ProbeKeys};
use super::promql;
use crate::config::{Node, Severity, Sink};
use crate::drill::spec::{Phase, SteadyState};

/// Keys that go with every probe.
const ALWAYS: [&str; 2] = ["name", "when"];

/// All steady states, with names; those with an error are left out.
pub(super) fn read(root: &Node, sink: &mut Sink) -> Vec<SteadyState> {
    let nodes = root.list("steady_state");
    let given = Given::read(nodes, sink);
    let states = nodes.iter().filter_map(|node| {
        let keys = choose(node, sink)?;
        strangers(node, keys, sink);
        needs(node, keys, sink);
        if keys.key == "promql" {
            promql::check(node, "at_least", "at_most", sink);
        }
        let name = node.text("name").unwrap_or_default().to_owned();
        Some(SteadyState { name, when: when(node), probe: (keys.make)(node)? })
    });
    let mut states: Vec<SteadyState> = states.collect();
    names::make(&mut states, given);
    states
}

/// The one probe of an entry; `None` after an error.
fn choose(node: &Node, sink: &mut Sink) -> Option<&'static ProbeKeys> {
    let mut there: Vec<&'static ProbeKeys> = PROBES.iter().filter(|p| node.names(p.key)).collect();
    // In the order of the file, so that the second is the one that is too much.
    there.sort_by_key(|p| node.given(p.key).map(|field| field.span.start));
    match there.as_slice() {
        [one] => return Some(one),
        [] if sink.is_complete() => {
            let keys: Vec<&str> = PROBES.iter().map(|p| p.key).collect();
            let message = format!("`{}` has no probe", node.path);
            let help =
                format!("add one of {}, such as `success_rate_at_least = 0.95`", keys.join(", "));
            sink.error(&node.span, &node.path, message, "nothing to measure", help);
        }
        [] => {}
        [first, second, ..] => {
            let message = format!(
                "`{}` has more than one probe: `{}` and `{}`",
                node.path, first.key, second.key
            );
            let at = node.given(second.key).map_or(&node.span, |field| &field.span);
            let mut found = sink
                .make(Severity::Error, at, &node.path, message)
                .label("a second probe")
                .help("write a [[steady_state]] for each");
            if let Some(field) = node.given(first.key) {
                found = found.related(&field.span, "the first");
            }
            sink.push(found);
        }
    }
    None
}

/// Keys that have no meaning with this probe.
fn strangers(node: &Node, probe: &ProbeKeys, sink: &mut Sink) {
    let belongs = |key: &str| {
        key == probe.key
            || ALWAYS.contains(&key)
            || probe.needs.contains(&key)
            || probe.takes.contains(&key)
    };
    for field in node.fields.iter().filter(|field| field.given && !belongs(field.key.name)) {
        let message = format!("`{}` does not go with `{}`", field.path, probe.key);
        let keys = [&ALWAYS, probe.needs, probe.takes].concat().join(", ");
        let help = format!("leave it out; keys with `{}`: {keys}", probe.key);
        sink.error(&field.span, &field.path, message, "not a key of this probe", help);
    }
}

/// Keys without which this probe has no meaning.
fn needs(node: &Node, probe: &ProbeKeys, sink: &mut Sink) {
    for key in probe.needs.iter().filter(|key| !node.names(key)) {
        if !sink.is_complete() {
            return;
        }
        let path = format!("{}.{key}", node.path);
        let message = format!("`{path}` is missing: `{}` needs it", probe.key);
        let example = match *key {
            "when" => "[\"during\"]",
            "service" => "\"github\"",
            _ => "\"research\"",
        };
        let help = format!("add `{key} = {example}`");
        sink.error(&node.span, &path, message, "required here", help);
    }
}

/// When it must hold: always, if the file does not say.
fn when(node: &Node) -> Vec<Phase> {
    let words = node.texts("when");
    let has = |word: &str| words.is_empty() || words.iter().any(|w| w == word);
    [("before", Phase::Before), ("during", Phase::During), ("after", Phase::After)]
        .into_iter()
        .filter_map(|(word, phase)| has(word).then_some(phase))
        .collect()
}
