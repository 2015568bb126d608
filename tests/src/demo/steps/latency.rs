//! 300 ms of latency for one bulkhead towards one service, and its end.

use std::time::Duration;

use anyhow::Result;

use super::others::{self, BULKHEAD, SERVICE};
use super::{Claim, Stage, claim};
use crate::demo::daemon::unix_ns;
use crate::demo::measure::seconds_until_normal;

const DELAY_MS: f64 = 300.0;
const FOR_SECONDS: f64 = 8.0;

/// Injects the fault and measures before, during and after.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let before = stage.calls(Stage::last(3.0));
    let touched = others::touched(stage)?;
    let injected_ns = unix_ns();
    let said = stage.ctl(&[
        "fault",
        "inject",
        "--bulkhead",
        BULKHEAD,
        "--service",
        SERVICE,
        "--for",
        "8s",
        "--latency",
        "300ms",
    ])?;
    stage.screen.text(&said);
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
    let records = stage.records(BULKHEAD, SERVICE, |record| record.start_unix_ns > injected_ns);
    let ended = seconds_until_normal(records.iter(), injected_ns);
    claims.push(claim(
        (FOR_SECONDS - 0.5..FOR_SECONDS + 1.0).contains(&ended),
        format!("ends by itself after {FOR_SECONDS:.0} s"),
        format!("last slow call ended at {ended:.1} s"),
    ));
    claims.push(others::untouched(stage, touched, "packets")?);
    Ok(claims)
}
