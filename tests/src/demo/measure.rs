//! What an agent's records say about a span of time.

use testbed::agent::Record;
use testbed::stats;

/// Slower than this is not normal: on loopback a call takes less than a thousandth of it.
pub(crate) const SLOW_MS: f64 = 150.0;
const NS_PER_MS: f64 = 1e6;
const NS_PER_SECOND: f64 = 1e9;

/// A span of Unix time, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// First moment.
    pub(crate) from_ns: u64,
    /// First moment after it.
    pub(crate) to_ns: u64,
}

/// Calls that started within a span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// How many.
    pub(crate) all: u64,
    /// How many of them got a good answer.
    pub(crate) good: u64,
    /// Calls per second.
    pub(crate) per_second: f64,
    /// Time of good calls, milliseconds.
    pub(crate) times_ms: Vec<f64>,
}

impl Calls {
    /// The calls of one or several agents.
    pub(crate) fn within<'a>(records: impl Iterator<Item = &'a Record>, span: Span) -> Self {
        let mut calls = Self::default();
        for record in records.filter(|r| (span.from_ns..span.to_ns).contains(&r.start_unix_ns)) {
            calls.all += 1;
            if record.is_ok() {
                calls.good += 1;
                calls.times_ms.push(record.total_us / 1e3);
            }
        }
        calls.per_second =
            calls.all as f64 / (span.to_ns.saturating_sub(span.from_ns) as f64 / NS_PER_SECOND);
        calls
    }

    /// Share of good calls, percent; 0 without calls.
    pub(crate) fn success_percent(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.good as f64 * 100.0 / self.all as f64 }
    }

    /// A quantile of the time of good calls, milliseconds; infinite without one.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        stats::quantile(&self.times_ms, q).unwrap_or(f64::INFINITY)
    }

    /// The median.
    pub(crate) fn p50_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }
}

/// When a call ended, Unix time in nanoseconds.
pub(crate) fn end_ns(record: &Record) -> u64 {
    record.start_unix_ns + (record.total_us * 1e3) as u64
}

/// Whether a call was slow or failed.
pub(crate) fn is_odd(record: &Record) -> bool {
    !record.is_ok() || record.total_us / 1e3 > SLOW_MS
}

/// From `since_ns` to the end of the last odd call that ended after it, seconds; 0 without one.
pub(crate) fn seconds_until_normal<'a>(
    records: impl Iterator<Item = &'a Record>,
    since_ns: u64,
) -> f64 {
    let last = records.filter(|record| is_odd(record)).map(end_ns).max().unwrap_or(0);
    last.saturating_sub(since_ns) as f64 / NS_PER_SECOND
}

/// Milliseconds as nanoseconds.
pub(crate) fn ms_to_ns(ms: f64) -> u64 {
    (ms * NS_PER_MS) as u64
}
