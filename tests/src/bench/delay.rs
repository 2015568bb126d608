//! Accuracy of latency faults: what an exchange on an open connection gets longer by.

use anyhow::{Context, Result};

use super::paired::{Paired, Side};
use super::report::Row;
use super::server::{Server, Service};
use super::sides::Sides;
use super::{Effort, pingpong};

/// Milliseconds asked for, and exchanges.
const DELAYS: [(u32, usize); 8] =
    [(1, 1000), (3, 600), (10, 300), (30, 150), (100, 60), (300, 25), (1000, 13), (2000, 11)];
/// Longest delay of a quick run.
const QUICK_MS: u32 = 100;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let server = Server::start(None)?;
    let sides = Sides::start(&[server.data])?;
    let mut rows = Vec::new();
    for (asked_ms, exchanges) in DELAYS {
        if effort.pick(false, asked_ms > QUICK_MS) {
            continue;
        }
        // Connected before the fault, as a pooled connection is.
        let (mut guarded, mut bare) = sides.both(false, || server.connect(Service::Echo))?;
        let injected = sides.inject(&["--latency", &format!("{asked_ms}ms")])?;
        let engine = injected["engine"].as_str().context("the fault has no engine")?.to_owned();
        let paired = Paired::measure(effort.pick(exchanges, exchanges.min(20)), |side| {
            let stream = if side == Side::Guarded { &mut guarded } else { &mut bare };
            Ok(pingpong::exchange(stream)?.as_secs_f64() * 1e3)
        })?;
        sides.clear()?;
        let asked_ms = f64::from(asked_ms);
        let allowed_ms = (asked_ms / 100.0).max(0.2);
        let met = (paired.difference().median - asked_ms).abs() <= allowed_ms;
        rows.push(
            Row::difference(format!("{asked_ms} ms ({engine})"), "ms", &paired)
                .target(format!("{asked_ms} +- {allowed_ms} ms"), met),
        );
    }
    sides.finish()?;
    Ok(rows)
}
