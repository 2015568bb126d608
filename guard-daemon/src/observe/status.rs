//! Counters of one (bulkhead, service) as `status` shows them.

use std::collections::BTreeMap;

use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::stats::PairStats;
use guard_common::logic::histogram;

use crate::control::api::ServiceStatus;

const NS_PER_SECOND: f64 = 1e9;
const US_PER_SECOND: f64 = 1e6;

/// Successes over successes and what lowers the success rate: failures and `throttled` (DESIGN.md,
/// "failure"). `None` without any.
pub fn success_ratio(stats: &PairStats) -> Option<f64> {
    let (mut good, mut bad) = (0_u64, 0_u64);
    for outcome in Outcome::ALL {
        if outcome == Outcome::Success {
            good += stats.calls_of(outcome);
        } else if outcome.is_failure() || outcome == Outcome::Throttled {
            bad += stats.calls_of(outcome);
        }
    }
    (good + bad > 0).then(|| good as f64 / (good + bad) as f64)
}

fn nonzero(count: impl Fn(Outcome) -> u64) -> BTreeMap<String, u64> {
    let counted = Outcome::ALL.into_iter().map(|o| (o.name().to_owned(), count(o)));
    counted.filter(|(_, n)| *n > 0).collect()
}

/// The counters of one service.
pub fn pair_status(name: &str, stats: &PairStats) -> ServiceStatus {
    let quantile = |q| histogram::quantile_ns(&stats.call_buckets, q).map(|ns| ns / NS_PER_SECOND);
    ServiceStatus {
        name: name.to_owned(),
        connections: stats.open_connections(),
        connects: stats.connects,
        connects_established: stats.connects_established,
        calls: nonzero(|o| stats.calls_of(o)),
        calls_injected: nonzero(|o| stats.calls[o as usize][Origin::Injected as usize]),
        success_ratio: success_ratio(stats),
        p50_seconds: quantile(0.5),
        p95_seconds: quantile(0.95),
        p99_seconds: quantile(0.99),
        breaker: None,
        call_buckets: stats.call_buckets.to_vec(),
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
        rtt_seconds: (stats.rtt_samples > 0)
            .then(|| stats.rtt_us as f64 / stats.rtt_samples as f64 / US_PER_SECOND),
        retransmits: stats.retransmits,
        faulted: stats.faulted,
        would_have: stats.would_have,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_against_a_service_does_not_lower_its_rate() {
        let mut stats = PairStats::default();
        assert_eq!(success_ratio(&stats), None);
        stats.calls[Outcome::Success as usize] = [7, 1];
        stats.calls[Outcome::Aborted as usize] = [100, 0];
        stats.calls[Outcome::StaleConnection as usize] = [100, 0];
        assert_eq!(success_ratio(&stats), Some(1.0));
        stats.calls[Outcome::Refused as usize] = [1, 1];
        assert_eq!(success_ratio(&stats), Some(0.8));
        let status = pair_status("github", &stats);
        assert_eq!(status.calls["success"], 8);
        assert_eq!(status.calls_injected["refused"], 1);
        assert!(!status.calls.contains_key("reset"));
    }
}
