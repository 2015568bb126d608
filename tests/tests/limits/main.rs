//! Limits of bulkheads: what may be open, tried again and used up, with real processes and sockets.
//! The neighbour never notices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

mod budgets;
mod connections;
mod count;
mod nested;
mod reset;
mod retries;
#[path = "../rig/mod.rs"]
mod rig;

use serde_json::Value;
use testbed::guardd::Guardd;
use testbed::wait;

use rig::LIMIT;

/// The limits of a bulkhead for a service, or as a whole (`None`), as `status` shows them.
fn limit(guardd: &Guardd, bulkhead: &str, service: Option<&str>) -> Value {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let found = bulkheads.iter().find(|b| b["name"] == bulkhead).unwrap();
    let limits = found["limits"].as_array().unwrap();
    let wanted = service.map_or(Value::Null, Value::from);
    limits.iter().find(|limit| limit["service"] == wanted).cloned().unwrap_or_default()
}

/// Waits until so many connections of the bulkhead count.
fn counted(guardd: &Guardd, bulkhead: &str, connections: u64) {
    let mut last = Value::Null;
    let came = wait::until("the count of connections", LIMIT, || {
        last = limit(guardd, bulkhead, None);
        last["connections"] == connections
    });
    assert!(came.is_ok(), "{bulkhead}: {connections} connections were to count: {last}");
}
