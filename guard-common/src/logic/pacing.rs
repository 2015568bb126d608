//! When a call may begin whose rate is limited (GCRA, by virtual scheduling).
//!
//! The whole bucket is one word: when the next call would be in time if there were no bursts. A call
//! may come earlier than that by the burst; one that comes earlier still waits for the difference. So
//! places are given out in the order of arrival, and a place that was given out is kept.

/// Longest burst that is believed, ns: about 11 days.
pub const MAX_BURST_NS: u64 = 1_000_000_000_000_000;

/// In place of a wait: it would be too long, the call passes and takes no place.
pub const OVER: u64 = u64::MAX;

/// What one call does to a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The word afterwards.
    pub due_ns: u64,
    /// How long the call waits, ns, or [`OVER`].
    pub wait_ns: u64,
}

/// One call, now. Calls are `interval_ns` apart (not 0) and may be ahead of that by `burst_ns`.
#[inline(always)]
pub const fn step(
    due_ns: u64,
    now_ns: u64,
    interval_ns: u64,
    burst_ns: u64,
    max_wait_ns: u64,
) -> Step {
    let burst_ns = if burst_ns > MAX_BURST_NS { MAX_BURST_NS } else { burst_ns };
    // Nobody who keeps to these numbers can have got further: what is beyond is of another
    // configuration, and would hold calls for nothing.
    let furthest_ns =
        now_ns.saturating_add(max_wait_ns).saturating_add(burst_ns).saturating_add(interval_ns);
    let known_ns = if due_ns > furthest_ns { furthest_ns } else { due_ns };
    let in_time_ns = if known_ns > now_ns { known_ns } else { now_ns };
    let wait_ns = in_time_ns.saturating_sub(burst_ns).saturating_sub(now_ns);
    if wait_ns > max_wait_ns {
        return Step { due_ns: known_ns, wait_ns: OVER };
    }
    Step { due_ns: in_time_ns.saturating_add(interval_ns), wait_ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000_000;

    /// When the calls that arrive at these times go; `None` = over the bound.
    fn run(arrivals: &[u64], interval: u64, burst: u64, max_wait: u64) -> (u64, Vec<Option<u64>>) {
        let mut due = 0;
        let goes = arrivals.iter().map(|at| {
            let step = step(due, *at, interval, burst, max_wait);
            due = step.due_ns;
            (step.wait_ns != OVER).then(|| at + step.wait_ns)
        });
        let goes = goes.collect();
        (due, goes)
    }

    #[test]
    fn a_burst_passes_and_what_follows_is_apart() {
        let (_, goes) = run(&[10 * SECOND; 5], SECOND, 2 * SECOND, 60 * SECOND);
        let waits: Vec<_> = goes.iter().map(|at| at.unwrap() / SECOND - 10).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2], "three at once, then one each second");
    }

    #[test]
    fn below_the_rate_nothing_waits() {
        let arrivals: Vec<_> = (1..50).map(|n| n * SECOND).collect();
        let (_, goes) = run(&arrivals, SECOND, 0, 60 * SECOND);
        assert!(goes.iter().zip(&arrivals).all(|(goes, came)| *goes == Some(*came)));
    }

    #[test]
    fn what_would_wait_too_long_passes_and_takes_no_place() {
        let (due, goes) = run(&[SECOND; 10], SECOND, 0, 3 * SECOND);
        assert_eq!(goes.iter().filter(|at| at.is_none()).count(), 6, "waits of 0, 1, 2 and 3 s");
        assert_eq!(due, 5 * SECOND);
    }

    #[test]
    fn a_word_of_another_configuration_does_not_hold_for_ever() {
        let old = step(0, SECOND, 1000 * SECOND, 0, 2000 * SECOND);
        let new = step(old.due_ns, 2 * SECOND, SECOND / 100, 0, SECOND);
        assert_eq!(new.wait_ns, OVER);
        let later = step(new.due_ns, 4 * SECOND, SECOND / 100, 0, SECOND);
        assert_eq!(later.wait_ns, 0);
    }

    proptest! {
        /// However calls arrive: those that were given a place go in order, none waits too long,
        /// and no span of time has more of them than the rate allows.
        #[test]
        fn never_faster_than_the_rate(
            gaps in prop::collection::vec(0..3 * SECOND, 1..150),
            interval in SECOND / 100..5 * SECOND,
            burst_calls in 1_u64..10,
            max_wait in 0..30 * SECOND,
        ) {
            let mut now = SECOND;
            let arrivals: Vec<_> = gaps.iter().map(|gap| { now += gap; now }).collect();
            let burst = (burst_calls - 1) * interval;
            let (_, goes) = run(&arrivals, interval, burst, max_wait);
            for (came, goes) in arrivals.iter().zip(&goes) {
                prop_assert!(goes.is_none_or(|at| at >= *came && at - came <= max_wait));
            }
            let went: Vec<_> = goes.into_iter().flatten().collect();
            prop_assert!(went.is_sorted());
            for (first, from) in went.iter().enumerate() {
                for (last, to) in went.iter().enumerate().skip(first) {
                    let allowed = burst_calls + (to - from) / interval;
                    prop_assert!(((last - first) as u64) < allowed, "{first}..{last}");
                }
            }
        }

        #[test]
        fn any_numbers_are_no_overflow(due: u64, now: u64, interval: u64, burst: u64, most: u64) {
            let step = step(due, now, interval, burst, most);
            prop_assert!(step.wait_ns == OVER || step.wait_ns <= most);
        }
    }
}
