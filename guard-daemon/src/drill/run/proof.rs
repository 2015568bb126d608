//! Whether the faults did what was asked: asked against counted, and what it did to others. Pure.

use super::super::record::{Collateral, Proof};
use super::super::spec::{Drill, Pairs};
use super::look::Look;
use crate::control::api::{DrillPlan, FaultCounters, FaultRecord, FaultRequest};

/// Of the normal distribution, for an interval that holds 99.9 % of honest outcomes: a drill has
/// many proofs, and a false alarm costs trust.
const Z: f64 = 3.29;

/// What a thin link may let pass above its rate: its clock and ours.
const RATE_MARGIN: f64 = 1.02;
/// The largest packet before it is cut into pieces, and what may come at once after a pause.
const LARGE_PACKET_BITS: f64 = 8.0 * 131_072.0;
/// How far the median delay may be from what was asked: a busy host's scheduling, …
const DELAY_MARGIN_SECONDS: f64 = 0.005;
/// … and a share.
const DELAY_MARGIN: f64 = 0.05;

/// One proof for each fault; `records` are those of the drill, in the order of its faults.
pub(super) fn proofs(drill: &Drill, records: &[FaultRecord]) -> Vec<Proof> {
    drill.faults.iter().zip(records).map(|(asked, record)| proof(asked, record)).collect()
}

fn proof(asked: &FaultRequest, record: &FaultRecord) -> Proof {
    let counters = &record.counters;
    // Those that the rule let pass say nothing about it.
    let passed = counters.protected + counters.expired + counters.would_have;
    let matched = counters.matched.saturating_sub(passed);
    let told = if matched == 0 {
        Told { met: None, text: nothing(record) }
    } else if let Some(rate) = asked.bandwidth_bits_per_second {
        of_bandwidth(asked, record, rate)
    } else {
        of_share(asked, counters, matched)
    };
    let told = [of_chosen(asked, counters), of_held(asked, record)]
        .into_iter()
        .flatten()
        .fold(told, |all, more| all.and(&more));
    Proof {
        fault: record.clone(),
        asked: record.effect.clone(),
        measured: told.text,
        met: told.met,
    }
}

/// What one comparison says.
struct Told {
    met: Option<bool>,
    text: String,
}

impl Told {
    /// Both: a miss of either is one, and so is what either does not know.
    fn and(self, other: &Self) -> Self {
        let met = match (self.met, other.met) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            _ => Some(true),
        };
        Self { met, text: format!("{}; {}", self.text, other.text) }
    }
}

/// How many of the matches were hit.
fn of_share(asked: &FaultRequest, counters: &FaultCounters, matched: u64) -> Told {
    let (done, share, burst, what) = if asked.latency_seconds.is_some() {
        (counters.delayed, 1.0, 1.0, "packets delayed")
    } else if let Some(percent) = asked.loss_percent {
        (counters.dropped, percent / 100.0, asked.loss_burst.unwrap_or(1.0), "packets lost")
    } else if asked.reset_percent.is_some() {
        // Which requests are matched is drawn before.
        (counters.reset, 1.0, 1.0, "requests reset")
    } else if asked.dns.is_some() {
        (counters.dropped + counters.refused, 1.0, 1.0, "name queries failed")
    } else {
        let share = asked.refuse_percent.unwrap_or(100.0) / 100.0;
        (counters.refused, share, 1.0, "connects refused")
    };
    // Losses in bursts are as many observations as there are bursts.
    let (low, high) = interval(done as f64 / matched as f64, matched as f64 / burst);
    let fits = (low..=high).contains(&share) && done > 0;
    let bounds = if share < 1.0 {
        format!(" (99.9 %: {:.2} to {:.2} %)", low * 100.0, high * 100.0)
    } else {
        String::new()
    };
    let text = format!(
        "{:.2} %: {done} of {matched} {what}{bounds}",
        100.0 * done as f64 / matched as f64
    );
    // Too little traffic to hit anything shows nothing: it does not show the contrary.
    let is_told = done > 0 || low > share || share > high;
    Told { met: is_told.then_some(fits), text }
}

/// A thin link lets pass what it may, and must have had to hold or drop something.
fn of_bandwidth(asked: &FaultRequest, record: &FaultRecord, rate: u64) -> Told {
    let FaultCounters { delayed, dropped, bytes, .. } = record.counters;
    let acts = match (asked.pulse_on_seconds, asked.pulse_off_seconds) {
        (Some(on), Some(off)) => on / (on + off),
        _ => 1.0,
    };
    let ways = if matches!(asked.direction.as_deref(), None | Some("both")) { 2.0 } else { 1.0 };
    let bits = bytes as f64 * 8.0;
    let most = asked.duration_seconds * acts * rate as f64 * ways;
    let text = format!(
        "{} passed, at most {} may; {delayed} packets held, {dropped} dropped",
        bytes_text(bits / 8.0),
        bytes_text(most / 8.0),
    );
    // A large packet that has begun goes through.
    let fits = bits <= most * RATE_MARGIN + LARGE_PACKET_BITS * ways;
    Told { met: (delayed + dropped > 0).then_some(fits), text }
}

/// How many of the connections or calls were drawn; `None` if no share was asked for.
fn of_chosen(asked: &FaultRequest, counters: &FaultCounters) -> Option<Told> {
    let FaultCounters { candidates, chosen, .. } = *counters;
    let (of, percent) = match (asked.share_of.as_deref(), asked.share_percent, asked.reset_percent)
    {
        (Some(of), Some(percent), _) if of != "destinations" => (of, percent),
        (None, _, Some(percent)) if percent < 100.0 => ("calls", percent),
        _ => return None,
    };
    if candidates == 0 {
        return None;
    }
    let share = chosen as f64 / candidates as f64;
    let (low, high) = interval(share, candidates as f64);
    Some(Told {
        met: Some((low..=high).contains(&(percent / 100.0))),
        text: format!("{chosen} of {candidates} {of} drawn, {percent} % asked"),
    })
}

/// For how long packets were held, where the engine knows.
fn of_held(asked: &FaultRequest, record: &FaultRecord) -> Option<Told> {
    let (asked_seconds, held) = (asked.latency_seconds?, record.held?);
    if held.packets == 0 {
        return None;
    }
    // With a jitter the quantiles are shown; where they should be depends on the traffic, because
    // packets keep their order.
    let is_fixed = asked.jitter_seconds.is_none_or(|jitter| jitter == 0.0);
    let off = held.p50_seconds - asked_seconds;
    let met = !is_fixed || off.abs() <= DELAY_MARGIN_SECONDS + asked_seconds * DELAY_MARGIN;
    let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
    let quantiles = [held.p50_seconds, held.p95_seconds, held.p99_seconds].map(ms).join("/");
    let mut text = format!("held for {quantiles} ms (p50/p95/p99)");
    if held.missed > 0 {
        text = format!("{text}, {} packets passed undelayed or early", held.missed);
    }
    Some(Told { met: Some(met && held.missed == 0), text })
}

fn bytes_text(bytes: f64) -> String {
    if bytes >= 1e6 { format!("{:.2} MB", bytes / 1e6) } else { format!("{:.1} kB", bytes / 1e3) }
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
    // The share lies within it: a bound that rounding puts beside the share is no bound.
    (((middle - half) / scale).max(0.0).min(share), ((middle + half) / scale).min(1.0).max(share))
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
mod tests;
