//! Faults: what the operator asks for, checked, turned into kernel rules and delay queues, and
//! ended. A fault always ends by itself: the kernel checks its deadline and the daemon's lease at
//! each packet, whatever becomes of this module.

mod counters;
mod effect;
mod engine;
mod error;
mod manager;
mod request;
mod rule;

pub use effect::{Direction, DnsFailure, Effect, Per, ShareOf};
pub use engine::{Engine, EngineRefusal, Engines};
pub use error::FaultError;
pub use manager::{Context, FaultManager};
#[cfg(test)]
pub(crate) use request::ERRNOS;
pub use request::{FaultSpec, Pulse, Share};
pub(crate) use request::{impossible_burst, problem};
