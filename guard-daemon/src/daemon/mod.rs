//! guardd: ties everything together, in one order at start and in the reverse at stop.
//!
//! State that changes lives in one place (`state::State`) behind one lock. Whoever holds it for
//! longer than the fault lease makes all faults lapse, which is the safe side.

mod agents;
mod auditing;
mod breaker_control;
mod breakers;
mod budgets;
mod bulkheads;
mod cleanup;
mod cutting;
mod doctor;
mod drills;
mod endpoints;
mod error;
mod fallbacks;
mod footprint;
mod handler;
mod healing;
mod hygiene;
mod keeping;
mod limits;
mod members;
mod nesting;
mod pacing;
mod pressure;
mod reload;
mod resources;
mod resources_seen;
mod retry_budget;
mod run;
mod schedules;
mod serving;
mod start;
mod state;
mod status;
mod storms;
mod threads;
mod waits;

pub use cleanup::{CleanupReport, cleanup};
pub use doctor::offline as doctor_offline;
pub use error::DaemonError;
pub use run::run;
pub use state::Guard;
