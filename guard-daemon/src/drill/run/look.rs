//! What guardd has counted at one moment, and what happened between two. It only subtracts.

use std::collections::BTreeMap;
use std::time::Duration;

use guard_common::abi::outcome::Outcome;
use guard_common::abi::stats::CALL_BUCKET_COUNT;
use guard_common::logic::histogram;

use super::super::record::PairSample;
use super::super::spec::Pairs;
use crate::control::api::{BreakerRecord, ServiceStatus, Status};

const NS_PER_SECOND: f64 = 1e9;

/// (bulkhead, service).
type Pair = (String, String);

/// Counters at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Since the start of the drill.
    pub(super) at: Duration,
    pairs: BTreeMap<Pair, Counts>,
    /// State by pair: `closed`, `open`, `half_open`.
    breakers: BTreeMap<Pair, String>,
}

/// Counters of one pair: since guardd started, or between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls that succeeded.
    pub(super) good: u64,
    /// Calls that count against a service: failures, and 429.
    pub(super) failed: u64,
    /// Calls that guard refused.
    pub(super) rejected: u64,
    /// Packets and connects that faults touched, or would have in monitor mode.
    pub(super) touched: u64,
    buckets: [u64; CALL_BUCKET_COUNT],
}

impl Counts {
    fn of(service: &ServiceStatus) -> Self {
        let mut counts = Self { touched: service.faulted + service.would_have, ..Self::default() };
        for (name, count) in &service.calls {
            match Outcome::ALL.into_iter().find(|outcome| outcome.name() == name) {
                Some(Outcome::Success) => counts.good += count,
                Some(Outcome::Rejected) => counts.rejected += count,
                Some(outcome) if outcome.is_failure() || outcome == Outcome::Throttled => {
                    counts.failed += count;
                }
                _ => {}
            }
        }
        for (sum, count) in counts.buckets.iter_mut().zip(&service.call_buckets) {
            *sum = *count;
        }
        counts
    }

    /// Calls that say something about the service.
    pub(super) fn calls(&self) -> u64 {
        self.good + self.failed
    }

    /// Share of good calls, 0 to 1; `None` without any.
    pub(super) fn success_rate(&self) -> Option<f64> {
        (self.calls() > 0).then(|| self.good as f64 / self.calls() as f64)
    }

    /// Quantile of the time to the first byte; `None` without a sample.
    pub(super) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let ns = histogram::quantile_ns(&self.buckets, quantile)?;
        Some(Duration::from_secs_f64(ns / NS_PER_SECOND))
    }

    fn add(&mut self, other: &Self, sign: fn(u64, u64) -> u64) {
        let Self { good, failed, rejected, touched, buckets } = other;
        self.good = sign(self.good, *good);
        self.failed = sign(self.failed, *failed);
        self.rejected = sign(self.rejected, *rejected);
        self.touched = sign(self.touched, *touched);
        for (mine, theirs) in self.buckets.iter_mut().zip(buckets) {
            *mine = sign(*mine, *theirs);
        }
    }
}

impl Look {
    pub(super) fn new(at: Duration, status: &Status, breakers: &[BreakerRecord]) -> Self {
        let mut look = Self { at, ..Self::default() };
        for bulkhead in &status.bulkheads {
            for service in &bulkhead.services {
                let pair = (bulkhead.name.clone(), service.name.clone());
                look.pairs.insert(pair, Counts::of(service));
            }
        }
        for breaker in breakers {
            let pair = (breaker.bulkhead.clone(), breaker.service.clone());
            look.breakers.insert(pair, breaker.state.clone());
        }
        look
    }

    /// What happened to these pairs since an earlier look. A guardd that has started again since
    /// counts from zero: then nothing has.
    pub(super) fn since(&self, earlier: &Self, pairs: &Pairs) -> Counts {
        let mut counts = Counts::default();
        for pair in self.pairs.keys().filter(|(bulkhead, service)| pairs.contain(bulkhead, service))
        {
            counts.add(&self.of_pair_since(earlier, pair), u64::saturating_add);
        }
        counts
    }

