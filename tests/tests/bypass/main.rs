//! No way around: what an agent could do, by accident or on purpose, to reach a service past guard,
//! tried from inside a bulkhead. Each way is closed, or what goes through it is reported. The table of
//! them is docs/guide/no-way-around.md; who changes this suite changes it too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counts of /metrics are whole numbers")]

#[path = "../rig/mod.rs"]
mod rig;

mod connects;
mod descriptors;
mod kinds;
