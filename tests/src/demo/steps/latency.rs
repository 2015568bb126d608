//! 300 ms of latency for one bulkhead towards one service, and its end.

use std::time::Duration;

use anyhow::Result;

use super::others::{self, BULKHEAD, SERVICE};
use super::{Claim, Stage, claim, inject};
use crate::demo::daemon::unix_ns;
use crate::demo::measure::{ms_to_ns, seconds_until_normal};

const DELAY_MS: f64 = 300.0;
/// Around the deadline: a call that is held at that moment, and a busy host.
const EARLY_SECONDS: f64 = 0.5;
const LATE_SECONDS: f64 = 1.0;

/// Injects the fault and measures before, during and after.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let before = stage.calls(Stage::last(3.0));
    let touched = others::touched(stage)?;
    inject(stage, &["--for", "8s", "--latency", "300ms"])?;
    let remaining = stage.active_fault()?["remaining_seconds"].as_f64().unwrap_or_default();
    let (now_ns, deadline_ns) = (unix_ns(), unix_ns() + ms_to_ns(remaining * 1e3));
    stage.screen.wait("letting it take hold", Duration::from_secs(1))?;
    let span = stage.measure("measuring", 5.5)?;
    let engine = stage.active_fault()?["engine"].as_str().unwrap_or_default().to_owned();
    stage.screen.wait("letting it end by itself", Duration::from_secs(3))?;
    let during = stage.calls(span);
    let mut claims = vec![others::compare(stage, &before, &during)?];
    for ((lane, before), during) in stage.lanes.iter().zip(&before).zip(&during) {
        if lane.is(BULKHEAD, SERVICE) {
            let added = during.p50_ms() - before.p50_ms();
            // guard's own error is far below 1 ms; a busy host wakes an agent late.
            let holds = (DELAY_MS * 0.99..DELAY_MS * 1.1).contains(&added);
            let asked = format!("+{DELAY_MS:.0} ms, {}", lane.name);
            claims.push(claim(holds, asked, format!("p50 {added:+.1} ms, by {engine}")));
        }
    }
    let records = stage.records(BULKHEAD, SERVICE, |record| record.start_unix_ns > now_ns);
    let ended = seconds_until_normal(records.iter(), now_ns);
    let late = ended - (deadline_ns - now_ns) as f64 / 1e9;
    claims.push(claim(
        (-EARLY_SECONDS..LATE_SECONDS).contains(&late),
        "ends by itself at its deadline",
        format!("last slow call ended {late:+.2} s from it"),
    ));
    claims.push(others::untouched(stage, touched, "packets")?);
    Ok(claims)
}
