//! Series of connection hygiene: connections found dead, by cause, and calls that were silent.

use std::collections::BTreeMap;
use std::fmt;

use guard_common::abi::hygiene::STALE_NAMES;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};

/// Causes for which guard itself ends a connection.
const ENDED: [&str; 3] = ["peer_closed", "suspend", "link_change"];

impl Sample {
    pub(super) fn encode_hygiene(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut stale = BTreeMap::new();
        let mut stalls = BTreeMap::new();
        for pair in &self.pairs {
            let name = (pair.bulkhead.clone(), pair.destination.clone());
            for (cause, count) in STALE_NAMES.iter().zip(pair.stats.stale) {
                stale.insert((name.clone(), *cause), count);
            }
            for cause in ENDED {
                stale.insert((name.clone(), cause), 0);
            }
            stalls.insert(name, 0);
        }
        for cut in self.cuts.iter().filter(|cut| ENDED.contains(&cut.reason)) {
            let name = (cut.bulkhead.clone(), cut.destination.clone());
            *stale.entry((name, cut.reason)).or_default() += cut.count;
        }
        for (name, count) in &self.stalls {
            stalls.insert(name.clone(), *count);
        }
        let labels = |(bulkhead, destination): (String, String)| {
            [("bulkhead", bulkhead), ("destination", destination)]
        };
        let series = stale.into_iter().map(|((name, cause), count)| {
            let [bulkhead, destination] = labels(name);
            ([bulkhead, destination, ("cause", cause.to_owned())], count as f64)
        });
        family("guard_stale_connections", "Connections found dead or ended as dead, by cause")
            .counters(encoder, series)?;
        let series = stalls.into_iter().map(|(name, count)| (labels(name), count as f64));
        family("guard_stalled_calls", "Calls that were silent for longer than stall_warn")
            .counters(encoder, series)
    }
}
