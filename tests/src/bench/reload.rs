//! Time of `guardctl reload` with 100 bulkheads and 100 services.

use std::time::Instant;

use anyhow::{Result, ensure};
use testbed::guardd::Guardd;
use testbed::stats::median;

use super::report::Row;
use super::{Effort, many};

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut guardd = Guardd::start(many::config(443))?;
    let rounds = effort.pick(20, 5);
    let (mut unchanged, mut changed) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        unchanged.push(reload(&guardd, 0)?);
        guardd.set_config(many::config(if round % 2 == 0 { 444 } else { 443 }))?;
        changed.push(reload(&guardd, 1)?);
    }
    guardd.finish()?;
    let row = |what, times: &[f64]| {
        Row::single(what, "ms", median(times).unwrap_or(f64::NAN)).of(times.len())
    };
    Ok(vec![row("nothing changed", &unchanged), row("one service changed", &changed)])
}

/// Milliseconds of one reload, the start of guardctl included.
fn reload(guardd: &Guardd, changes: usize) -> Result<f64> {
    let start = Instant::now();
    let answer = guardd.ctl_json(&["reload"])?;
    let took = start.elapsed();
    let made = answer["changes"].as_array().map_or(0, Vec::len);
    ensure!(made == changes, "{made} changes instead of {changes}: {answer}");
    Ok(took.as_secs_f64() * 1e3)
}
