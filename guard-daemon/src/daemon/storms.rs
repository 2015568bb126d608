//! Storms: very many calls with tiny, fast answers, as a loop makes them that polls or tries again.
//! Found in the hooks' counters and told; nothing is ever done about one here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;
use guard_common::abi::stats::PairStats;

use super::state::{Guard, State};
use crate::kernel::Counters;
use crate::observe::with_ids;
use crate::plan::StormPlan;
use crate::telemetry::metrics::StormSample;

/// Longest time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Looks that the time of a storm has at least, so that one hot second is none.
const LOOKS: u32 = 3;

/// Calls of a pair that count for storms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    answered: u64,
    answer_ns: u64,
    received_bytes: u64,
}

impl Calls {
    fn of(stats: &PairStats) -> Self {
        Self {
            answered: stats.call_buckets.iter().sum(),
            answer_ns: stats.call_ns,
            received_bytes: stats.received_bytes,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            answer_ns: self.answer_ns.saturating_sub(before.answer_ns),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
        }
    }

    /// Whether so many calls in this time look like a storm.
    fn are_many(self, plan: &StormPlan, time: Duration) -> bool {
        self.answered > 0
            && self.answered as f64 >= plan.calls_per_second * time.as_secs_f64()
            && self.received_bytes / self.answered <= plan.max_answer_bytes
            && u128::from(self.answer_ns / self.answered) <= plan.max_answer_time.as_nanos()
    }
}

/// One (bulkhead, service).
#[derive(Clone, Debug, Default)]
struct Watched {
    names: (String, String),
    seen: Calls,
    /// Since when its calls have been many.
    many_since: Option<Instant>,
    /// A storm that was told, and when that was.
    told: Option<Instant>,
    total: u64,
    rate: f64,
}

/// What is remembered of storms.
#[derive(Debug, Default)]
pub(crate) struct Storms {
    looked: Option<Instant>,
    pairs: BTreeMap<PairKey, Watched>,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Began { rate: f64 },
    Ended { lasted: Duration },
}

impl Storms {
    /// Whether it is time to look again.
    fn is_due(&self, plan: &StormPlan, now: Instant) -> bool {
        let pause = LOOK.min(plan.lasting / LOOKS);
        plan.any() && self.looked.is_none_or(|at| now.duration_since(at) >= pause)
    }

    fn look(
        &mut self,
        plan: &StormPlan,
        counters: &Counters,
        now: Instant,
    ) -> Vec<(PairKey, Found)> {
        let time = self.looked.replace(now).map(|at| now.duration_since(at));
        let mut found = Vec::new();
        for (pair, stats) in counters {
            let calls = Calls::of(stats);
            let Some(watched) = self.pairs.get_mut(pair) else {
                // Nothing is known of how fast it came to this.
                self.pairs.insert(*pair, Watched { seen: calls, ..Watched::default() });
                continue;
            };
            let new = calls.since(std::mem::replace(&mut watched.seen, calls));
            let Some(time) = time.filter(|time| !time.is_zero()) else { continue };
            watched.rate = new.answered as f64 / time.as_secs_f64();
            if !new.are_many(plan, time) {
                watched.many_since = None;
                if let Some(began) = watched.told.take() {
                    found.push((*pair, Found::Ended { lasted: now.duration_since(began) }));
                }
                continue;
            }
            let since = *watched.many_since.get_or_insert(now.checked_sub(time).unwrap_or(now));
            if watched.told.is_none() && now.duration_since(since) >= plan.lasting {
                watched.told = Some(since);
                found.push((*pair, Found::Began { rate: watched.rate }));
            }
        }
        found
    }

    /// The storms that go on, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let going_on = self.pairs.values().filter(|watched| watched.told.is_some());
        let line = |watched: &Watched| {
            let ((bulkhead, service), rate) = (&watched.names, watched.rate);
            format!(
                "storm: bulkhead {bulkhead} calls {service} {rate:.0} times a second for tiny answers"
            )
        };
        going_on.map(line).collect()
    }

    /// All there ever were.
    pub(super) fn samples(&self) -> Vec<StormSample> {
        let any = self.pairs.values().filter(|watched| watched.total > 0);
        any.map(|watched| StormSample {
            bulkhead: watched.names.0.clone(),
            destination: watched.names.1.clone(),
            total: watched.total,
            active: watched.told.is_some(),
        })
        .collect()
    }
}

