//! Calls that guard's own limits refused in the last while, by reason, from counters that only grow. Pure:
//! it reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use guard_common::abi::limits::{WHY_NAMES, why};

/// Reasons: those of the limits, and pressure.
const REASONS: usize = why::COUNT + 1;
/// Samples of a window: its edge is this share of it coarse.
const SAMPLES: u32 = 60;
/// Two samples are no closer.
const CLOSEST: Duration = Duration::from_millis(200);

/// Refused calls by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    counts: [u64; REASONS],
}

impl Refused {
    /// By the limits of a bulkhead and service, in the order of `why::*`.
    pub fn by_limits(counts: [u64; why::COUNT]) -> Self {
        let mut all = [0; REASONS];
        all[..why::COUNT].copy_from_slice(&counts);
        Self { counts: all }
    }

    /// By pressure stages of a bulkhead.
    pub fn by_pressure(count: u64) -> Self {
        let mut counts = [0; REASONS];
        counts[why::COUNT] = count;
        Self { counts }
    }

    /// Both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut counts = self.counts;
        for (sum, more) in counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(more);
        }
        Self { counts }
    }

    /// What came since.
    fn since(self, before: Self) -> Self {
        let mut counts = self.counts;
        for (now, before) in counts.iter_mut().zip(before.counts) {
            *now = now.saturating_sub(before);
        }
        Self { counts }
    }

    /// For whatever reason.
    pub fn all(self) -> u64 {
        self.counts.iter().sum()
    }

    /// `7 (4 retries, 3 budget)`; the reasons as `guard_bulkhead_rejected_total` has them.
    pub fn words(self) -> String {
        let names = WHY_NAMES.into_iter().chain(["pressure"]);
        let some = names.zip(self.counts).filter(|(_, count)| *count > 0);
        let each: Vec<String> = some.map(|(name, count)| format!("{count} {name}")).collect();
        if each.is_empty() {
            "0".to_owned()
        } else {
            format!("{} ({})", self.all(), each.join(", "))
        }
    }
}

/// Refused calls over the last while.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    samples: VecDeque<(Instant, Refused)>,
    latest: Option<(Instant, Refused)>,
    newest: Option<Instant>,
}

impl Refusals {
    /// Takes the counters of now; `longest` is the longest span that will be asked for.
    pub fn push(&mut self, refused: Refused, now: Instant, longest: Duration) {
        match self.latest {
            // A bulkhead that was made anew counts from 0.
            Some((_, old)) if old.since(refused).all() > 0 => self.samples.clear(),
            Some((_, old)) if refused.since(old).all() > 0 => self.newest = Some(now),
            Some(_) => {}
            None => self.newest = Some(now),
        }
        let apart = (longest / SAMPLES).max(CLOSEST);
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= apart) {
            self.samples.push_back((now, refused));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= longest) {
            self.samples.pop_front();
        }
        self.latest = Some((now, refused));
    }

    /// Those of the last `span`; what was before the first look never counts.
    pub fn last(&self, span: Duration) -> Refused {
        let Some((now, latest)) = self.latest else { return Refused::default() };
        let inside = self.samples.partition_point(|(at, _)| now.duration_since(*at) > span);
        let edge = self.samples.get(inside.saturating_sub(1)).or(self.samples.front());
        edge.map(|(_, edge)| latest.since(*edge)).unwrap_or_default()
    }

    /// When the newest was seen; before any, when the first look was.
    pub fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// A step was done: spans that begin here have an edge here, however coarse the window is.
    pub fn mark(&mut self) {
        self.samples.extend(self.latest);
    }

    /// What is before this moment counts no more.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.samples.extend(self.latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn only_what_came_in_the_last_while_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let retries = |count| Refused::by_limits([0, count, 0, 0]);
        let mut refusals = Refusals::default();
        refusals.push(retries(100), at(0), LONGEST);
        assert_eq!(refusals.last(LONGEST).all(), 0, "before the first look");
        assert_eq!(refusals.newest(), Some(at(0)), "the first look");
        refusals.push(retries(104).plus(Refused::by_pressure(2)), at(10), LONGEST);
        assert_eq!(refusals.last(LONGEST).words(), "6 (4 retries, 2 pressure)");
        assert_eq!(refusals.newest(), Some(at(10)));
        refusals.push(retries(104).plus(Refused::by_pressure(2)), at(60), LONGEST);
        assert_eq!(refusals.last(LONGEST).words(), "0");
        refusals.push(retries(105).plus(Refused::by_pressure(2)), at(61), LONGEST);
        refusals.forget();
        assert_eq!(refusals.last(LONGEST).all(), 0, "forgotten");
        let mut refusals = Refusals::default();
        let day = Duration::from_hours(24);
        refusals.push(retries(0), at(0), day);
        refusals.push(retries(9), at(1), day);
        assert_eq!(refusals.last(Duration::from_millis(500)).all(), 9, "the window is coarse");
        refusals.mark();
        refusals.push(retries(10), at(2), day);
        assert_eq!(refusals.last(Duration::from_millis(900)).all(), 1);
    }

    #[test]
    fn a_bulkhead_that_was_made_anew_counts_from_there() {
        let start = Instant::now();
        let of = |count| Refused::by_limits([count, 0, 0, 0]);
        let mut refusals = Refusals::default();
        refusals.push(of(50), start, LONGEST);
        refusals.push(of(1), start + Duration::from_secs(1), LONGEST);
        assert_eq!(refusals.last(LONGEST).all(), 0);
        refusals.push(of(3), start + Duration::from_secs(2), LONGEST);
        assert_eq!(refusals.last(LONGEST).all(), 2);
    }
}
