//! Drills by the public command: their verdicts, their ends, their results, and what is refused.
//! Every drill here must leave nothing on the host and must not touch the other bulkhead. Needs root
//! and cgroup2; else each test says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]
#![allow(missing_docs, unreachable_pub, reason = "modules of a test binary, not of a library")]

mod detach;
mod ends;
mod prometheus;
mod refused;
#[path = "../rig/mod.rs"]
mod rig;
mod scene;
mod schedules;
mod suite;
mod verdicts;
