//! Incidents: from the moment something is degraded until its recovery is verified.

use serde::{Deserialize, Serialize};

use crate::recovery::{ActionResult, Situation};

mod book;
mod totals;

pub use book::IncidentBook;
pub use totals::{Total, Totals};

/// One incident with its timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Number, from 1, never given twice.
    pub id: u64,
    /// What was wrong when it was opened.
    pub situation: Situation,
    /// When it was opened: RFC 3339.
    pub opened: String,
    /// What happened since, in order.
    pub timeline: Vec<Entry>,
    /// How it ended; `None` = it goes on.
    pub closed: Option<Closed>,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When: RFC 3339.
    pub time: String,
    /// What kind of line.
    pub kind: EntryKind,
    /// Number of the step, from 1, where it is about one.
    pub step: Option<usize>,
    /// Its action.
    pub action: Option<String>,
    /// How the action ended.
    pub result: Option<ActionResult>,
    /// How long it took.
    pub took_seconds: Option<f64>,
    /// One line for people.
    pub message: String,
}

/// What a line of a timeline tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The detector fired.
    Detected,
    /// What is known of the cause.
    Diagnosed,
    /// A step was tried.
    Action,
    /// The verification passed.
    Verified,
    /// The verification failed in its time.
    NotVerified,
    /// A person was called.
    Called,
    /// Anything else worth knowing.
    Note,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When: RFC 3339.
    pub time: String,
    /// How.
    pub end: End,
    /// The action after which it was verified; `None` = it healed before any.
    pub helped: Option<String>,
    /// One line for people.
    pub message: String,
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Verified.
    Recovered,
    /// The rule, the bulkhead or the service was taken out of the configuration.
    Withdrawn,
    /// Somebody had asked for the recovery (`guardctl recover`), and it is over.
    Asked,
}