    fn of_pair_since(&self, earlier: &Self, pair: &Pair) -> Counts {
        let mut counts = self.pairs.get(pair).cloned().unwrap_or_default();
        if let Some(before) = earlier.pairs.get(pair) {
            counts.add(before, u64::saturating_sub);
        }
        counts
    }

    /// State of a breaker; `None` if there is no such breaker.
    pub(super) fn breaker(&self, bulkhead: &str, service: &str) -> Option<&str> {
        self.breakers.get(&(bulkhead.to_owned(), service.to_owned())).map(String::as_str)
    }

    /// Each pair that has done anything since an earlier look, or has a breaker.
    pub(super) fn samples_since(&self, earlier: &Self) -> Vec<PairSample> {
        let names = self.pairs.keys().chain(self.breakers.keys());
        let names: std::collections::BTreeSet<&Pair> = names.collect();
        let sample = |pair: &Pair| {
            let counts = self.of_pair_since(earlier, pair);
            PairSample {
                bulkhead: pair.0.clone(),
                service: pair.1.clone(),
                good: counts.good,
                failed: counts.failed,
                rejected: counts.rejected,
                p95_seconds: counts.quantile(0.95).map(|p95| p95.as_secs_f64()),
                breaker: self.breakers.get(pair).cloned().unwrap_or_default(),
            }
        };
        names.into_iter().map(sample).collect()
    }
}

impl Pairs {
    fn contain(&self, bulkhead: &str, service: &str) -> bool {
        self.bulkhead == bulkhead && self.service.as_deref().is_none_or(|name| name == service)
    }

    /// `research/github`, or `research`.
    pub(super) fn text(&self) -> String {
        match &self.service {
            Some(service) => format!("{}/{service}", self.bulkhead),
            None => self.bulkhead.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(good: u64, failed: u64, rejected: u64) -> Status {
        let calls = format!(r#"{{"success":{good},"refused":{failed},"rejected":{rejected}}}"#);
        let text = format!(
            r#"{{"schema":"","version":"","pid":1,"uptime_seconds":1.0,"mode":"enforce",
            "health":"ok","problems":[],"config_path":"","config_age_seconds":1.0,
            "cgroup_root":"","delay_engine":"none","faults":[],"events_lost":0,
            "bulkheads":[{{"name":"research","cgroup":"","state":"attached","processes":1,
            "connections":0,"services":[{{"name":"github","connections":0,"connects":0,
            "connects_established":0,"calls":{calls},"calls_injected":{{}},"sent_bytes":0,
            "received_bytes":0,"retransmits":0,"faulted":3,"would_have":0,
            "call_buckets":[{good},0,1]}}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn pairs(service: Option<&str>) -> Pairs {
        Pairs { bulkhead: "research".into(), service: service.map(str::to_owned) }
    }

    #[test]
    fn only_what_happened_between_two_looks_counts() {
        let first = Look::new(Duration::ZERO, &status(100, 10, 1), &[]);
        let second = Look::new(Duration::from_secs(1), &status(107, 13, 2), &[]);
        let counts = second.since(&first, &pairs(None));
        assert_eq!((counts.good, counts.failed, counts.rejected, counts.touched), (7, 3, 1, 0));
        assert_eq!(counts.success_rate(), Some(0.7));
        assert_eq!(second.since(&first, &pairs(Some("github"))), counts);
        assert_eq!(second.since(&first, &pairs(Some("search"))).success_rate(), None);
        assert!(counts.quantile(0.5).unwrap() <= Duration::from_millis(1));
        assert_eq!(second.samples_since(&first)[0].good, 7);
    }

    #[test]
    fn a_guardd_that_counts_from_zero_again_gives_no_nonsense() {
        let first = Look::new(Duration::ZERO, &status(100, 10, 1), &[]);
        let second = Look::new(Duration::from_secs(1), &status(3, 0, 0), &[]);
        assert_eq!(second.since(&first, &pairs(None)).calls(), 0);
    }
}
