//! Self-healing: when a detector fires for a bulkhead and a service, the actions of a rule are
//! tried from mild to severe, each is verified, and what does not help ends with a call to a person.
//!
//! Data: windows of `health` → a rule's detector → an incident → one action after the other (by
//! `daemon`, which holds the kernel, the cgroups and the agents) → a verification by the same windows.
//! Healing is bounded in everything: in time, in number per hour, and in how many run at once. It
//! never ends a call or a process of class `mcp` or `tool` unless the configuration says so.

mod again;
pub mod hooks;
mod ladder;
mod outcome;
mod situation;

pub use again::again;
pub use ladder::{Ladder, Look, Order};
pub use outcome::{ActionResult, Outcome};
pub use situation::Situation;
