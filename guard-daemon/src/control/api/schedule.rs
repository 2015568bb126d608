//! The types of schedules, as `drill list` tells of them.

use serde::{Deserialize, Serialize};

/// One `[[schedule]]` and what it does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScheduleStatus {
    /// Name.
    pub name: String,
    /// The drill file.
    pub drill: String,
    /// The cron expression.
    pub calendar: String,
    /// `idle`, `waiting` (for another drill), `running` or `disabled`.
    pub state: String,
    /// The next planned time, with the time zone: `2026-11-30T10:00:00+01:00[Europe/Berlin]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The same, seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_unix_seconds: Option<i64>,
    /// The last run of this guardd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScheduledRun>,
}

/// A run that has ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScheduledRun {
    /// The time that it was planned for, UTC, RFC 3339.
    pub planned: String,
    /// When it had ended, UTC, RFC 3339.
    pub ended: String,
    /// `held`, `deviated`, `inconclusive`, or `failed` (there is no verdict).
    pub verdict: String,
    /// guardctl's exit code; absent if a signal ended it or it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One sentence.
    pub why: String,
    /// Id of the run, also the name of its directory of results; empty without a verdict.
    pub run_id: String,
}
