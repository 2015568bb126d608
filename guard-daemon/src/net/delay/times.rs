//! For how long packets were held, as a histogram of fixed size. It never fails: what is out of its
//! range counts as the bound.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::HeldTimes;

/// Longest time that is told apart, ns: twice the longest delay.
const HIGHEST_NS: u64 = 120_000_000_000;
/// Digits that are right.
const DIGITS: u8 = 3;

/// `None` if there is no memory for it, which is not worth a fault's end.
pub(super) struct Times(Option<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1_000, HIGHEST_NS, DIGITS).ok())
    }
}

impl Times {
    /// Counts one packet.
    pub(super) fn record(&mut self, held: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(held.as_nanos() as u64);
        }
    }

    /// What there is so far.
    pub(super) fn quantiles(&self) -> HeldTimes {
        let Some(histogram) = &self.0 else { return HeldTimes::default() };
        HeldTimes {
            packets: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.5),
            p95_ns: histogram.value_at_quantile(0.95),
            p99_ns: histogram.value_at_quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), HeldTimes::default());
        (1..=1000).for_each(|ms| times.record(Duration::from_millis(ms)));
        let HeldTimes { packets, p50_ns, p95_ns, p99_ns } = times.quantiles();
        let near = |ns: u64, ms: f64| (ns as f64 / 1e6 - ms).abs() < ms / 500.0;
        assert!(
            packets == 1000 && near(p50_ns, 500.0) && near(p95_ns, 950.0) && near(p99_ns, 990.0)
        );
        times.record(Duration::from_secs(10_000));
        assert_eq!(times.quantiles().packets, 1001);
    }
}
