//! The fallbacks' part of `/metrics`.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::{Family, PairSample, Sample, family};

/// One pair of a service that has a fallback.
#[derive(Clone, Debug, Default)]
pub struct FallbackSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub destination: String,
    /// Whether its calls go to the fallback now.
    pub active: bool,
    /// For how long they did, seconds; of this life of guardd.
    pub seconds: f64,
    /// How often they went back to the service.
    pub returns: u64,
}

impl FallbackSample {
    fn labels(&self) -> [(&'static str, String); 2] {
        [("bulkhead", self.bulkhead.clone()), ("destination", self.destination.clone())]
    }
}

impl Sample {
    pub(super) fn encode_fallbacks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let active = self.fallbacks.iter().map(|f| (f.labels(), f64::from(u8::from(f.active))));
        family("guard_fallback_active", "1 while calls go to the fallback of the service")
            .gauges(encoder, active)?;
        let usable = self.fallbacks_usable.iter().map(|(destination, usable)| {
            ([("destination", destination.clone())], f64::from(u8::from(*usable)))
        });
        family("guard_fallback_usable", "1 while some fallback of the service answers")
            .gauges(encoder, usable)?;
        Family {
            name: "guard_fallback",
            help: "For how long calls went to the fallback: the age of the oldest answers of it",
            unit: Some(Unit::Seconds),
        }
        .counters(encoder, self.fallbacks.iter().map(|f| (f.labels(), f.seconds)))?;
        family(
            "guard_fallback_returns",
            "How often calls went back from the fallback to the service",
        )
        .counters(encoder, self.fallbacks.iter().map(|f| (f.labels(), f.returns as f64)))?;
        let connects = self.with_fallback().map(|p| (p.labels(), p.stats.redirected as f64));
        family("guard_fallback_connects", "Connects sent to the fallback instead of the service")
            .counters(encoder, connects)?;
        let calls = self.with_fallback().flat_map(|pair| {
            let [bulkhead, destination] = pair.labels();
            let counts =
                [("answered", pair.stats.fallback_calls), ("failed", pair.stats.fallback_failures)];
            counts.map(|(result, count)| {
                let labels = [bulkhead.clone(), destination.clone(), ("result", result.to_owned())];
                (labels, count as f64)
            })
        });
        family(
            "guard_fallback_calls",
            "Calls that went to the fallback, by what became of them; in no other count",
        )
        .counters(encoder, calls)
    }

    /// Pairs whose service has a fallback, and those that had one when they used it.
    fn with_fallback(&self) -> impl Iterator<Item = &PairSample> {
        self.pairs.iter().filter(|pair| {
            pair.stats.redirected != 0
                || self
                    .fallbacks
                    .iter()
                    .any(|f| f.bulkhead == pair.bulkhead && f.destination == pair.destination)
        })
    }
}
