//! 20 % loss, both ways, for one bulkhead towards one service.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::stats;

use super::others::{self, BULKHEAD, SERVICE};
use super::{Claim, Stage, claim, inject};

const PERCENT: f64 = 20.0;
/// Standard deviations: one run in a thousand would fail by chance.
const Z: f64 = 3.29;
/// Linux repeats a lost segment after 200 ms at the earliest on so short a path.
const REPEATED_MS: f64 = 150.0;

/// Injects the fault, measures, and lets it end.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let before = stage.calls(Stage::last(2.0));
    let touched = others::touched(stage)?;
    inject(stage, &["--for", "20s", "--loss", "20%", "--seed", "42"])?;
    let span = stage.measure("measuring", 8.0)?;
    let counters = stage.active_fault()?["counters"].clone();
    let count = |name: &str| counters[name].as_u64().with_context(|| format!("no `{name}`"));
    let (matched, dropped) = (count("matched")?, count("dropped")?);
    stage.ctl(&["fault", "clear", "--all"])?;
    stage.screen.wait("letting lost packets be repeated", Duration::from_secs(1))?;
    let during = stage.calls(span);
    let mut claims = vec![others::compare(stage, &before, &during)?];
    let (low, high) = stats::wilson(dropped, matched, Z);
    let share = PERCENT / 100.0;
    claims.push(claim(
        (low..=high).contains(&share),
        format!("{PERCENT:.0} % of packets, both ways"),
        format!("{:.1} %: {dropped} of {matched}", dropped as f64 * 100.0 / matched.max(1) as f64),
    ));
    let target = stage.lanes.iter().zip(&during).filter(|(lane, _)| lane.is(BULKHEAD, SERVICE));
    let p95 = target.map(|(_, calls)| calls.quantile_ms(0.95)).fold(f64::INFINITY, f64::min);
    claims.push(claim(
        p95 > REPEATED_MS && p95.is_finite(),
        "TCP repeats what is lost",
        format!("p95 {p95:.0} ms: a repetition waits 200 ms"),
    ));
    claims.push(others::untouched(stage, touched, "packets")?);
    Ok(claims)
}
