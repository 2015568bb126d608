//! How the calls of one (bulkhead, service) went in the last while, from the kernel's counters, which
//! only grow. Pure: it reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::stats::{CALL_BUCKET_COUNT, CALL_BUCKETS_NS, PairStats};
use guard_common::logic::breaker::Result as Judgement;

/// Samples of a window: its edge is this share of it coarse.
const SAMPLES: u32 = 60;
/// Two samples are no closer.
const CLOSEST: Duration = Duration::from_millis(200);

/// Counters at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    calls: [u64; Outcome::COUNT],
    injected: u64,
    injected_bad: u64,
    buckets: [u64; CALL_BUCKET_COUNT],
}

impl Counts {
    fn of(stats: &PairStats) -> Self {
        let mut calls = [0; Outcome::COUNT];
        let (mut injected, mut injected_bad) = (0, 0);
        for outcome in Outcome::ALL {
            calls[outcome as usize] = stats.calls_of(outcome);
            let touched = stats.calls[outcome as usize][Origin::Injected as usize];
            injected += touched;
            if is_bad(outcome) {
                injected_bad += touched;
            }
        }
        Self { calls, injected, injected_bad, buckets: stats.call_buckets }
    }

    /// What happened between `edge` and these.
    fn since(&self, edge: &Self) -> Span {
        // Counters are read one after the other while they grow: never below 0.
        let injected = self.injected.saturating_sub(edge.injected);
        let injected_bad = self.injected_bad.saturating_sub(edge.injected_bad);
        let mut found = Span { injected, injected_bad, ..Span::default() };
        for (sum, (new, old)) in found.calls.iter_mut().zip(self.calls.iter().zip(edge.calls)) {
            *sum = new.saturating_sub(old);
        }
        for (sum, (new, old)) in found.buckets.iter_mut().zip(self.buckets.iter().zip(edge.buckets))
        {
            *sum = new.saturating_sub(old);
        }
        found
    }
}

/// Counters of a pair over the last while.
#[derive(Clone, Debug, Default)]
pub struct Window {
    samples: VecDeque<(Instant, Counts)>,
    latest: Option<(Instant, Counts)>,
    good_in_row: u64,
}

/// What happened in a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Calls by outcome, in ABI order.
    pub calls: [u64; Outcome::COUNT],
    /// How many of them a fault has touched.
    pub injected: u64,
    /// How many of those went badly.
    injected_bad: u64,
    buckets: [u64; CALL_BUCKET_COUNT],
}

impl Window {
    /// Takes the counters of now; `longest` is the longest span that will be asked for.
    pub fn push(&mut self, stats: &PairStats, now: Instant, longest: Duration) {
        let counts = Counts::of(stats);
        // A bulkhead that was made anew counts from 0.
        let fell = |(_, old): &(Instant, Counts)| {
            old.calls.iter().zip(counts.calls).any(|(old, new)| *old > new)
        };
        if self.latest.as_ref().is_some_and(fell) {
            self.samples.clear();
            self.begin_row();
        } else if let Some((_, old)) = &self.latest {
            let (good, bad) = counts.since(old).good_and_bad();
            // Of calls between two looks it is not known which was first.
            self.good_in_row = if bad > 0 { 0 } else { self.good_in_row + good };
        }
        let apart = (longest / SAMPLES).max(CLOSEST);
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= apart) {
            self.samples.push_back((now, counts));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= longest) {
            self.samples.pop_front();
        }
        self.latest = Some((now, counts));
    }

    /// Good calls since the last bad one, or since [`Window::mark`], however long ago they were:
    /// agents that call once a minute show this way that they are served.
    pub fn good_in_row(&self) -> u64 {
        self.good_in_row
    }

    /// Counts the good calls in a row from this moment on.
    fn begin_row(&mut self) {
        self.good_in_row = 0;
    }

    /// A step was done: spans that begin here have an edge here, however coarse the window is.
    pub fn mark(&mut self) {
        self.begin_row();
        self.samples.extend(self.latest);
    }

    /// What is before this moment counts no more.
    pub fn forget(&mut self) {
        self.begin_row();
        self.samples.clear();
        self.samples.extend(self.latest);
    }

    /// What happened in the last `span`, or since the window was begun.
    pub fn last(&self, span: Duration) -> Span {
        let Some((now, latest)) = &self.latest else { return Span::default() };
        let inside = self.samples.partition_point(|(at, _)| now.duration_since(*at) > span);
        // The sample before the span is its edge: nothing in it is left out.
        let edge = self.samples.get(inside.saturating_sub(1)).or(self.samples.front());
        let Some((_, edge)) = edge else { return Span::default() };
        latest.since(edge)
    }
}

impl Span {
    /// Good and bad calls; what says nothing of the service is neither.
    pub fn good_and_bad(&self) -> (u64, u64) {
        let (mut good, mut bad) = (0, 0);
        for outcome in Outcome::ALL {
            let count = self.calls[outcome as usize];
            match Judgement::of(outcome) {
                Judgement::Success => good += count,
                Judgement::Failure | Judgement::Throttled => bad += count,
                Judgement::Nothing => {}
            }
        }
        (good, bad)
    }

    /// Whether it is faults of guard's that make calls go badly: half of the bad ones at least, or, where
    /// none is bad (they are slow), any. `None`: nothing is known of any.
    pub fn is_injected(&self) -> Option<bool> {
        match self.good_and_bad().1 {
            0 => (self.injected > 0).then_some(true),
            bad => Some(self.injected_bad * 2 >= bad),
        }
    }

