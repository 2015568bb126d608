//! The types of limits and budgets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits of a bulkhead, as a whole or for one service, and what is used of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitStatus {
    /// The service; absent for the bulkhead as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// TCP connections that the bulkhead has made and that count now, those under way included.
    pub connections: u64,
    /// How many there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Retries in the window that runs now.
    pub retries: u32,
    /// How many there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The window.
    pub retry_window_seconds: f64,
    /// Retries that passed since the start.
    pub retries_total: u64,
    /// Calls rejected since the start, by reason: `connections`, `retries`, `retry_budget`,
    /// `budget`. Reasons that never happened are left out.
    pub rejected: BTreeMap<String, u64>,
    /// Calls that would have been, were it not for monitor mode.
    pub would_have: u64,
    /// Whether nothing new may begin, because a budget is used up.
    pub blocked: bool,
}

impl LimitStatus {
    /// Whether anything is limited, or was rejected.
    pub fn says_something(&self) -> bool {
        self.max_connections.is_some()
            || self.max_retries.is_some()
            || self.blocked
            || self.would_have > 0
            || !self.rejected.is_empty()
    }
}
