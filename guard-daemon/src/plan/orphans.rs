//! What shall become of processes whose main process has ended.

use std::time::Duration;

/// `orphans` of a bulkhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanPlan {
    /// How long after that end they count as such.
    pub after: Duration,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// End them, besides reporting them.
    pub end: bool,
}

impl Default for OrphanPlan {
    fn default() -> Self {
        Self { after: Duration::from_mins(1), grace: Duration::from_secs(10), end: false }
    }
}
