//! A thousand bulkheads: how long it takes to make them, to reload, to ask for the status.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::stats::median;

use super::Effort;
use super::report::Row;

/// What is promised.
const MADE: Duration = Duration::from_secs(2);
const RELOADED: Duration = Duration::from_secs(1);
const ANSWERED: Duration = Duration::from_millis(200);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let count = effort.pick(1_000, 200);
    let mut guardd = Guardd::prepare(config(1, 443))?;
    let one = started(&mut guardd)?;
    guardd.stop()?;
    guardd.set_config(config(count, 443))?;
    let all = started(&mut guardd)?;
    let status = median_of(20, || timed(|| guardd.ctl_json(&["status"]).map(drop)))?;
    let text = median_of(20, || timed(|| guardd.ctl(&["status"]).map(drop)))?;
    let scrape = median_of(5, || timed(|| guardd.metrics().map(drop)))?;
    let unchanged = median_of(5, || timed(|| guardd.ctl_json(&["reload"]).map(drop)))?;
    let mut port = 443;
    let changed = median_of(5, || {
        port += 1;
        guardd.set_config(config(count, port))?;
        timed(|| guardd.ctl_json(&["reload"]).map(drop))
    })?;
    guardd.set_config(config(1, port))?;
    let fewer = timed(|| guardd.ctl_json(&["reload"]).map(drop))?;
    guardd.set_config(config(count, port))?;
    let more = timed(|| guardd.ctl_json(&["reload"]).map(drop))?;
    let stopped = timed(|| guardd.stop().map(drop))?;
    guardd.finish()?;
    let row = |what: &str, took: Duration| {
        Row::single(format!("{count} bulkheads: {what}"), "ms", took.as_secs_f64() * 1e3)
    };
    let within = |row: Row, took: Duration, limit: Duration| {
        row.target(format!("at most {} ms", limit.as_millis()), took <= limit)
    };
    let made = all.saturating_sub(one);
    let largest = unchanged.max(changed);
    let slowest = status.max(text);
    Ok(vec![
        within(row("made at the start", made), made, MADE),
        within(row("made by a reload", more), more, MADE),
        row("removed by a reload", fewer),
        row("removed at the stop", stopped),
        within(row("reload, nothing or one service changed", largest), largest, RELOADED).of(5),
        within(row("guardctl status", slowest), slowest, ANSWERED).of(20),
        row("/metrics", scrape).of(5),
        Row::single("start with one bulkhead", "ms", one.as_secs_f64() * 1e3),
    ])
}

/// So many bulkheads and one service; `port` is its port, so that a reload has something to do.
fn config(count: usize, port: u16) -> GuarddConfig {
    let names: Vec<String> = (0..count).map(|n| format!("agent-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let endpoint = [([127, 20, 0, 1], port).into()];
    let mut config = GuarddConfig::simple(&[("api", &endpoint)], &names);
    // With their breakers, as a host has them.
    config.replace("mode = \"off\"", "");
    config
}

fn started(guardd: &mut Guardd) -> Result<Duration> {
    let start = Instant::now();
    guardd.launch()?;
    guardd.wait_ready()?;
    Ok(start.elapsed())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median_of(rounds: usize, mut work: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let times = (0..rounds).map(|_| Ok(work()?.as_secs_f64())).collect::<Result<Vec<_>>>()?;
    Ok(Duration::from_secs_f64(median(&times).unwrap_or_default()))
}
