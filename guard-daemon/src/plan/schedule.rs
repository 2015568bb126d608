//! `[[schedule]]`: drills that guardd runs by itself.

use std::path::PathBuf;

use crate::schedule::{Calendar, Rules};

/// One schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulePlan {
    /// Name, unique.
    pub name: String,
    /// The drill file.
    pub drill: PathBuf,
    /// When.
    pub calendar: Calendar,
    /// What else decides whether it is run.
    pub rules: Rules,
    /// Where its results go.
    pub out: PathBuf,
    /// Whether it is run at all.
    pub enabled: bool,
}
