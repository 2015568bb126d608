//! Paced calls and storms, with real processes and sockets: what comes too fast waits and is neither
//! refused nor lost, and the neighbour never notices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

mod ends;
mod rate;
#[path = "../rig/mod.rs"]
mod rig;
mod shared;
mod storms;

use serde_json::Value;
use testbed::agent::{AgentProcess, Record};
use testbed::cgroup;
use testbed::guardd::Guardd;

use rig::{LIMIT, url};

/// The limits of a bulkhead for a service, or as a whole (`None`), as `status` shows them.
fn limit(guardd: &Guardd, bulkhead: &str, service: Option<&str>) -> Value {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let found = bulkheads.iter().find(|b| b["name"] == bulkhead).unwrap();
    let limits = found["limits"].as_array().unwrap();
    let wanted = service.map_or(Value::Null, Value::from);
    limits.iter().find(|limit| limit["service"] == wanted).cloned().unwrap_or_default()
}

/// An agent in a bulkhead that makes calls as fast as it can.
fn eager(
    guardd: &Guardd,
    bulkhead: &str,
    address: std::net::SocketAddr,
    args: &[&str],
) -> AgentProcess {
    let path = guardd.bulkhead(bulkhead);
    let target = url(address);
    let all = [&["--target", target.as_str()], args].concat();
    AgentProcess::start(&all, |command| cgroup::wrap(&path, &command)).unwrap()
}

/// So many calls on one kept connection, as fast as they go; every one must be answered well.
fn burst(
    guardd: &Guardd,
    bulkhead: &str,
    address: std::net::SocketAddr,
    calls: u32,
) -> Vec<Record> {
    let count = calls.to_string();
    let agent = eager(guardd, bulkhead, address, &["--keep-alive", "--count", &count]);
    let (records, _) = agent.finish(LIMIT * 3).unwrap();
    all_good(&records, calls as usize);
    records
}

fn all_good(records: &[Record], calls: usize) {
    let bad: Vec<_> = records.iter().filter(|record| !record.is_ok()).collect();
    assert!(bad.is_empty() && records.len() == calls, "{} of {calls}: {bad:?}", records.len());
}

/// When each call ended, in seconds after the first began.
fn ends(records: &[Record]) -> Vec<f64> {
    let first = records.iter().map(|record| record.start_unix_ns).min().unwrap();
    let end = |r: &Record| (r.start_unix_ns - first) as f64 / 1e9 + r.total_us / 1e6;
    let mut all: Vec<_> = records.iter().map(end).collect();
    all.sort_by(f64::total_cmp);
    all
}
