//! Bulkheads inside bulkheads: the innermost owns what happens, once, and the limits of those around it
//! hold. `research` lies around `writing` here.

mod changes;
mod owner;
mod walls;

use std::net::SocketAddr;

use testbed::guardd::{Guardd, GuarddConfig};

use super::rig::{RESEARCH, WRITING, services};

/// Where the inner bulkhead's cgroup is.
const INNER: &str = "research/writing";

fn config(address: SocketAddr, breaker: &str, outer: &str, inner: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[defaults.breaker]\n{breaker}\n\
         [bulkheads.{RESEARCH}]\n{outer}\n[bulkheads.{WRITING}]\ncgroup = \"{INNER}\"\n{inner}\n"
    ))
}

/// The same without the inner bulkhead.
fn alone(address: SocketAddr, outer: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{RESEARCH}]\n{outer}\n"
    ))
}

fn start(address: SocketAddr, breaker: &str, outer: &str, inner: &str) -> Guardd {
    Guardd::start(config(address, breaker, outer, inner)).unwrap()
}

/// Asserts that a bulkhead owns nothing: no call, no connect, no connection of its own.
fn owns_nothing(guardd: &Guardd, bulkhead: &str) {
    for (service, pair) in services(guardd, bulkhead) {
        assert_eq!(
            (pair.connects, pair.all_calls(), pair.connections, pair.sent_bytes),
            (0, 0, 0, 0),
            "{bulkhead}/{service}: {pair:?}"
        );
    }
}
