//! Moments of a drill as the journal writes them: `2026-11-23T17:27:48.452244+00:00`, UTC, always
//! with microseconds, never `Z`.

use jiff::{SignedDuration, Timestamp};

use crate::drill::Record;

/// The time of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Timestamp,
    end: Timestamp,
}

impl Clock {
    /// An error if the record's times are none: a journal with a made-up time would lie.
    pub(super) fn of(record: &Record) -> Result<Self, String> {
        let time = |name: &str, text: &str| {
            text.parse::<Timestamp>().map_err(|error| {
                format!("the {name} of the run is no time in RFC 3339 ({text:?}: {error})")
            })
        };
        Ok(Self { start: time("start", &record.start)?, end: time("end", &record.end)? })
    }

    /// When the drill began.
    pub(super) fn start(&self) -> String {
        written(self.start)
    }

    /// When it ended.
    pub(super) fn end(&self) -> String {
        written(self.end)
    }

    /// So many seconds after the begin.
    pub(super) fn at(&self, seconds: f64) -> String {
        // A cast of a float ends at the limits, and makes 0 of what is no number.
        let since = SignedDuration::from_micros((seconds * 1e6).round() as i64);
        written(self.start.checked_add(since).unwrap_or(self.start))
    }
}

fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_always_there() {
        let start: Timestamp = "2026-11-23T17:27:48Z".parse().unwrap();
        let clock = Clock { start, end: start };
        assert_eq!(clock.start(), "2026-11-23T17:27:48.000000+00:00");
        assert_eq!(clock.at(1.25), "2026-11-23T17:27:49.250000+00:00");
        assert_eq!(clock.at(f64::NAN), clock.start());
        assert_eq!(clock.at(f64::INFINITY), clock.start());
    }
}
