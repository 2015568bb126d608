//! `guardctl status`, checked against what the demo knows to be so.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Claim, Stage, claim};
use crate::demo::setup::{BULKHEADS, SERVICES};

/// Shows it after a moment of traffic.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
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
        let services = bulkhead["services"].as_array().cloned().unwrap_or_default();
        let ratio = |of: &str| {
            let service = services.iter().find(|service| service["name"] == of)?;
            service["success_ratio"].as_f64()
        };
        let ratios: Vec<f64> = SERVICES.iter().filter_map(|service| ratio(service)).collect();
        let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        claims.push(claim(
            ratios.len() == SERVICES.len() && worst >= 0.999,
            format!("{name}: both services ok"),
            format!("{} services seen, worst {:.1} %", ratios.len(), worst * 100.0),
        ));
    }
    Ok(claims)
}