    /// Share of good calls; `None` with fewer than `min_calls` that say anything.
    pub fn success_rate(&self, min_calls: u64) -> Option<f64> {
        let (good, bad) = self.good_and_bad();
        (good + bad >= min_calls.max(1)).then(|| good as f64 / (good + bad) as f64)
    }

    /// Upper bound of the time to the first byte at this quantile; `None` with fewer than `min_calls`
    /// answered.
    pub fn latency(&self, quantile: f64, min_calls: u64) -> Option<Duration> {
        let all: u64 = self.buckets.iter().sum();
        if all < min_calls.max(1) {
            return None;
        }
        let wanted = (quantile * all as f64).ceil() as u64;
        let mut sum = 0;
        let at = self.buckets.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        let bound = CALL_BUCKETS_NS.get(at.unwrap_or(CALL_BUCKETS_NS.len()));
        Some(bound.map_or(Duration::MAX, |ns| Duration::from_nanos(*ns)))
    }

    /// Outcomes that happened, by name.
    pub fn outcomes(&self) -> std::collections::BTreeMap<String, u64> {
        Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome.name().to_owned(), self.calls[outcome as usize]))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

fn is_bad(outcome: Outcome) -> bool {
    matches!(Judgement::of(outcome), Judgement::Failure | Judgement::Throttled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn stats(good: u64, bad: u64) -> PairStats {
        let mut stats = PairStats::ZERO;
        stats.calls[Outcome::Success as usize][0] = good;
        stats.calls[Outcome::Refused as usize][0] = bad;
        stats.call_buckets[0] = good;
        stats
    }

    #[test]
    fn whose_fault_it_is() {
        let start = Instant::now();
        let of = |good_injected, bad_injected, bad| {
            let mut window = Window::default();
            window.push(&stats(0, 0), start, LONGEST);
            let mut later = stats(10, bad);
            later.calls[Outcome::Success as usize][Origin::Injected as usize] = good_injected;
            later.calls[Outcome::Refused as usize][Origin::Injected as usize] = bad_injected;
            window.push(&later, start + Duration::from_secs(10), LONGEST);
            window.last(LONGEST).is_injected()
        };
        assert_eq!((of(0, 5, 0), of(0, 5, 5)), (Some(true), Some(true)));
        assert_eq!(of(0, 4, 5), Some(false), "most are real");
        assert_eq!(of(3, 0, 0), Some(true), "slow ones");
        assert_eq!((of(3, 0, 1), of(0, 0, 0)), (Some(false), None));
    }

    #[test]
    fn only_the_last_while_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.push(&stats(0, 0), at(0), LONGEST);
        window.push(&stats(0, 10), at(10), LONGEST);
        assert_eq!(window.last(LONGEST).success_rate(10), Some(0.0));
        assert_eq!(window.last(LONGEST).success_rate(11), None);
        window.push(&stats(10, 10), at(20), LONGEST);
        assert_eq!(window.last(LONGEST).success_rate(10), Some(0.5));
        window.push(&stats(20, 10), at(45), LONGEST);
        assert_eq!(window.last(Duration::from_secs(5)).success_rate(1), Some(1.0));
        window.forget();
        window.push(&stats(20, 11), at(46), LONGEST);
        assert_eq!(window.last(LONGEST).good_and_bad(), (0, 1));
        assert_eq!(window.last(LONGEST).outcomes()["refused"], 1);
        window.push(&stats(1, 0), at(47), LONGEST);
        assert_eq!(window.last(LONGEST).good_and_bad(), (0, 0), "counters began anew");
    }

    #[test]
    fn good_calls_in_a_row_are_counted_however_rare() {
        let start = Instant::now();
        let mut window = Window::default();
        for (minute, good, bad, row) in
            [(0, 0, 0, 0), (1, 1, 0, 1), (2, 1, 1, 0), (3, 2, 1, 1), (4, 3, 1, 2), (5, 4, 1, 3)]
        {
            window.push(&stats(good, bad), start + Duration::from_mins(minute), LONGEST);
            assert_eq!(window.good_in_row(), row, "minute {minute}");
        }
        window.begin_row();
        window.push(&stats(6, 2), start + Duration::from_mins(6), LONGEST);
        assert_eq!(window.good_in_row(), 0, "which was last is not known");
    }

    #[test]
    fn latency_is_that_of_the_bucket() {
        let mut window = Window::default();
        let start = Instant::now();
        window.push(&stats(0, 0), start, LONGEST);
        let mut slow = stats(90, 0);
        slow.call_buckets[4] = 10;
        window.push(&slow, start + Duration::from_secs(1), LONGEST);
        let span = window.last(LONGEST);
        assert_eq!(span.latency(0.5, 10), Some(Duration::from_millis(1)));
        assert_eq!(span.latency(0.95, 10), Some(Duration::from_millis(40)));
        assert_eq!(span.latency(0.95, 101), None);
    }

    proptest! {
        #[test]
        fn a_window_is_bounded_and_never_counts_twice(steps in prop::collection::vec((1_u64..5000, 0_u64..9, 0_u64..9), 1..200)) {
            let mut window = Window::default();
            let (mut now, mut good, mut bad) = (Instant::now(), 0, 0);
            window.push(&stats(0, 0), now, LONGEST);
            for (ms, more_good, more_bad) in steps {
                now += Duration::from_millis(ms);
                good += more_good;
                bad += more_bad;
                window.push(&stats(good, bad), now, LONGEST);
                prop_assert!(window.samples.len() <= SAMPLES as usize + 2);
                let (seen_good, seen_bad) = window.last(LONGEST).good_and_bad();
                prop_assert!(seen_good <= good && seen_bad <= bad);
                prop_assert!(seen_good >= more_good && seen_bad >= more_bad);
            }
        }
    }
}
