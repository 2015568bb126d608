//! What a gateway did, for metrics and events.

use std::sync::atomic::{AtomicU64, Ordering};

use super::retry::Reason;

/// How a request came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The service has answered, whatever it said.
    Answered,
    /// The service did not answer; the connection was reset.
    Failed,
    /// The service failed, and a kept answer was given.
    Stale,
    /// The breaker refuses calls, and no kept answer fits.
    Rejected,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Stale, Self::Rejected];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
        }
    }
}

/// Counters of one service; they outlive its gateway.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [AtomicU64; 4],
    retries: [AtomicU64; 4],
    /// Connections that are open.
    pub(super) open: AtomicU64,
    /// Connections that were passed through as they are.
    pub(super) passed: AtomicU64,
    /// Connections that were reset because there were too many.
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn end(&self, end: End) {
        self.requests[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One connection more than there may be.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retry(&self, reason: Reason) {
        self.retries[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that ended so.
    pub fn requests(&self, end: End) -> u64 {
        self.requests[end as usize].load(Ordering::Relaxed)
    }

    /// Retries for this reason.
    pub fn retries(&self, reason: Reason) -> u64 {
        self.retries[reason as usize].load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were passed through as they are, since the start.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Connections beyond the limit, since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
