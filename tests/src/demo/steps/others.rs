//! The promise of every fault: who is not its target is not touched. Counted in the kernel, packet
//! by packet; the agents' times are the second witness.

use anyhow::{Context, Result};

use super::{Claim, Stage, claim};
use crate::demo::measure::{Calls, SLOW_MS};

/// Target of the faults of the demo.
pub(super) const BULKHEAD: &str = "research";
/// Its service.
pub(super) const SERVICE: &str = "github";

/// Packets that faults have touched so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched {
    target: u64,
    others: u64,
}

/// Reads the counters.
pub(super) fn touched(stage: &Stage) -> Result<Touched> {
    let mut touched = Touched { target: 0, others: 0 };
    for ((bulkhead, service), packets) in stage.faulted()? {
        if bulkhead == BULKHEAD && service == SERVICE {
            touched.target += packets;
        } else {
            touched.others += packets;
        }
    }
    Ok(touched)
}

/// Since `before` only the target was touched, and it was.
pub(super) fn untouched(stage: &Stage, before: Touched, unit: &str) -> Result<Claim> {
    let now = touched(stage)?;
    let (target, others) = (now.target - before.target, now.others - before.others);
    Ok(claim(
        target > 0 && others == 0,
        "nobody else touched",
        format!("{others} {unit}, of the target {target}"),
    ))
}

/// Prints a line per agent, and claims that those that are not the target go on as before.
pub(super) fn compare(stage: &Stage, before: &[Calls], during: &[Calls]) -> Result<Claim> {
    let mut worst = None;
    let mut all_good = true;
    for ((lane, before), during) in stage.lanes.iter().zip(before).zip(during) {
        let target = lane.is(BULKHEAD, SERVICE);
        stage.screen.line(&format!(
            "{} {:<25} p50 {:>6.2} -> {:>6.2} ms   p95 {:>6.2} -> {:>6.2} ms   ok {:>5.1} %",
            if target { "  >" } else { "   " },
            lane.name,
            before.p50_ms(),
            during.p50_ms(),
            before.quantile_ms(0.95),
            during.quantile_ms(0.95),
            during.success_percent()
        ));
        if !target {
            all_good &= during.good > 0 && during.good == during.all;
            let slower = during.p50_ms() - before.p50_ms();
            worst = Some(worst.map_or(slower, |worst: f64| worst.max(slower)));
        }
    }
    let slower = worst.context("there is no agent to compare with")?;
    // A scheduler that is busy shows in milliseconds, the fault would show in hundreds.
    Ok(claim(
        all_good && slower < SLOW_MS / 10.0,
        "others as before",
        format!("p50 {slower:+.2} ms at most, {}", if all_good { "all good" } else { "failures" }),
    ))
}
