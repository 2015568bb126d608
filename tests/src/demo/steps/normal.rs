//! Normal traffic: how many calls, how fast, how many succeed.

use anyhow::Result;

use super::{Claim, Stage, claim};

/// Shows each agent's calls.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let span = stage.measure("measuring", 4.0)?;
    let calls = stage.calls(span);
    for (lane, calls) in stage.lanes.iter().zip(&calls) {
        stage.screen.line(&format!(
            "  {:<26} {:>6.1} calls/s   p50 {:>7.2} ms   p95 {:>7.2} ms   ok {:>5.1} %",
            lane.name,
            calls.per_second,
            calls.p50_ms(),
            calls.quantile_ms(0.95),
            calls.success_percent()
        ));
    }
    let all: u64 = calls.iter().map(|calls| calls.all).sum();
    let good: u64 = calls.iter().map(|calls| calls.good).sum();
    let per_second: f64 = calls.iter().map(|calls| calls.per_second).sum();
    let each_calls = calls.iter().all(|calls| calls.good > 0);
    let faulted: u64 = stage.faulted()?.values().sum();
    Ok(vec![
        claim(
            each_calls && good == all,
            "every call succeeds",
            format!("{good} of {all} calls, {per_second:.0} calls/s"),
        ),
        claim(faulted == 0, "no fault, nothing touched", format!("{faulted} packets")),
    ])
}
