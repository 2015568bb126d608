//! The types of healing.

use serde::{Deserialize, Serialize};

use crate::health::incident::Incident;

/// `GET /v1/incidents`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Incidents {
    /// `guard.incidents/1`.
    pub schema: String,
    /// The newest last.
    pub incidents: Vec<IncidentRecord>,
    /// Why they are not written to the disk, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentRecord {
    /// What is written down of it.
    #[serde(flatten)]
    pub incident: Incident,
    /// How long it took, or has taken so far.
    pub seconds: f64,
}

/// `POST /v1/recover`: runs a rule's steps now, whether its detector fires or not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The rule.
    pub rule: String,
    /// For whom; needed where the rule does not say.
    #[serde(default)]
    pub bulkhead: Option<String>,
    /// Calls to what; needed where the rule is about calls and does not say.
    #[serde(default)]
    pub service: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Its answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recovered {
    /// `guard.recovered/1`.
    pub schema: String,
    /// The incident, if one was opened.
    pub incident: u64,
    /// What was done, in order.
    pub steps: Vec<RecoveredStep>,
    /// Whether it is well now; `null` = no call has shown it yet.
    pub helped: Option<bool>,
}

/// One step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecoveredStep {
    /// Its action.
    pub action: String,
    /// `done`, `failed`, `timed_out`, `skipped` or `would_have`.
    pub result: String,
    /// What was done, or why not.
    pub message: String,
    /// How long it took.
    pub seconds: f64,
}

/// `GET /v1/policies`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Policies {
    /// `guard.policies/1`.
    pub schema: String,
    /// By name.
    pub policies: Vec<serde_json::Value>,
    /// The same as variables.
    pub environment: Vec<(String, String)>,
}
