//! The types of breakers: how each stands and why, and what the operator asks for.

use serde::{Deserialize, Serialize};

/// One breaker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BreakerRecord {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub service: String,
    /// `closed`, `open` or `half_open`.
    pub state: String,
    /// `enforce`, `monitor`, `force_open`, `force_closed` or `off`.
    pub mode: String,
    /// Failures in a row; of a closed one.
    pub failures: u64,
    /// How many of them trip it.
    pub failure_threshold: u32,
    /// Trips since it was last healthy.
    pub trips: u64,
    /// Until a probe may go, seconds; of an open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<f64>,
    /// For how long the service still wants to be left alone (Retry-After), seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_seconds: Option<f64>,
    /// Calls in the sliding window, where a rule looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowRecord>,
    /// Calls refused at once.
    pub rejected: u64,
    /// Calls that had to wait for it (`open_action = "hold"`).
    pub held: u64,
    /// Calls that it would have refused, were it not for its mode or the daemon's.
    pub would_have: u64,
    /// Probes that succeeded.
    pub probes_succeeded: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// Probes that ended without telling anything.
    pub probes_given_back: u64,
    /// Changes of state so far, modulo 4096.
    pub generation: u64,
    /// The last outcomes, the newest first.
    pub last_outcomes: Vec<String>,
    /// Since the last failure, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_seconds: Option<f64>,
    /// Why it stands as it does, for people.
    pub why: String,
}

/// Sums of a sliding window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// Calls.
    pub calls: u64,
    /// Those of them that were no success.
    pub failed: u64,
    /// Those of them that were slow.
    pub slow: u64,
}

/// Answer to `breaker list` and to whatever changes breakers. `"schema": "guard.breakers/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Breakers {
    /// `guard.breakers/1`.
    pub schema: String,
    /// By bulkhead and service.
    pub breakers: Vec<BreakerRecord>,
}

/// What the operator does to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerAction {
    /// Open it.
    Trip,
    /// Close it, and forget its failures.
    Reset,
    /// Change how it acts, until the next start of guardd.
    Mode,
}

/// Body of `breaker trip|reset|mode`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerRequest {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub service: String,
    /// What to do.
    pub action: BreakerAction,
    /// The new mode, for `mode`.
    #[serde(default)]
    pub mode: Option<String>,
}
