//! Names of steady states: those of the file must differ; the others are made from the probe, and
//! made to differ.

use std::collections::{BTreeSet, HashMap};

use crate::config::text::shown;
use crate::config::{Field, Node, Severity, Sink};
use crate::drill::spec::{Pairs, Probe, SteadyState};

/// The names that the file gives.
#[derive(Debug)]
pub(super) struct Given(BTreeSet<String>);

impl Given {
    /// Collects them, and reports those that are there twice.
    pub(super) fn read(nodes: &[Node], sink: &mut Sink) -> Self {
        let mut first: HashMap<&str, &Field> = HashMap::new();
        for node in nodes {
            let (Some(field), Some(name)) = (node.field("name"), node.text("name")) else {
                continue;
            };
            let Some(earlier) = first.get(name) else {
                first.insert(name, field);
                continue;
            };
            let message = format!("two steady states have the name `{}`", shown(name));
            let found = sink
                .make(Severity::Error, &field.span, &field.path, message)
                .label("again")
                .help("give each a name of its own, or leave it out");
            sink.push(found.related(&earlier.span, "first here"));
        }
        Self(first.keys().map(|name| (*name).to_owned()).collect())
    }
}

/// Names those that have no name.
pub(super) fn make(states: &mut [SteadyState], Given(mut taken): Given) {
    // Where the search for a free number goes on, so that a flood of the same ends.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for state in states.iter_mut().filter(|state| state.name.is_empty()) {
        let stem = of_probe(&state.probe);
        let number = numbers.entry(stem.clone()).or_insert(1);
        let mut name = stem.clone();
        while !taken.insert(name.clone()) {
            *number += 1;
            name = format!("{stem} {number}");
        }
        state.name = name;
    }
}

/// `research/github p95`.
fn of_probe(probe: &Probe) -> String {
    match probe {
        Probe::SuccessRate { pairs, .. } => format!("{} success rate", of_pairs(pairs)),
        Probe::Latency { pairs, quantile, .. } => {
            // Rounded: a share like 0.07 is not exact.
            let percent = (quantile * 10_000.0).round() / 100.0;
            format!("{} p{percent}", of_pairs(pairs))
        }
        Probe::Breaker { bulkhead, service, state } => {
            format!("{bulkhead}/{service} breaker {state}")
        }
        Probe::Http { url, .. } => format!("http {}", shown(url)),
        Probe::Promql { query, .. } => format!("promql {}", shown(&query.promql)),
        Probe::Command { argv, .. } => {
            format!("command {}", argv.first().map(|program| shown(program)).unwrap_or_default())
        }
    }
}

fn of_pairs(pairs: &Pairs) -> String {
    match &pairs.service {
        Some(service) => format!("{}/{service}", pairs.bulkhead),
        None => pairs.bulkhead.clone(),
    }
}