impl Guard {
    /// Looks for storms if it is time to, and tells of them.
    pub(super) fn watch_storms(&self, state: &mut State) {
        let (plan, now) = (state.plan.limits.storms.clone(), Instant::now());
        if !state.storms.is_due(&plan, now) {
            return;
        }
        match state.kernel.counters() {
            Ok(mut counters) => {
                with_ids(&self.ids, |ids| {
                    counters.retain(|pair, _| plan.is_about(ids.service_name(pair.service)));
                });
                for (pair, found) in state.storms.look(&plan, &counters, now) {
                    self.tell_storm(state, pair, found);
                }
            }
            Err(error) => tracing::error!(%error, "storms are not looked for"),
        }
    }

    fn tell_storm(&self, state: &mut State, pair: PairKey, found: Found) {
        let (bulkhead, service) = with_ids(&self.ids, |ids| {
            (ids.bulkhead_name(pair.bulkhead).to_owned(), ids.service_name(pair.service).to_owned())
        });
        let (kind, message) = match found {
            Found::Began { rate } => {
                if let Some(watched) = state.storms.pairs.get_mut(&pair) {
                    watched.total += 1;
                    watched.names = (bulkhead.clone(), service.clone());
                }
                let text = format!(
                    "{rate:.0} calls a second with tiny, fast answers: a loop that polls or tries again?"
                );
                ("storm", text)
            }
            Found::Ended { lasted } => {
                ("storm_ended", format!("after {:.0} s", lasted.as_secs_f64()))
            }
        };
        tracing::warn!(bulkhead, service, message, "{kind}");
        self.events.note(kind, |event| {
            event.bulkhead = bulkhead;
            event.service = service;
            event.message = message;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: PairKey = PairKey { bulkhead: 1, service: 1 };
    const SECOND: Duration = Duration::from_secs(1);

    /// Looks each second, while so many calls are made in it, with answers of this size and time.
    fn run(storms: &mut Storms, start: Instant, seconds: &[(u64, u64, u64)]) -> Vec<(u64, Found)> {
        let plan = StormPlan { lasting: 3 * SECOND, ..StormPlan::default() };
        let (mut stats, mut all) = (PairStats::ZERO, Vec::new());
        storms.look(&plan, &Counters::from([(PAIR, stats)]), start);
        for (second, (calls, bytes, ms)) in (1_u32..).zip(seconds) {
            stats.call_buckets[0] += calls;
            stats.received_bytes += calls * bytes;
            stats.call_ns += calls * ms * 1_000_000;
            let found =
                storms.look(&plan, &Counters::from([(PAIR, stats)]), start + second * SECOND);
            all.extend(found.into_iter().map(|(_, found)| (u64::from(second), found)));
        }
        all
    }

    #[test]
    fn a_storm_is_told_once_and_its_end_too() {
        let (mut storms, start) = (Storms::default(), Instant::now());
        let mut seconds = vec![(40, 300, 35); 6];
        seconds.extend([(1, 300, 35); 3]);
        let found = run(&mut storms, start, &seconds);
        let wanted = [(3, Found::Began { rate: 40.0 }), (7, Found::Ended { lasted: 7 * SECOND })];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_is_slow_large_rare_or_short_is_none() {
        for seconds in [
            vec![(19, 300, 35); 20],
            vec![(40, 5000, 35); 20],
            vec![(40, 300, 150); 20],
            [vec![(400, 300, 1); 2], vec![(1, 300, 1)]].concat().repeat(5),
        ] {
            let found = run(&mut Storms::default(), Instant::now(), &seconds);
            assert_eq!(found, [], "{:?}", seconds[0]);
        }
    }
}
