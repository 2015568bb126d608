//! Healing: incidents and actions. The sums are since guard has known a pair, over all
//! starts of guardd.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};
use crate::health::incident::{Total, Totals};
use crate::recovery::ActionResult;

/// What healing has come to.
#[derive(Clone, Debug, Default)]
pub struct RecoverySample {
    /// Rules with their actions: series are there from the start.
    pub rules: Vec<(String, Vec<&'static str>)>,
    /// Actions by rule, action, result.
    pub actions: BTreeMap<(String, String, ActionResult), u64>,
    /// Open incidents by bulkhead and service.
    pub active: BTreeMap<(String, String), u64>,
    /// Sums.
    pub totals: Totals,
}

impl Sample {
    pub(super) fn encode_recovery(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let recovery = &self.recovery;
        let mut actions = recovery.actions.clone();
        for (rule, names) in &recovery.rules {
            for action in names {
                for result in ActionResult::ALL {
                    let key = (rule.clone(), (*action).to_owned(), result);
                    actions.entry(key).or_default();
                }
            }
        }
        let series = actions.into_iter().map(|((rule, action, result), count)| {
            let result = result.name().to_owned();
            ([("rule", rule), ("action", action), ("result", result)], count as f64)
        });
        family("guard_recovery_actions", "Actions of recovery rules, by result")
            .counters(encoder, series)?;
        let labels = |(bulkhead, destination): &(String, String)| {
            [("bulkhead", bulkhead.clone()), ("destination", destination.clone())]
        };
        let of = |value: fn(&Total) -> Option<f64>| {
            let totals = recovery.totals.iter();
            totals
                .filter_map(|(pair, total)| Some((labels(pair), value(total)?)))
                .collect::<Vec<_>>()
        };
        let active = recovery.totals.keys().map(|pair| {
            let count = recovery.active.get(pair).copied().unwrap_or(0);
            (labels(pair), count as f64)
        });
        family("guard_incident_active", "Incidents that go on").gauges(encoder, active)?;
        let by_origin = |real: fn(&Total) -> f64, injected: fn(&Total) -> f64| {
            let of = move |(pair, total): (&(String, String), &Total)| {
                let [bulkhead, destination] = labels(pair);
                [("real", real(total)), ("injected", injected(total))].map(|(origin, value)| {
                    ([bulkhead.clone(), destination.clone(), ("origin", origin.to_owned())], value)
                })
            };
            recovery.totals.iter().flat_map(of)
        };
        family("guard_incidents", "Incidents that have ended, by whose fault they were").counters(
            encoder,
            by_origin(|total| total.incidents as f64, |total| total.injected_incidents as f64),
        )?;
        family("guard_incident_seconds", "Time in incidents, with those that go on")
            .counters(encoder, by_origin(Total::sick_seconds, |total| total.injected_seconds))?;
        family("guard_observed_seconds", "Time for which guardd has watched calls of this kind")
            .counters(encoder, of(|total| Some(total.observed_seconds)))?;
        family(
            "guard_mtbf_seconds",
            "Watched time without an incident, for each incident that ended",
        )
        .gauges(encoder, of(Total::mtbf_seconds))?;
        family("guard_mttr_seconds", "Time in incidents, for each that ended")
            .gauges(encoder, of(Total::mttr_seconds))?;
        family("guard_availability_ratio", "Share of the watched time without an incident")
            .gauges(encoder, of(Total::availability))
    }
}
