//! Breakers: what a refusal costs, whether exactly as many calls get through as should, and what
//! many breakers cost.

use std::net::SocketAddr;

use anyhow::Result;
use testbed::guardd::{Guardd, GuarddConfig};

use super::Effort;
use super::report::Row;

mod cost;
mod races;
mod scale;

/// Bulkhead and service.
const NAME: &str = "bench";

/// All of it.
pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = cost::run(effort)?;
    rows.extend(races::run(effort)?);
    rows.extend(scale::run(effort)?);
    Ok(rows)
}

/// One bulkhead, one service, a breaker with these settings.
fn config(endpoint: SocketAddr, breaker: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.{NAME}]\nendpoints = [\"{endpoint}\"]\n[bulkheads.{NAME}]\n\
         [defaults.breaker]\n{breaker}\n"
    ))
}

/// `guardctl breaker VERB` for the one breaker.
fn operate(guardd: &Guardd, verb: &str) -> Result<()> {
    guardd.ctl_json(&["breaker", verb, &format!("{NAME}/{NAME}")]).map(drop)
}
