//! Sums up records while they come.

use std::time::Duration;

use super::record::{Record, Summary};
use crate::stats;

#[derive(Debug, Default)]
pub(super) struct Samples {
    summary: Summary,
    total_us: Vec<f64>,
    connect_us: Vec<f64>,
    ttfb_us: Vec<f64>,
}

impl Samples {
    /// Counts a call that starts and returns its number.
    pub(super) fn start(&mut self) -> u64 {
        self.summary.unfinished += 1;
        self.started()
    }

    /// Calls started so far.
    pub(super) fn started(&self) -> u64 {
        self.summary.calls + self.summary.unfinished
    }

    /// Counts a call that has ended.
    pub(super) fn end(&mut self, record: &Record) {
        let summary = &mut self.summary;
        summary.unfinished -= 1;
        summary.calls += 1;
        summary.received_bytes += record.received_bytes;
        *summary.outcomes.entry(record.outcome.clone()).or_default() += 1;
        if record.is_ok() {
            self.total_us.push(record.total_us);
            self.connect_us.extend(record.connect_us);
            self.ttfb_us.extend(record.ttfb_us);
        }
    }

    /// Everything so far.
    pub(super) fn summary(&self, elapsed: Duration) -> Summary {
        Summary {
            summary: true,
            seconds: elapsed.as_secs_f64(),
            p50_us: stats::median(&self.total_us),
            p95_us: stats::quantile(&self.total_us, 0.95),
            p99_us: stats::quantile(&self.total_us, 0.99),
            max_us: stats::quantile(&self.total_us, 1.0),
            connect_p50_us: stats::median(&self.connect_us),
            ttfb_p50_us: stats::median(&self.ttfb_us),
            ..self.summary.clone()
        }
    }
}
