//! How an action ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionResult {
    /// It was done. Whether it has helped, the verification says.
    Done,
    /// It was tried and failed.
    Failed,
    /// It was ended after its timeout.
    TimedOut,
    /// It was not tried, for the reason in the message.
    Skipped,
    /// Monitor mode or a dry run: it would have been tried.
    WouldHave,
}

impl ActionResult {
    /// Every result.
    pub const ALL: [Self; 5] =
        [Self::Done, Self::Failed, Self::TimedOut, Self::Skipped, Self::WouldHave];

    /// Its word in the metrics, events and incidents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::WouldHave => "would_have",
        }
    }
}

/// How one action ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How.
    pub result: ActionResult,
    /// What was done, or why not; one line.
    pub message: String,
    /// How long it took.
    pub took: Duration,
}
