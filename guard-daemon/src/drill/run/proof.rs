//! Whether the faults did what was asked: asked against counted, and what it did to others. Pure.

use super::super::record::{Collateral, Proof};
use super::super::spec::{Drill, Pairs};
use super::look::Look;
use crate::control::api::{DrillPlan, FaultRecord, FaultRequest};

/// Of the normal distribution, for an interval that holds 99.9 % of honest outcomes: a drill has
/// many proofs, and a false alarm costs trust.
const Z: f64 = 3.29;

/// One proof for each fault; `records` are those of the drill, in the order of its faults.
pub(super) fn proofs(drill: &Drill, records: &[FaultRecord]) -> Vec<Proof> {
    drill.faults.iter().zip(records).map(|(asked, record)| proof(asked, record)).collect()
}

fn proof(asked: &FaultRequest, record: &FaultRecord) -> Proof {
    let counters = &record.counters;
    // Those that the rule let pass say nothing about it.
    let passed = counters.protected + counters.expired + counters.would_have;
    let matched = counters.matched.saturating_sub(passed);
    let (done, share, burst, what) = if asked.latency_seconds.is_some() {
        (counters.delayed, 1.0, 1.0, "packets delayed")
    } else if let Some(percent) = asked.loss_percent {
        (counters.dropped, percent / 100.0, asked.loss_burst.unwrap_or(1.0), "packets lost")
    } else {
        let share = asked.refuse_percent.unwrap_or(100.0) / 100.0;
        (counters.refused, share, 1.0, "connects refused")
    };
    let (met, measured) = if matched == 0 {
        (None, nothing(record))
    } else {
        // Losses in bursts are as many observations as there are bursts.
        let (low, high) = interval(done as f64 / matched as f64, matched as f64 / burst);
        let fits = (low..=high).contains(&share) && done > 0;
        let bounds = if share < 1.0 {
            format!(" (99.9 %: {:.2} to {:.2} %)", low * 100.0, high * 100.0)
        } else {
            String::new()
        };
        let measured = format!(
            "{:.2} %: {done} of {matched} {what}{bounds}",
            100.0 * done as f64 / matched as f64
        );
        // Too little traffic to hit anything shows nothing: it does not show the contrary.
        let told = done > 0 || low > share || share > high;
        (told.then_some(fits), measured)
    };
    Proof { fault: record.clone(), asked: record.effect.clone(), measured, met }
}

fn nothing(record: &FaultRecord) -> String {
    let counters = &record.counters;
    if counters.would_have > 0 {
        format!("nothing: monitor mode left {} matches alone", counters.would_have)
    } else if counters.protected > 0 {
        format!("nothing: all {} matches are protected", counters.protected)
    } else if counters.expired > 0 {
        format!("nothing: {} matches came after its end", counters.expired)
    } else {
        format!("no traffic of {} to {} while it acted", record.bulkhead, record.service)
    }
}

/// Wilson's interval for a share of `n` observations.
fn interval(share: f64, n: f64) -> (f64, f64) {
    let n = n.max(1.0);
    let z2 = Z * Z;
    let middle = share + z2 / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

/// What happened to bulkheads that were no target.
pub(super) fn collateral(plan: &DrillPlan, first: &Look, last: &Look) -> Vec<Collateral> {
    let of = |bulkhead: &String| {
        let pairs = Pairs { bulkhead: bulkhead.clone(), service: None };
        let counts = last.since(first, &pairs);
        Collateral { bulkhead: bulkhead.clone(), touched: counts.touched, calls: counts.calls() }
    };
    plan.bystanders.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::FaultCounters;

    fn judged(asked: &FaultRequest, counters: FaultCounters) -> (Option<bool>, String) {
        let record = FaultRecord {
            id: 1,
            bulkhead: "research".into(),
            service: "github".into(),
            effect: "effect".into(),
            engine: "kernel".into(),
            state: "ended".into(),
            ended: "done".into(),
            remaining_seconds: 0.0,
            seed: 1,
            drill: None,
            counters,
            warnings: Vec::new(),
        };
        let proof = proof(asked, &record);
        (proof.met, proof.measured)
    }

    fn loss(percent: f64, dropped: u64, matched: u64) -> (Option<bool>, String) {
        judged(
            &FaultRequest { loss_percent: Some(percent), ..FaultRequest::default() },
            FaultCounters { matched, dropped, ..FaultCounters::default() },
        )
    }

    #[test]
    fn a_share_is_compared_within_what_chance_allows() {
        assert_eq!(loss(2.0, 19, 1000).0, Some(true));
        assert_eq!(loss(2.0, 60, 1000).0, Some(false));
        assert_eq!(loss(2.0, 0, 1000).0, Some(false), "1000 packets do lose some of 2 %");
        assert_eq!(loss(2.0, 0, 10).0, None, "ten packets may well lose none");
        assert_eq!(loss(100.0, 10, 10).0, Some(true));
        assert_eq!(loss(100.0, 99, 100).0, Some(false), "one that passed is one too many");
        assert_eq!(loss(100.0, 50, 100).0, Some(false));
        let (met, measured) = loss(2.0, 0, 0);
        assert_eq!(met, None);
        assert_eq!(measured, "no traffic of research to github while it acted");
    }

    #[test]
    fn bursts_are_fewer_observations_than_packets() {
        let asked = |burst| FaultRequest {
            loss_percent: Some(5.0),
            loss_burst: Some(burst),
            ..FaultRequest::default()
        };
        let counters = FaultCounters { matched: 1000, dropped: 90, ..FaultCounters::default() };
        assert_eq!(judged(&asked(1.0), counters).0, Some(false));
        assert_eq!(judged(&asked(20.0), counters).0, Some(true));
    }

    #[test]
    fn matches_that_a_rule_lets_pass_prove_nothing() {
        let asked = || FaultRequest { latency_seconds: Some(0.1), ..FaultRequest::default() };
        let monitor = FaultCounters { matched: 9, would_have: 9, ..FaultCounters::default() };
        let (met, measured) = judged(&asked(), monitor);
        assert_eq!((met, measured.contains("monitor mode")), (None, true));
        let late = FaultCounters { matched: 9, delayed: 7, expired: 2, ..FaultCounters::default() };
        assert_eq!(judged(&asked(), late).0, Some(true));
    }
}
