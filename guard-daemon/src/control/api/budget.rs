//! The types of budgets.

use serde::{Deserialize, Serialize};

/// `GET /v1/budgets`, and the answer to a release.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Budgets {
    /// `guard.budgets/1`.
    pub schema: String,
    /// By bulkhead, in the order of the configuration.
    pub budgets: Vec<BudgetRecord>,
}

/// One budget and what is used of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BudgetRecord {
    /// Bulkhead.
    pub bulkhead: String,
    /// Services that it is about; empty = all.
    pub services: Vec<String>,
    /// Length of the period.
    pub per_seconds: u64,
    /// What is limited.
    pub amounts: Vec<BudgetAmount>,
    /// When the period ends, seconds since 1970-01-01 UTC.
    pub ends_unix_seconds: u64,
    /// `block`, `freeze` or `warn`.
    pub on_exhausted: String,
    /// `ok`, `exhausted`, or `released` (exhausted, but the operator lets it go on).
    pub state: String,
}

/// One amount of a budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BudgetAmount {
    /// `bytes`, `calls` or `connects`.
    pub name: String,
    /// Used in this period.
    pub used: u64,
    /// Allowed in a period.
    pub limit: u64,
}

/// `POST /v1/budgets`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetRelease {
    /// Whose budgets are released until their periods end.
    pub bulkhead: String,
}
