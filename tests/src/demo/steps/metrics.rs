//! A few metrics, and whether they are exact: an agent makes a known number of calls.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Claim, Stage, claim};
use crate::demo::agents::exec;

const CALLS: u64 = 300;
const PAYLOAD_BYTES: u64 = 1_000;

/// Stops the standing agents, and lets one make exactly [`CALLS`] calls.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    for lane in std::mem::take(&mut stage.lanes) {
        let (name, summary) = (lane.name.clone(), lane.stop()?);
        ensure!(summary.unfinished == 0, "{name}: {} calls hang", summary.unfinished);
    }
    let address = stage.setup.addresses("search").into_iter().next();
    let target = format!("http://{}/", address.context("search has no address")?);
    let before = stage.daemon.metrics()?;
    let (count, payload) = (CALLS.to_string(), PAYLOAD_BYTES.to_string());
    let args =
        ["--target", &target, "--keep-alive", "--count", &count, "--payload-bytes", &payload];
    let (records, _) = exec(&stage.setup, "writing", &args)?.finish(Duration::from_secs(30))?;
    let good = records.iter().filter(|record| record.is_ok()).count() as u64;
    let connections = records.iter().filter(|record| !record.reused).count() as u64;
    let after = stage.daemon.metrics()?;
    show(stage, &after);

    let pair = r#"bulkhead="writing",destination="search""#;
    let grown = |name: &str, more: &str| {
        let series = format!("{name}{{{pair}{more}}}");
        value(&after, &series).unwrap_or(0) - value(&before, &series).unwrap_or(0)
    };
    let calls = grown("guard_calls_total", r#",outcome="success",origin="real""#);
    let counted = grown("guard_call_seconds_count", "");
    let connects = grown("guard_connects_total", "");
    let sent = grown("guard_sent_bytes_total", "");
    Ok(vec![
        claim(
            calls == good && counted == good && good == CALLS,
            format!("{CALLS} calls of one agent"),
            format!("guard_calls_total +{calls}, seconds_count +{counted}"),
        ),
        claim(
            connects == connections,
            format!("{connections} connection, kept"),
            format!("guard_connects_total +{connects}"),
        ),
        claim(
            sent > CALLS * PAYLOAD_BYTES,
            format!("more than {} bytes sent", CALLS * PAYLOAD_BYTES),
            format!("guard_sent_bytes_total +{sent}"),
        ),
    ])
}

/// Some series that an operator looks at first.
fn show(stage: &Stage, text: &str) {
    stage.screen.line(&format!("  $ curl -s http://{}/metrics", stage.setup.metrics));
    let wanted = [
        r#"guard_calls_total{bulkhead="research",destination="github",outcome="success""#,
        r#"guard_calls_total{bulkhead="writing",destination="search",outcome="success""#,
        r#"guard_connects_total{bulkhead="writing",destination="search""#,
        r#"guard_call_seconds_sum{bulkhead="writing",destination="search""#,
        r#"guard_bulkhead_processes{bulkhead="writing""#,
        "guard_events_lost_total",
        "guard_scrapes_total",
    ];
    for line in text.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start))) {
        stage.screen.line(line);
    }
}

/// The value of one series, given in full.
fn value(text: &str, series: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.split(' ').next()?.parse().ok()
}
