//! When a scheduled drill is due: calendars, and what to do at a given time. Pure: it reads no clock,
//! starts nothing and writes nothing; `daemon::schedules` does that.

mod calendar;
mod decide;

pub use calendar::Calendar;
pub use decide::{Busy, Decision, Missed, Overlap, Rules, Skipped, decide};
