//! Each datagram of the bulkhead is followed by one from outside, which no fault holds: the median of
//! those is what a datagram takes anyway.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::stats::{median, quantile};

use super::super::probe::{Probe, send};
use super::super::report::Row;
use super::super::sides::Sides;

const DELAYS_MS: [u32; 2] = [10, 100];
/// Between two datagrams: up to 250 of the bulkhead's are under way at once.
const GAP: Duration = Duration::from_micros(200);
/// Longest wait for one that is under way.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) fn rows(probe: &Probe, sides: &Sides, count: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for asked_ms in DELAYS_MS {
        let injected = sides.inject(&["--latency", &format!("{asked_ms}ms")])?;
        let engine = injected["engine"].as_str().context("the fault has no engine")?;
        let (held, free) = one_way_ms(probe, sides, count)?;
        let ended = sides.clear_one(&injected)?;
        ensure!(
            ended["counters"]["delayed"] == count,
            "guard counted other than {count}: {}",
            ended["counters"]
        );
        let usual_ms = median(&free).unwrap_or(f64::NAN);
        let asked_ms = f64::from(asked_ms);
        let errors: Vec<f64> = held.iter().map(|ms| ms - usual_ms - asked_ms).collect();
        let at = |q| quantile(&errors, q).unwrap_or(f64::NAN);
        let what = |of: &str| format!("{asked_ms} ms ({engine}), error of the added delay: {of}");
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let allowed_ms = (asked_ms / 100.0).max(0.2);
        rows.push(
            Row::single(what("median"), "ms", at(0.5))
                .target(format!("+- {allowed_ms} ms"), at(0.5).abs() <= allowed_ms)
                .of(count),
        );
        let quantiles =
            [("least", 0.0), ("5 %", 0.05), ("95 %", 0.95), ("99 %", 0.99), ("most", 1.0)];
        rows.push(Row::single(what("mean"), "ms", mean).of(count));
        rows.extend(quantiles.map(|(of, q)| Row::single(what(of), "ms", at(q)).of(count)));
        let spread_ms = quantile(&free, 0.99).unwrap_or(f64::NAN) - usual_ms;
        let of = format!("{asked_ms} ms: datagrams without a fault, 99 % over median");
        rows.push(Row::single(of, "ms", spread_ms).of(count));
    }
    Ok(rows)
}

/// One-way times of `count` datagrams from the bulkhead and as many from outside, by turns.
fn one_way_ms(probe: &Probe, sides: &Sides, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let (guarded, bare) = sides.both(false, || probe.sender())?;
    let mut times = [vec![f64::NAN; count], vec![f64::NAN; count]];
    let mut came = 0;
    let mut take = |longest| -> Result<bool> {
        let Some(got) = probe.next(longest)? else { return Ok(false) };
        // Even numbers are the bulkhead's.
        let place = times[got.number as usize % 2].get_mut(got.number as usize / 2);
        *place.context("a datagram of another run")? =
            got.arrival_ns.saturating_sub(got.sent_ns) as f64 / 1e6;
        Ok(true)
    };
    for number in 0..count as u64 {
        send(&guarded, number * 2)?;
        thread::sleep(GAP);
        send(&bare, number * 2 + 1)?;
        thread::sleep(GAP);
        while take(Duration::ZERO)? {
            came += 1;
        }
    }
    while came < count * 2 {
        ensure!(take(LONGEST)?, "{} datagrams were lost that only had to wait", count * 2 - came);
        came += 1;
    }
    let [held, free] = times;
    Ok((held, free))
}
