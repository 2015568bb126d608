//! The breakers' part of `/metrics`.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};
use crate::control::api::BreakerRecord;

/// How often a breaker went from one state to another for one reason.
#[derive(Clone, Debug, Default)]
pub struct TransitionSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub destination: String,
    /// `closed`, `open` or `half_open`.
    pub from: &'static str,
    /// The same.
    pub to: &'static str,
    /// As in events.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

/// How many connections guard ended.
#[derive(Clone, Debug, Default)]
pub struct CutSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub destination: String,
    /// `call_timeout`, `connect_timeout`, `hold_over`, `open_pool`, `peer_closed`, `suspend`,
    /// `link_change` or `fallback_over`.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

const STATES: [&str; 3] = ["closed", "open", "half_open"];

impl Sample {
    pub(super) fn encode_breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.breakers.iter().flat_map(|breaker| {
            STATES.map(|state| {
                let labels = [
                    ("bulkhead", breaker.bulkhead.clone()),
                    ("destination", breaker.service.clone()),
                    ("state", state.to_owned()),
                ];
                (labels, f64::from(u8::from(breaker.state == state)))
            })
        });
        family("guard_breaker_state", "1 for the state that a breaker is in")
            .gauges(encoder, states)?;
        let pair = |breaker: &BreakerRecord| {
            [("bulkhead", breaker.bulkhead.clone()), ("destination", breaker.service.clone())]
        };
        let rejected = self.breakers.iter().map(|b| (pair(b), b.rejected as f64));
        family("guard_breaker_rejected", "Calls that a breaker refused")
            .counters(encoder, rejected)?;
        let held = self.breakers.iter().map(|b| (pair(b), b.held as f64));
        family("guard_breaker_held", "Calls that had to wait for a breaker")
            .counters(encoder, held)?;
        let probes = self.breakers.iter().flat_map(|breaker| {
            let counts = [
                ("success", breaker.probes_succeeded),
                ("failure", breaker.probes_failed),
                ("given_back", breaker.probes_given_back),
            ];
            let [bulkhead, destination] = pair(breaker);
            counts.map(|(result, count)| {
                let labels = [bulkhead.clone(), destination.clone(), ("result", result.to_owned())];
                (labels, count as f64)
            })
        });
        family("guard_breaker_probes", "Probes by what became of them")
            .counters(encoder, probes)?;
        let cuts = self.cuts.iter().map(|cut| {
            let labels = [
                ("bulkhead", cut.bulkhead.clone()),
                ("destination", cut.destination.clone()),
                ("reason", cut.reason.to_owned()),
            ];
            (labels, cut.count as f64)
        });
        family("guard_connections_ended", "Connections that guard ended, by reason")
            .counters(encoder, cuts)?;
        let transitions = self.transitions.iter().map(|transition| {
            let labels = [
                ("bulkhead", transition.bulkhead.clone()),
                ("destination", transition.destination.clone()),
                ("from", transition.from.to_owned()),
                ("to", transition.to.to_owned()),
                ("reason", transition.reason.to_owned()),
            ];
            (labels, transition.count as f64)
        });
        family("guard_breaker_transitions", "Changes of a breaker's state, by reason")
            .counters(encoder, transitions)
    }
}
