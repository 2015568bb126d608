//! Cron expressions: what is wrong with one, in the words of people who write it seldom.

use super::{Problem, shown};
use crate::schedule::Calendar;

/// What would be right, for all kinds of mistakes.
const SHAPE: &str = "write minute, hour, day of the month, month, day of the week, such as \"0 10 * * MON-FRI\" \
                     for ten o'clock on workdays; a sixth field in front is seconds";

/// Checks a cron expression.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    let Err(why) = Calendar::parse(text) else { return Ok(()) };
    let fields = text.split_whitespace().count();
    let why = if text.contains("..") || text.contains(':') {
        "this is systemd's syntax".to_owned()
    } else if !text.starts_with('@') && !(5..=7).contains(&fields) {
        format!("{fields} fields instead of 5 to 7")
    } else {
        why.trim_end_matches('.').to_lowercase()
    };
    let what = format!("is not a cron expression: \"{}\" ({why})", shown(text));
    Err(Problem::new(what, why, SHAPE))
}
