//! The probes that a steady state can have: their keys, and how they become a [`Probe`].

use std::time::Duration;

use super::pairs;
use crate::config::Node;
use crate::drill::spec::Probe;

/// A probe's keys.
#[derive(Debug)]
pub(super) struct ProbeKeys {
    /// The key that chooses it.
    pub(super) key: &'static str,
    /// Keys that it cannot be without.
    pub(super) needs: &'static [&'static str],
    /// Keys that it may have too.
    pub(super) takes: &'static [&'static str],
    /// Makes it; `None` after an error was reported.
    pub(super) make: fn(&Node) -> Option<Probe>,
}

/// All of them.
pub(super) static PROBES: [ProbeKeys; 6] = [
    ProbeKeys {
        key: "success_rate_at_least",
        needs: &["bulkhead"],
        takes: &["service", "min_calls"],
        make: success_rate,
    },
    ProbeKeys {
        key: "latency_at_most",
        needs: &["bulkhead"],
        takes: &["service", "quantile", "min_calls"],
        make: latency,
    },
    ProbeKeys {
        key: "breaker",
        // A breaker that is to be open at any time is not one: the phase must be said.
        needs: &["bulkhead", "service", "when"],
        takes: &[],
        make: breaker,
    },
    ProbeKeys { key: "http", needs: &[], takes: &["status", "timeout"], make: http },
    ProbeKeys {
        key: "promql",
        needs: &[],
        takes: &["prometheus", "at_least", "at_most", "timeout"],
        make: promql,
    },
    ProbeKeys { key: "command", needs: &[], takes: &["exit_code", "timeout"], make: command },
];

fn success_rate(node: &Node) -> Option<Probe> {
    Some(Probe::SuccessRate {
        pairs: pairs(node)?,
        at_least: node.number("success_rate_at_least")?,
        min_calls: node.integer("min_calls")?,
    })
}

fn latency(node: &Node) -> Option<Probe> {
    Some(Probe::Latency {
        pairs: pairs(node)?,
        quantile: node.number("quantile")?,
        at_most: node.duration("latency_at_most")?,
        min_calls: node.integer("min_calls")?,
    })
}

fn breaker(node: &Node) -> Option<Probe> {
    Some(Probe::Breaker {
        bulkhead: node.text("bulkhead")?.to_owned(),
        service: node.text("service")?.to_owned(),
        state: node.text("breaker")?.to_owned(),
    })
}

fn http(node: &Node) -> Option<Probe> {
    Some(Probe::Http {
        url: node.text("http")?.to_owned(),
        status: u16::try_from(node.integer("status")?).ok()?,
        timeout: node.duration("timeout").unwrap_or(Duration::from_secs(2)),
    })
}

fn promql(node: &Node) -> Option<Probe> {
    Some(Probe::Promql {
        query: super::promql::query(node)?,
        at_least: node.number("at_least"),
        at_most: node.number("at_most"),
    })
}

fn command(node: &Node) -> Option<Probe> {
    Some(Probe::Command {
        argv: node.field("command").map(|_| node.texts("command").to_vec())?,
        exit_code: i32::try_from(node.integer("exit_code")?).ok()?,
        timeout: node.duration("timeout").unwrap_or(Duration::from_secs(5)),
    })
}
