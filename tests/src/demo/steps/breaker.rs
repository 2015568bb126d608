//! A sick service: the breaker of the bulkhead that calls it opens, the neighbour's does not, and
//! when the service is well again one probe closes it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::agent::Record;
use testbed::server::{Behaviour, Server};
use testbed::stats;

use super::{Claim, Stage, claim};
use crate::demo::agents::exec;
use crate::demo::measure::end_ns;
use crate::demo::setup::SICK;

const BULKHEAD: &str = "research";
const NEIGHBOUR: &str = "writing";
/// `failure_threshold` of the demo's configuration.
const THRESHOLD: u64 = 5;
/// `open_timeout` of the demo's configuration, seconds.
const OPEN_SECONDS: f64 = 1.0;
/// Calls into each sickness: those that trip it, and those that are refused.
const CALLS: u64 = 105;
/// Calls from the trip on until one is answered.
const MOST_TRIES: u64 = 200;

/// Makes a server fall sick.
type Fall = fn(&mut Server);

/// What a service can suffer from.
const SICKNESSES: [(&str, Fall); 4] = [
    ("stopped", Server::refuse),
    ("hangs", |server| server.set(Behaviour::Hang)),
    ("resets", |server| server.set(Behaviour::ResetAfterRequest)),
    ("answers 503", |server| server.set(Behaviour::answer(503, 16))),
];

/// Lets the service fall sick in four ways, one after the other.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let address = stage.setup.addresses(SICK).first().copied();
    let address = address.context("the sick service has no address")?;
    let mut claims = Vec::new();
    for (number, (sickness, fall_sick)) in SICKNESSES.into_iter().enumerate() {
        fall_sick(stage.sick()?);
        let before = standing(stage, BULKHEAD)?;
        let records = calls(stage, BULKHEAD, address, CALLS, "0ms")?;
        let open = standing(stage, BULKHEAD)?;
        if number == 0 {
            let said = stage.ctl(&["breaker", "list"])?;
            stage.screen.text(&said);
        }
        claims.push(trip(sickness, &before, &open, &records)?);
        let sick = stage.sick()?;
        sick.set(Behaviour::answer(200, 16));
        sick.listen()?;
        claims.extend(recovery(stage, sickness, address, &records)?);
    }
    Ok(claims)
}

/// Exactly the threshold's failures got through; from then on calls are refused at once.
fn trip(sickness: &str, before: &Standing, open: &Standing, records: &[Record]) -> Result<Claim> {
    let (through, refused) = (open.through - before.through, open.rejected - before.rejected);
    let fast: Vec<f64> =
        records.iter().skip(THRESHOLD as usize).filter_map(|record| record.connect_us).collect();
    let refusal_us = stats::median(&fast).context("nothing was refused")?;
    let (first, last) = (records.first(), records.get(THRESHOLD as usize - 1));
    let (first, last) = first.zip(last).context("too few calls")?;
    let tripped_ms = end_ns(last).saturating_sub(first.start_unix_ns) as f64 / 1e6;
    Ok(claim(
        open.state == "open" && through == THRESHOLD && refused == CALLS - THRESHOLD,
        format!("{sickness}: {THRESHOLD} fail, then none"),
        format!(
            "{through} failed, open in {tripped_ms:.1} ms, then {refused} refused in {refusal_us:.0} us"
        ),
    ))
}

/// The neighbour was never refused; the bulkhead comes back by one probe after the open time.
fn recovery(
    stage: &mut Stage,
    sickness: &str,
    address: SocketAddr,
    sick: &[Record],
) -> Result<Vec<Claim>> {
    let tripped = sick.get(THRESHOLD as usize - 1).context("too few calls")?;
    let neighbours = calls(stage, NEIGHBOUR, address, 20, "0ms")?;
    let good = neighbours.iter().filter(|record| record.is_ok()).count();
    let neighbour = standing(stage, NEIGHBOUR)?;
    let before = standing(stage, BULKHEAD)?;
    let records = calls(stage, BULKHEAD, address, MOST_TRIES, "10ms")?;
    let after = standing(stage, BULKHEAD)?;
    let first_good = records.iter().find(|record| record.is_ok());
    let back = first_good.map_or(f64::INFINITY, |record| {
        record.start_unix_ns.saturating_sub(end_ns(tripped)) as f64 / 1e9
    });
    let probes = after.probes - before.probes;
    Ok(vec![
        claim(
            good == neighbours.len() && neighbour.state == "closed" && neighbour.rejected == 0,
            format!("{sickness}: {NEIGHBOUR} is not refused"),
            format!("{good} of {} calls good, {}", neighbours.len(), neighbour.state),
        ),
        claim(
            after.state == "closed"
                && probes == 1
                && (OPEN_SECONDS..OPEN_SECONDS + 0.5).contains(&back),
            format!("well again: back after {OPEN_SECONDS:.0} s by 1 probe"),
            format!("{probes} probe, {}, first good call after {back:.2} s", after.state),
        ),
    ])
}

/// How a breaker stands.
struct Standing {
    state: String,
    rejected: u64,
    probes: u64,
    /// Calls that were not refused.
    through: u64,
}

fn standing(stage: &Stage, bulkhead: &str) -> Result<Standing> {
    let list = stage.ask(&["breaker", "list"])?;
    let all = list["breakers"].as_array().context("breaker list: no list")?;
    let of = |entry: &&Value| entry["bulkhead"] == bulkhead && entry["service"] == SICK;
    let breaker = all.iter().find(of).context("breaker list: it is not there")?;
    let number = |name: &str| breaker[name].as_u64().unwrap_or_default();
    let status = stage.ask(&["status"])?;
    let named = |list: &Value, name: &str| {
        list.as_array().into_iter().flatten().find(|entry| entry["name"] == name).cloned()
    };
    let service = named(&status["bulkheads"], bulkhead)
        .and_then(|bulkhead| named(&bulkhead["services"], SICK))
        .unwrap_or_default();
    let calls = service["calls"].as_object().into_iter().flatten();
    Ok(Standing {
        state: breaker["state"].as_str().unwrap_or_default().to_owned(),
        rejected: number("rejected"),
        probes: number("probes_succeeded") + number("probes_failed"),
        through: calls
            .filter(|(outcome, _)| *outcome != "rejected")
            .filter_map(|(_, count)| count.as_u64())
            .sum(),
    })
}

/// Calls on fresh connections, one after the other.
fn calls(
    stage: &Stage,
    bulkhead: &str,
    address: SocketAddr,
    count: u64,
    interval: &str,
) -> Result<Vec<Record>> {
    let (target, wanted) = (format!("http://{address}/"), count.to_string());
    let args = ["--target", &target, "--count", &wanted, "--timeout", "300ms"];
    let agent = exec(&stage.setup, bulkhead, &[&args[..], &["--interval", interval]].concat())?;
    let records = agent.finish(Duration::from_secs(30))?.0;
    ensure!(records.len() as u64 == count, "{} of {count} calls were made", records.len());
    Ok(records)
}
