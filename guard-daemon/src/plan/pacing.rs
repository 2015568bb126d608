//! How fast calls may begin, and what counts as a storm of them. Plain data.

use std::collections::BTreeSet;
use std::time::Duration;

/// Longest time for which a call is held, where nobody says otherwise: below the shortest timeout of
/// the clients in use (30 s).
pub const PACING_MAX_DELAY: Duration = Duration::from_secs(20);

/// The rate of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacePlan {
    /// Time between two calls.
    pub interval: Duration,
    /// Calls that may begin at once after a pause; at least 1.
    pub burst: u32,
}

impl PacePlan {
    /// `rate` calls a second (above 0), and one second's worth of them at once if `burst` is not said.
    pub fn new(rate: f64, burst: Option<u32>) -> Self {
        let burst = burst.unwrap_or_else(|| rate.ceil() as u32).max(1);
        Self { interval: Duration::from_secs_f64(1.0 / rate), burst }
    }

    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        // A rate as it was written: intervals are whole nanoseconds.
        (1e6 / self.interval.as_secs_f64()).round() / 1e6
    }

    /// How far calls may be ahead of their pace.
    pub fn ahead(&self) -> Duration {
        self.interval.saturating_mul(self.burst - 1)
    }
}

/// `[defaults.storms]`, and who is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct StormPlan {
    /// Whether storms are looked for, where a service does not say.
    pub on: bool,
    /// Services that are left out, or looked at although `on` says no.
    pub except: BTreeSet<String>,
    /// Answered calls a second at least.
    pub calls_per_second: f64,
    /// Mean size of an answer at most, bytes.
    pub max_answer_bytes: u64,
    /// Mean time to its first byte at most.
    pub max_answer_time: Duration,
    /// For how long.
    pub lasting: Duration,
}

impl Default for StormPlan {
    fn default() -> Self {
        Self {
            on: true,
            except: BTreeSet::new(),
            calls_per_second: 20.0,
            max_answer_bytes: 4096,
            max_answer_time: Duration::from_millis(100),
            lasting: Duration::from_secs(15),
        }
    }
}

impl StormPlan {
    /// Whether storms of calls to this service are told.
    pub fn is_about(&self, service: &str) -> bool {
        self.on != self.except.contains(service)
    }

    /// Whether any are.
    pub fn any(&self) -> bool {
        self.on || !self.except.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_calls_may_begin_at_once_and_at_least_one() {
        let plan = |rate, burst| PacePlan::new(rate, burst);
        assert_eq!((plan(5.0, None).burst, plan(0.5, None).burst), (5, 1));
        assert_eq!(plan(2.5, None).burst, 3);
        assert_eq!(plan(5.0, Some(40)).ahead(), Duration::from_millis(39 * 200));
        assert_eq!(plan(0.5, None).interval, Duration::from_secs(2));
        assert!((plan(3.0, None).per_second() - 3.0).abs() < 1e-6);
    }
}
