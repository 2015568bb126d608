//! The gateways' part of `/metrics`.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};

/// What the gateway of one service did, in this life of guardd.
#[derive(Clone, Debug, Default)]
pub struct GatewaySample {
    /// Service.
    pub destination: String,
    /// Whether calls go through it now.
    pub usable: bool,
    /// Requests by how they ended.
    pub requests: Vec<(&'static str, u64)>,
    /// Retries by reason.
    pub retries: Vec<(&'static str, u64)>,
    /// Connections of agents that are open.
    pub connections: u64,
    /// Connections that were passed through as they are.
    pub passed: u64,
    /// Connections that were reset because there were too many.
    pub refused: u64,
}

impl GatewaySample {
    fn labels(&self) -> [(&'static str, String); 1] {
        [("destination", self.destination.clone())]
    }
}

impl Sample {
    pub(super) fn encode_gateways(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let by = |label: &'static str, counts: fn(&GatewaySample) -> &[(&'static str, u64)]| {
            self.gateways.iter().flat_map(move |gateway| {
                counts(gateway).iter().map(move |(name, count)| {
                    let destination = ("destination", gateway.destination.clone());
                    ([destination, (label, (*name).to_owned())], *count as f64)
                })
            })
        };
        let all = self.gateways.iter();
        family("guard_gateway_usable", "1 while calls to the service go through guardd's gateway")
            .gauges(encoder, all.clone().map(|g| (g.labels(), f64::from(u8::from(g.usable)))))?;
        family("guard_gateway_requests", "HTTP requests through the gateway, by how they ended")
            .counters(encoder, by("result", |gateway| &gateway.requests))?;
        family("guard_gateway_retries", "What the gateway tried again, by reason")
            .counters(encoder, by("reason", |gateway| &gateway.retries))?;
        family("guard_gateway_connections", "Connections of agents to the gateway")
            .gauges(encoder, all.clone().map(|g| (g.labels(), g.connections as f64)))?;
        family(
            "guard_gateway_passed_connections",
            "Connections that the gateway passed through as they are (TLS, for one)",
        )
        .counters(encoder, all.clone().map(|g| (g.labels(), g.passed as f64)))?;
        family(
            "guard_gateway_refused_connections",
            "Connections beyond the gateway's limits, reset",
        )
        .counters(encoder, all.map(|g| (g.labels(), g.refused as f64)))
    }
}
