//! Observation against the real kernel: real agents in real bulkheads, and counters that must be
//! exactly what the agents and servers saw. Needs root and cgroup2; else each test says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]
#![allow(missing_docs, reason = "helpers of tests")]

mod counts;
mod matching;
mod names;
mod outcomes;
mod retransmits;
#[path = "../rig/mod.rs"]
mod rig;
mod sockets;
mod timing;
mod tls;
mod waiting;
