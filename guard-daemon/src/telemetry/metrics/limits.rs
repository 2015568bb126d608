//! The part of `/metrics` about limits.

use std::fmt;

use guard_common::abi::limits::WHY_NAMES;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};
use crate::control::api::LimitStatus;

/// Limits of a bulkhead, as a whole or for one service.
#[derive(Clone, Debug, Default)]
pub struct LimitSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Its limits and what is used of them.
    pub limit: LimitStatus,
}

impl LimitSample {
    fn labels(&self) -> [(&'static str, String); 2] {
        let destination = self.limit.service.clone().unwrap_or_default();
        [("bulkhead", self.bulkhead.clone()), ("destination", destination)]
    }
}

/// Storms of calls of a bulkhead to a service.
#[derive(Clone, Debug, Default)]
pub struct StormSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub destination: String,
    /// How many there were.
    pub total: u64,
    /// Whether one goes on.
    pub active: bool,
}

impl Sample {
    fn encode_storms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of = |value: fn(&StormSample) -> f64| {
            self.storms.iter().map(move |storm| {
                let bulkhead = ("bulkhead", storm.bulkhead.clone());
                ([bulkhead, ("destination", storm.destination.clone())], value(storm))
            })
        };
        family("guard_storms", "Storms of calls with tiny, fast answers that have begun")
            .counters(encoder, of(|storm| storm.total as f64))?;
        family("guard_storm_active", "1 while a storm of calls goes on")
            .gauges(encoder, of(|storm| f64::from(u8::from(storm.active))))
    }

    pub(super) fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of_services = || self.limits.iter().filter(|sample| sample.limit.service.is_some());
        let retries = of_services().map(|s| (s.labels(), s.limit.retries_total as f64));
        family("guard_retries", "Attempts after a failure that were let pass")
            .counters(encoder, retries)?;
        let rejected = of_services().flat_map(|sample| {
            WHY_NAMES.map(|why| {
                let [bulkhead, destination] = sample.labels();
                let count = sample.limit.rejected.get(why).copied().unwrap_or(0);
                ([bulkhead, destination, ("reason", why.to_owned())], count as f64)
            })
        });
        // Pressure refuses whatever the destination is.
        let pressure = self.resources.iter().filter(|s| !s.stages.is_empty() || s.refused > 0);
        let pressure = pressure.map(|sample| {
            let bulkhead = ("bulkhead", sample.bulkhead.clone());
            let destination = ("destination", String::new());
            ([bulkhead, destination, ("reason", "pressure".to_owned())], sample.refused as f64)
        });
        family("guard_bulkhead_rejected", "Calls that a limit of the bulkhead rejected")
            .counters(encoder, rejected.chain(pressure))?;
        let most = |sample: &LimitSample| {
            Some((sample.labels(), f64::from(sample.limit.max_connections?)))
        };
        family(
            "guard_connections_limit",
            "Connections that may be open; without a destination, of the bulkhead as a whole",
        )
        .gauges(encoder, self.limits.iter().filter_map(most))?;
        let used = self.limits.iter().map(|s| (s.labels(), s.limit.connections as f64));
        family(
            "guard_connections_counted",
            "Connections that count against the limit; without a destination, of the bulkhead",
        )
        .gauges(encoder, used)?;
        let blocked = of_services().map(|s| (s.labels(), f64::from(u8::from(s.limit.blocked))));
        family("guard_budget_blocked", "1 while a budget that is used up blocks new calls")
            .gauges(encoder, blocked)?;
        let paced =
            || of_services().filter(|s| s.limit.pacing_engine.is_some() || s.limit.paced > 0);
        family("guard_paced_calls", "Calls that were held, because they came faster than allowed")
            .counters(encoder, paced().map(|s| (s.labels(), s.limit.paced as f64)))?;
        family("guard_pacing_delay_seconds", "For how long calls were held for their rate, in sum")
            .counters(encoder, paced().map(|s| (s.labels(), s.limit.pacing_delay_seconds)))?;
        family(
            "guard_pacing_over",
            "Calls that passed, because they would have been held for longer than allowed",
        )
        .counters(encoder, paced().map(|s| (s.labels(), s.limit.pacing_over as f64)))?;
        let rate =
            |sample: &LimitSample| Some((sample.labels(), sample.limit.max_calls_per_second?));
        family(
            "guard_calls_per_second_limit",
            "Calls a second above which they are held; without a destination, of the bulkhead",
        )
        .gauges(encoder, self.limits.iter().filter_map(rate))?;
        self.encode_storms(encoder)?;
        family("guard_retry_budget_left", "Retries that the host's budget has left")
            .gauges(encoder, self.retry_budget_left.map(|left| ([], left)))
    }
}
