//! `guardctl status`, checked against what the demo knows to be so.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Claim, Stage, claim};
use crate::demo::setup::{BULKHEADS, SERVICES};

/// Shows it after a moment of traffic.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    // Counters outlive a guardd that was killed: what came before is told apart by them.
    let before = stage.ask(&["status"])?;
    stage.screen.wait("letting the new guardd see traffic", Duration::from_secs(2))?;
    let said = stage.ctl(&["status"])?;
    stage.screen.text(&said);
    let status = stage.ask(&["status"])?;
    let mut claims = Vec::new();
    for name in BULKHEADS {
        let agents = stage.lanes.iter().filter(|lane| lane.bulkhead == name).count() as u64;
        let bulkheads = status["bulkheads"].as_array().into_iter().flatten();
        let bulkhead = bulkheads.clone().find(|bulkhead| bulkhead["name"] == name);
        let bulkhead = bulkhead.with_context(|| format!("{name} is not in the list"))?;
        let processes = bulkhead["processes"].as_u64().context("no `processes`")?;
        claims.push(claim(
            processes == agents,
            format!("{name}: {agents} agents"),
            format!("{processes} processes"),
        ));
        let since: Vec<(u64, u64)> = SERVICES
            .iter()
            .map(|service| {
                let (old, new) = (calls(&before, name, service), calls(&status, name, service));
                (new.0.saturating_sub(old.0), new.1.saturating_sub(old.1))
            })
            .collect();
        let good = since.iter().filter(|(good, all)| *all > 0 && good == all).count();
        let all: u64 = since.iter().map(|(_, all)| *all).sum();
        claims.push(claim(
            good == SERVICES.len(),
            format!("{name}: both services ok"),
            format!("{good} without a failure in {all} calls"),
        ));
    }
    Ok(claims)
}

/// Successful calls and all calls of a bulkhead to a service, as `status` counts them.
fn calls(status: &Value, bulkhead: &str, service: &str) -> (u64, u64) {
    let named = |list: &Value, name: &str| {
        list.as_array().and_then(|list| list.iter().find(|item| item["name"] == name).cloned())
    };
    let found = named(&status["bulkheads"], bulkhead);
    let found = found.and_then(|found| named(&found["services"], service)).unwrap_or_default();
    let calls = found["calls"].as_object().into_iter().flatten();
    let counts = calls.map(|(outcome, count)| (outcome.as_str(), count.as_u64().unwrap_or(0)));
    counts.fold((0, 0), |(good, all), (outcome, count)| {
        (good + if outcome == "success" { count } else { 0 }, all + count)
    })
}
