//! What comes back from the kernel: events, counters, hanging calls, made readable for people
//! and programs. It only looks; it changes nothing on the host.

mod audit;
mod decode;
mod limits;
mod process;
mod sockets;
mod status;
mod store;
mod waits;

use std::sync::{Arc, RwLock};

use crate::plan::Ids;

pub use audit::{Audit, AuditedBulkhead, audit};
pub use decode::{decode, peer_text};
pub use limits::limit_status;
pub use process::socket_descriptors;
pub use sockets::{GuardedSocket, guarded_sockets};
pub use status::{pair_status, success_ratio};
pub use store::EventStore;
pub use waits::{BulkheadView, collect as collect_waits};

/// Ids and their names, shared by everything that makes records for people.
pub type SharedIds = Arc<RwLock<Ids>>;

/// Runs `look` with the names; a writer that panicked leaves them usable.
pub fn with_ids<T>(ids: &SharedIds, look: impl FnOnce(&Ids) -> T) -> T {
    look(&ids.read().unwrap_or_else(std::sync::PoisonError::into_inner))
}
