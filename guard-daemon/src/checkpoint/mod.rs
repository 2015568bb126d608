//! Checkpoints of an agent's state: what lies below its state paths is copied while the agent is
//! frozen for a moment, checked by a manifest of checksums, and published as a whole or not at all.
//!
//! Most of the copy is made while the agent runs; frozen, only what has changed since is copied
//! again. The one rule that nothing may break: who freezes thaws, in bounded time, whatever
//! fails. Source paths belong to the agent, which is not trusted: they are opened without
//! following any symbolic link, on the way too, so that neither a save nor a restore leaves them.

mod copy;
mod error;
mod freeze;
mod manifest;
mod open;
mod restore;
mod save;
mod store;

use std::path::PathBuf;
use std::time::Duration;

pub use error::CheckpointError;
pub use freeze::{Freezer, Thawed};
pub use restore::{Restored, restore};
pub use save::{Saved, save};
pub use store::{Listed, list, newest};

/// Most files, directories and links of one checkpoint.
pub const MAX_ENTRIES: usize = 100_000;
/// Most bytes of one checkpoint.
pub const MAX_BYTES: u64 = 16 << 30;
/// Deepest directory below a state path.
pub const MAX_DEPTH: usize = 64;

/// What is saved of an agent, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory of this agent's checkpoints; made if absent, for root alone.
    pub directory: PathBuf,
    /// State paths, absolute: directories or files.
    pub paths: Vec<PathBuf>,
    /// Names (of a file or directory, anywhere below the paths) that are left out; glob patterns.
    pub exclude: Vec<String>,
    /// Newest checkpoints that are kept; at least 1.
    pub keep: usize,
    /// Whether a new one is read back from the disk before it counts.
    pub verify: bool,
    /// Longest time that the agent stands still.
    pub max_freeze: Duration,
}

#[cfg(test)]
mod tests;
