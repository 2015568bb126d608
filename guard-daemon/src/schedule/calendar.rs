//! Cron expressions in the local time zone. What a time that does not exist or comes twice means
//! (daylight saving) is the library's matter, see docs/adr/0007; nothing here reads a clock.

use std::str::FromStr as _;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A cron expression, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    text: String,
    cron: Cron,
}

impl Calendar {
    /// Reads an expression. The error says what is wrong, without what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
        let calendar = Self { text: text.to_owned(), cron };
        // One that never comes, such as on the 30th of February. From a fixed time, so that a file
        // means the same whenever it is read.
        let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        match calendar.next(&start) {
            Some(_) => Ok(calendar),
            None => Err("it never comes".to_owned()),
        }
    }

    /// As in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last planned time that is not after `now`.
    pub fn previous(&self, now: &Zoned) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&whole(now)?, true).ok()?;
        Some(found.timestamp()).filter(|found| *found <= now.timestamp())
    }

    /// The first planned time after `now`.
    pub fn next(&self, now: &Zoned) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&whole(now)?, false).ok()?;
        Some(found.timestamp()).filter(|found| *found > now.timestamp())
    }
}

/// Without the fraction of its second: planned times have none.
fn whole(time: &Zoned) -> Option<Zoned> {
    let seconds = Timestamp::from_second(time.timestamp().as_second()).ok()?;
    Some(seconds.to_zoned(time.time_zone().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoned(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn times(calendar: &str, now: &str) -> (String, String) {
        let (calendar, now) = (Calendar::parse(calendar).unwrap(), zoned(now));
        let shown = |time: Option<Timestamp>| {
            time.map(|t| t.to_zoned(now.time_zone().clone()).to_string()).unwrap_or_default()
        };
        (shown(calendar.previous(&now)), shown(calendar.next(&now)))
    }

    #[test]
    fn times_before_and_after_are_local() {
        let (previous, next) = times("0 10 * * MON-FRI", "2026-11-27T12:00:00.5[Europe/Berlin]");
        assert_eq!(previous, "2026-11-27T10:00:00+01:00[Europe/Berlin]");
        assert_eq!(next, "2026-11-30T10:00:00+01:00[Europe/Berlin]");
        // The planned time itself is not after itself.
        let (previous, next) = times("0 10 * * *", "2026-11-27T10:00:00[UTC]");
        assert_eq!(previous, "2026-11-27T10:00:00+00:00[UTC]");
        assert_eq!(next, "2026-11-28T10:00:00+00:00[UTC]");
        let (previous, next) = times("* * * * * *", "2026-11-27T10:00:00.9[UTC]");
        assert_eq!(previous, "2026-11-27T10:00:00+00:00[UTC]");
        assert_eq!(next, "2026-11-27T10:00:01+00:00[UTC]");
    }

    /// In Berlin 02:00 to 03:00 is missing on 2026-03-29, and there twice on 2026-10-25.
    #[test]
    fn a_daily_time_comes_once_a_day_when_clocks_change() {
        let calendar = Calendar::parse("30 2 * * *").unwrap();
        for (day, count) in [("2026-03-28", 4), ("2026-10-24", 4)] {
            let mut now = zoned(&format!("{day}T00:00:00[Europe/Berlin]"));
            let end = now.checked_add(jiff::Span::new().days(count)).unwrap();
            let mut found = 0;
            while let Some(next) = calendar.next(&now).filter(|next| *next < end.timestamp()) {
                now = next.to_zoned(now.time_zone().clone());
                assert_eq!(calendar.previous(&now), Some(next));
                found += 1;
            }
            assert_eq!(found, count, "{day}");
        }
    }

    #[test]
    fn what_never_comes_is_none() {
        for wrong in ["0 0 30 2 *", "Mon..Fri 10:00", "", "* * * *", "61 * * * *", "@reboot"] {
            assert!(Calendar::parse(wrong).is_err(), "{wrong}");
        }
        for right in ["@daily", "0 0 29 2 *", "*/5 * * * *", "0 0 L * *", "0 10 * * MON#1"] {
            assert!(Calendar::parse(right).is_ok(), "{right}");
        }
    }
}
