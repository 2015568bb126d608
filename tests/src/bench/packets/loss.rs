//! Loss as the receiver sees it, against what was asked, and against guard's own counters.

use anyhow::{Context as _, Result};

use super::super::netem::loss::Lost;
use super::super::paired::Side;
use super::super::probe::Probe;
use super::super::report::Row;
use super::super::sides::Sides;

/// Percent, and average length of bursts (1: random).
const LOSSES: [(f64, f64); 3] = [(1.0, 1.0), (10.0, 1.0), (5.0, 4.0)];
/// Standard deviations of 99 %.
const Z: f64 = 2.576;

pub(super) fn rows(probe: &Probe, sides: &Sides, count: usize, seed: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (percent, burst) in LOSSES {
        let (percent_word, seed) = (format!("{percent}%"), seed.to_string());
        let mut words = vec!["--loss", &percent_word, "--seed", &seed];
        let burst_word = burst.to_string();
        if burst > 1.0 {
            words.extend(["--burst", &burst_word]);
        }
        let injected = sides.inject(&words)?;
        let sender = sides.inside(Side::Guarded, || probe.sender())?;
        let arrived = probe.arrived(&sender, count as u64)?;
        let ended = sides.clear_one(&injected)?;
        let counted = |name: &str| ended["counters"][name].as_u64().context(name.to_owned());
        let (matched, dropped) = (counted("matched")?, counted("dropped")?);
        let lost = arrived.iter().filter(|came| !**came).count() as u64;
        let seen = Lost::of(&arrived);
        let what = format!("loss of {percent} % in bursts of {burst}");
        let error = interval(percent / 100.0, burst, count) * 100.0;
        let seen_percent = seen.share * 100.0;
        rows.extend([
            Row::single(what.clone(), "%", seen_percent)
                .target(
                    format!("{percent} +- {error:.3} % (99 %)"),
                    (seen_percent - percent).abs() <= error,
                )
                .of(count),
            Row::single(format!("{what}: mean burst"), "", seen.burst).of(lost as usize),
            Row::single(
                format!("{what}: counted by guard, lost at the receiver"),
                "",
                dropped as f64,
            )
            .target(lost.to_string(), dropped == lost)
            .of(count),
            Row::single(format!("{what}: counted by guard, sent"), "", matched as f64)
                .target(count.to_string(), matched == count as u64)
                .of(count),
        ]);
    }
    Ok(rows)
}

/// Half the width of the interval of 99 % for a share.
fn interval(share: f64, burst: f64, count: usize) -> f64 {
    let random = (share * (1.0 - share) / count as f64).sqrt();
    if burst <= 1.0 {
        return Z * random;
    }
    // Neighbours are alike, so the share spreads more (variance of a two-state chain).
    let alike = 1.0 - share / (burst * (1.0 - share)) - 1.0 / burst;
    Z * random * ((1.0 + alike) / (1.0 - alike)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn intervals_widen_with_bursts() {
        assert!((interval(0.1, 1.0, 10_000) - 0.007_728).abs() < 1e-6);
        let ratio = interval(0.05, 4.0, 10_000) / interval(0.05, 1.0, 10_000);
        assert!((ratio - 2.57).abs() < 0.01, "{ratio}");
    }
}
