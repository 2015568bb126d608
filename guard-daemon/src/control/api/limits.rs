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
    /// How fast calls may begin: of a service its own rate, without that of the bulkhead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<f64>,
    /// Who holds calls that come faster: `edt` or `nfqueue`; absent where no rate is about the service,
    /// or nothing can hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pacing_engine: Option<String>,
    /// Calls that were held since the start.
    pub paced: u64,
    /// For how long in sum.
    pub pacing_delay_seconds: f64,
    /// Calls that passed, because they would have been held for too long.
    pub pacing_over: u64,
}

impl LimitStatus {
    /// Whether anything is limited, or was rejected.
    pub fn says_something(&self) -> bool {
        self.max_connections.is_some()
            || self.max_retries.is_some()
            || self.blocked
            || self.would_have > 0
            || self.max_calls_per_second.is_some()
            || self.pacing_engine.is_some()
            || self.paced + self.pacing_over > 0
            || !self.rejected.is_empty()
    }
}
