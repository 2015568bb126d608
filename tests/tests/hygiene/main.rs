//! Connection hygiene and timeouts: real connections whose peers close, vanish or say nothing, and
//! those that must be left alone. Times are shortened in the configuration, never in the code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

use testbed::guardd::Guardd;

#[path = "../rig/mod.rs"]
mod rig;

mod closed;
mod dead;
mod options;
mod stalls;
mod timeouts;

/// Connections of `research` to `api` that were found dead for this cause.
fn stale(guardd: &Guardd, cause: &str) -> f64 {
    let labels = [r#"bulkhead="research""#, r#"destination="api""#, &format!("cause=\"{cause}\"")];
    rig::metric(guardd, "guard_stale_connections_total", &labels)
}
