//! A normal jitter: middle and spread of the added delay, by quantiles, because an emulated
//! processor stands still at times and what stands in a queue then is late altogether. Datagrams follow one another so
//! slowly that none has to wait for the one before it: NFQUEUE never lets them overtake.

use std::time::Duration;

use anyhow::Result;
use testbed::stats::quantile;

use super::super::Effort;
use super::super::report::Row;
use super::{Bench, Engine};

const DELAY_MS: f64 = 20.0;
const JITTER_MS: f64 = 4.0;
/// Share below one standard deviation above the mean.
const ABOVE: f64 = 0.841_345;
/// Six standard deviations.
const GAP: Duration = Duration::from_millis(24);
const COUNT: usize = 1500;

pub(super) fn rows(bench: &Bench, effort: Effort) -> Result<Vec<Row>> {
    let count = effort.pick(COUNT, COUNT / 10);
    let longest = Duration::from_secs(10);
    let mut seen = Vec::new();
    for engine in Engine::ALL {
        let calm = bench.calm(engine, |p, s| p.one_way_ms(s, count / 10, GAP, longest))?;
        let times = bench.disturbed(
            engine,
            &format!(
                "--latency {DELAY_MS}ms --jitter {JITTER_MS}ms --distribution normal --seed 1"
            ),
            &format!("delay {DELAY_MS}ms {JITTER_MS}ms distribution normal"),
            |probe, sender| probe.one_way_ms(sender, count, GAP, longest),
        )?;
        let at = |times: &[f64], q| quantile(times, q).unwrap_or(f64::NAN);
        let spread = (at(&times, ABOVE) - at(&times, 1.0 - ABOVE)) / 2.0;
        seen.push((at(&times, 0.5) - at(&calm, 0.5), spread));
    }
    let netem = seen.pop().unwrap_or((f64::NAN, f64::NAN));
    // Four standard errors, and what an emulated processor is late.
    let error = JITTER_MS / (count as f64).sqrt() * 4.0 + 0.5;
    let rows = Engine::GUARD.iter().zip(seen).flat_map(|(engine, (middle, spread))| {
        let name = engine.name();
        let what = format!("{DELAY_MS} ms, normal jitter {JITTER_MS} ms, {name}");
        [
            Row::both(format!("{what}: median"), "ms", middle, netem.0)
                .target(format!("{DELAY_MS} +- {error:.1} ms"), (middle - DELAY_MS).abs() <= error)
                .of(count),
            Row::both(format!("{what}: spread (84 % - 16 %) / 2"), "ms", spread, netem.1)
                .target(
                    format!("{JITTER_MS} +- {error:.1} ms"),
                    (spread - JITTER_MS).abs() <= error,
                )
                .of(count),
        ]
    });
    Ok(rows.collect())
}
