//! Faults on real traffic: what is aimed at is hit exactly as asked, nothing else is touched, and
//! nothing stays behind. Needs root and cgroup2; else each test says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]
#![allow(missing_docs, reason = "helpers of tests")]

mod bad_requests;
mod bystander;
mod latency;
mod lifecycle;
mod loss;
mod names;
mod protected;
mod pulse;
mod refuse;
mod reset;
#[path = "../rig/mod.rs"]
mod rig;
mod several;
mod share;
mod thin;
