//! `/metrics`: every scrape reads the kernel's maps; nothing is kept in between. Names and labels
//! are the contract of DESIGN.md; the label of a service is `destination`.

use std::fmt;

use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::stats::{CALL_BUCKET_COUNT, CALL_BUCKETS_NS, HookStats, PairStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::control::api::{BreakerRecord, FaultRecord, Wait};
use crate::kernel::ProgramRun;

mod agents;
mod breakers;
mod fallbacks;
mod gateways;
mod hygiene;
mod limits;
mod recovery;
mod resources;
mod schedules;
mod sockets;

pub use agents::AgentSample;
pub use breakers::{CutSample, TransitionSample};
pub use fallbacks::FallbackSample;
pub use gateways::GatewaySample;
pub use limits::{LimitSample, StormSample};
pub use recovery::RecoverySample;
pub use resources::ResourceSample;
pub use schedules::ScheduleSample;
pub use sockets::{CreationSample, UnguardedSample};

const NS_PER_SECOND: f64 = 1e9;
const US_PER_SECOND: f64 = 1e6;

/// Counters of one (bulkhead, service).
#[derive(Clone, Debug)]
pub struct PairSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub destination: String,
    /// Its counters.
    pub stats: PairStats,
}

/// Everything that a scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// One per (bulkhead, service).
    pub pairs: Vec<PairSample>,
    /// Faults active or scheduled, and those that ended lately.
    pub faults: Vec<FaultRecord>,
    /// Breakers.
    pub breakers: Vec<BreakerRecord>,
    /// Services with fallbacks, by bulkhead.
    pub fallbacks: Vec<FallbackSample>,
    /// Whether such a service has a fallback that answers.
    pub fallbacks_usable: Vec<(String, bool)>,
    /// Gateways, by service.
    pub gateways: Vec<GatewaySample>,
    /// Limits of bulkheads and services.
    pub limits: Vec<LimitSample>,
    /// Retries that the host's budget has left, where any are limited.
    pub retry_budget_left: Option<f64>,
    /// Storms of calls.
    pub storms: Vec<StormSample>,
    /// What they did since the start.
    pub transitions: Vec<TransitionSample>,
    /// Connections that guard ended.
    pub cuts: Vec<CutSample>,
    /// Calls that were silent for long, by bulkhead and service.
    pub stalls: Vec<((String, String), u64)>,
    /// Those that monitor mode left alone.
    pub would_cut: u64,
    /// Orphans that monitor mode did not end.
    pub would_end: u64,
    /// Processes that are left of runs that ended, by bulkhead.
    pub orphans: Vec<(String, u64)>,
    /// Hanging calls.
    pub waits: Vec<Wait>,
    /// Entries in use and capacity of maps.
    pub map_entries: Vec<(&'static str, usize, usize)>,
    /// Run times, if the kernel collects them.
    pub programs: Vec<ProgramRun>,
    /// What went wrong inside the hooks.
    pub hooks: HookStats,
    /// Processes of each bulkhead, and whether its programs are attached.
    pub bulkheads: Vec<(String, u64, bool)>,
    /// Whether the last reload worked.
    pub reload_ok: bool,
    /// Seconds since the configuration in force was loaded.
    pub config_age_seconds: f64,
    /// Scrapes so far, this one included.
    pub scrapes: u64,
    /// Control connections turned away.
    pub peers_refused: u64,
    /// Whether faults are halted.
    pub halted: bool,
    /// Sockets of kinds that bulkheads may not make.
    pub creations: Vec<CreationSample>,
    /// Sockets that escape guard.
    pub unguarded: Vec<UnguardedSample>,
    /// Agents that guardd runs.
    pub agents: Vec<AgentSample>,
    /// Drills by a calendar.
    pub schedules: Vec<ScheduleSample>,
    /// Healing.
    pub recovery: RecoverySample,
    /// Memory, processors, processes of each bulkhead.
    pub resources: Vec<ResourceSample>,
    /// Limits and stages of pressure plans that monitor mode left undone.
    pub would_limit: u64,
}

/// The text of a scrape (OpenMetrics).
pub fn render(sample: Sample) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sample));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// One counter or gauge family: name, help, unit, and its series.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: Option<Unit>,
}

impl Family<'_> {
    fn counters<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            self.name,
            self.help,
            self.unit.as_ref(),
            MetricType::Counter,
        )?;
        for (labels, value) in series {
            if N == 0 {
                return encode_counter(value, family);
            }
            encode_counter(value, family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            self.name,
            self.help,
            self.unit.as_ref(),
            MetricType::Gauge,
        )?;
        for (labels, value) in series {
            if N == 0 {
                return ConstGauge::new(value).encode(family);
            }
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Whole numbers without a decimal point: counts are exact.
fn encode_counter(value: f64, metric: MetricEncoder<'_>) -> fmt::Result {
    if value.fract() == 0.0 && value >= 0.0 {
        ConstCounter::new(value as u64).encode(metric)
    } else {
        ConstCounter::new(value).encode(metric)
    }
}

fn family<'a>(name: &'a str, help: &'a str) -> Family<'a> {
    Family { name, help, unit: None }
}

impl PairSample {
    fn labels(&self) -> [(&'static str, String); 2] {
        [("bulkhead", self.bulkhead.clone()), ("destination", self.destination.clone())]
    }
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.encode_calls(encoder)?;
        self.encode_traffic(encoder)?;
        self.encode_faults(encoder)?;
        self.encode_schedules(encoder)?;
        self.encode_recovery(encoder)?;
        self.encode_agents(encoder)?;
        self.encode_breakers(encoder)?;
        self.encode_fallbacks(encoder)?;
        self.encode_gateways(encoder)?;
        self.encode_limits(encoder)?;
        self.encode_hygiene(encoder)?;
        self.encode_waits(encoder)?;
        self.encode_sockets(encoder)?;
        self.encode_bulkheads(encoder)?;
        self.encode_resources(encoder)?;
        self.encode_daemon(encoder)
    }
}

impl Sample {
    fn per_pair(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&PairStats) -> f64,
    ) -> fmt::Result {
        let series = self.pairs.iter().map(|pair| (pair.labels(), value(&pair.stats)));
        family(name, help).counters(encoder, series)
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let calls = self.pairs.iter().flat_map(|pair| {
            Outcome::ALL.into_iter().flat_map(move |outcome| {
                Origin::ALL.into_iter().filter_map(move |origin| {
                    let count = pair.stats.calls[outcome as usize][origin as usize];
                    // Zeros of what can be expected to happen are shown, so that a rate has a
                    // beginning; the rest appears with its first call.
                    let expected = origin == Origin::Real
                        && (outcome == Outcome::Success || outcome.is_failure());
                    (expected || count > 0).then(|| {
                        let [bulkhead, destination] = pair.labels();
                        let labels = [
                            bulkhead,
                            destination,
                            ("outcome", outcome.name().to_owned()),
                            ("origin", origin.name().to_owned()),
                        ];
                        (labels, count as f64)
                    })
                })
            })
        });
        family("guard_calls", "Calls by outcome; origin=injected if a fault of guard touched them")
            .counters(encoder, calls)?;
        self.encode_call_seconds(encoder)
    }

    fn encode_call_seconds(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut histogram = encoder.encode_descriptor(
            "guard_call",
            "Time from the first byte of a call to the first byte of its answer",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for pair in &self.pairs {
            let mut buckets = [(0.0, 0_u64); CALL_BUCKET_COUNT];
            for (index, (bucket, count)) in
                buckets.iter_mut().zip(pair.stats.call_buckets).enumerate()
            {
                let bound = CALL_BUCKETS_NS.get(index);
                *bucket = (bound.map_or(f64::INFINITY, |ns| *ns as f64 / NS_PER_SECOND), count);
            }
            let count = pair.stats.call_buckets.iter().sum();
            let sum = pair.stats.call_ns as f64 / NS_PER_SECOND;
            histogram
                .encode_family(&pair.labels())?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn encode_traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.per_pair(encoder, "guard_connects", "Connection attempts of agents", |s| {
            s.connects as f64
        })?;
        self.per_pair(
            encoder,
            "guard_connects_established",
            "TCP connections that agents established",
            |s| s.connects_established as f64,
        )?;
        self.per_pair(
            encoder,
            "guard_connect_seconds",
            "Time from connect() to established, summed over guard_connects_established",
            |s| s.connect_ns as f64 / NS_PER_SECOND,
        )?;
        self.per_pair(
            encoder,
            "guard_accepted_connections",
            "Connections that agents accepted",
            |s| s.accepted as f64,
        )?;
        self.per_pair(encoder, "guard_sent_bytes", "Payload bytes that agents sent", |s| {
            s.sent_bytes as f64
        })?;
        self.per_pair(
            encoder,
            "guard_received_bytes",
            "Payload bytes that agents received",
            |s| s.received_bytes as f64,
        )?;
        self.per_pair(encoder, "guard_retransmits", "TCP segments sent again", |s| {
            s.retransmits as f64
        })?;
        self.per_pair(
            encoder,
            "guard_round_trip_seconds",
            "Smoothed round-trip times, summed over guard_round_trip_samples",
            |s| s.rtt_us as f64 / US_PER_SECOND,
        )?;
        self.per_pair(
            encoder,
            "guard_round_trip_samples",
            "Samples of the smoothed round-trip time",
            |s| s.rtt_samples as f64,
        )?;
        self.per_pair(
            encoder,
            "guard_faulted",
            "Packets and connects that faults of guard touched",
            |s| s.faulted as f64,
        )
    }

    fn encode_faults(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let packets = self.faults.iter().flat_map(|fault| {
            let c = fault.counters;
            [
                ("matched", c.matched),
                ("delayed", c.delayed),
                ("dropped", c.dropped),
                ("refused", c.refused),
                ("reset", c.reset),
                ("expired", c.expired),
                ("protected", c.protected),
            ]
            .map(|(effect, n)| {
                ([("fault", fault.id.to_string()), ("effect", effect.to_owned())], n as f64)
            })
        });
        family("guard_fault_packets", "What each fault did, in packets or connects")
            .counters(encoder, packets)?;
        let active = self.faults.iter().map(|fault| {
            let labels = [
                ("fault", fault.id.to_string()),
                ("bulkhead", fault.bulkhead.clone()),
                ("destination", fault.service.clone()),
                ("effect", fault.effect.split(' ').next().unwrap_or_default().to_owned()),
            ];
            (labels, f64::from(u8::from(fault.state == "active")))
        });
        family("guard_fault_active", "1 while a fault acts").gauges(encoder, active)?;
        let would: u64 = self.faults.iter().map(|fault| fault.counters.would_have).sum();
        family("guard_would_have", "What monitor mode left undone").counters(
            encoder,
            [
                ("fault", would),
                ("breaker", self.breakers.iter().map(|b| b.would_have).sum()),
                ("limit", self.limits.iter().map(|s| s.limit.would_have).sum()),
                ("end_connection", self.would_cut),
                ("end_orphan", self.would_end),
                ("resource_limit", self.would_limit),
                ("refuse_socket", self.creations.iter().map(|c| c.would_have).sum()),
            ]
            .map(|(action, count)| ([("action", action.to_owned())], count as f64)),
        )?;
        family("guard_halted", "1 while faults are halted")
            .gauges(encoder, [([], f64::from(u8::from(self.halted)))])
    }

    fn encode_waits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = std::collections::BTreeMap::<_, u64>::new();
        for wait in &self.waits {
            let key = (wait.bulkhead.clone(), wait.service.clone(), wait.state.clone());
            *counts.entry(key).or_default() += 1;
        }
        let series = counts.into_iter().map(|((bulkhead, destination, state), n)| {
            let labels = [("bulkhead", bulkhead), ("destination", destination), ("state", state)];
            (labels, n as f64)
        });
        family("guard_waits", "Calls that hang now, by what they wait for").gauges(encoder, series)
    }

    fn encode_bulkheads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut open = std::collections::BTreeMap::<&str, u64>::new();
        for (name, ..) in &self.bulkheads {
            open.insert(name, 0);
        }
        for pair in &self.pairs {
            *open.entry(&pair.bulkhead).or_default() += pair.stats.open_connections();
        }
        let series = open.into_iter().map(|(name, n)| ([("bulkhead", name.to_owned())], n as f64));
        family("guard_bulkhead_connections", "Connections open now").gauges(encoder, series)?;
        let per_bulkhead = |value: fn(&(String, u64, bool)) -> f64| {
            self.bulkheads.iter().map(move |b| ([("bulkhead", b.0.clone())], value(b)))
        };
        family("guard_bulkhead_processes", "Processes in the bulkhead and below")
            .gauges(encoder, per_bulkhead(|b| b.1 as f64))?;
        let orphans = self.orphans.iter();
        family("guard_bulkhead_orphans", "Processes left of runs whose main process has ended")
            .gauges(encoder, orphans.map(|(name, n)| ([("bulkhead", name.clone())], *n as f64)))?;
        family(
            "guard_bulkhead_attached",
            "1 while the kernel programs of the bulkhead are attached",
        )
        .gauges(encoder, per_bulkhead(|b| f64::from(u8::from(b.2))))
    }

    fn encode_daemon(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value: u64| [([], value as f64)];
        family("guard_events_lost", "Kernel events that did not fit into the ring buffer")
            .counters(encoder, one(self.hooks.events_lost))?;
        let HookStats {
            events_lost: _,
            odd_packets,
            storage_failures,
            stats_failures,
            sockless_packets,
            contended_breakers,
        } = self.hooks;
        let problems = [
            ("odd_packet", odd_packets),
            ("no_socket_storage", storage_failures),
            ("no_counters", stats_failures),
            ("no_socket", sockless_packets),
            ("contended_breaker", contended_breakers),
        ]
        .map(|(reason, n)| ([("reason", reason.to_owned())], n as f64));
        family(
            "guard_hook_passed",
            "Packets that a hook let pass because it could not tell what they are",
        )
        .counters(encoder, problems)?;
        family("guard_map_entries", "Entries in use").gauges(
            encoder,
            self.map_entries.iter().map(|(map, n, _)| ([("map", (*map).to_owned())], *n as f64)),
        )?;
        family("guard_map_capacity", "Entries that fit").gauges(
            encoder,
            self.map_entries.iter().map(|(map, _, n)| ([("map", (*map).to_owned())], *n as f64)),
        )?;
        let runs = || self.programs.iter().filter(|program| program.run_count > 0);
        family(
            "guard_bpf_program_seconds",
            "Time in kernel programs; only while kernel.bpf_stats_enabled is set",
        )
        .counters(
            encoder,
            runs().map(|p| ([("program", p.name.clone())], p.run_time.as_secs_f64())),
        )?;
        family("guard_bpf_program_runs", "Runs of kernel programs, as above").counters(
            encoder,
            runs().map(|p| ([("program", p.name.clone())], p.run_count as f64)),
        )?;
        family("guard_config_last_reload_successful", "0 if the last reload failed")
            .gauges(encoder, [([], f64::from(u8::from(self.reload_ok)))])?;
        family("guard_config_age_seconds", "Age of the configuration in force")
            .gauges(encoder, [([], self.config_age_seconds)])?;
        family("guard_scrapes", "Scrapes of this page").counters(encoder, one(self.scrapes))?;
        family("guard_control_refused", "Control connections turned away")
            .counters(encoder, one(self.peers_refused))?;
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        family("guard_build_info", "1, with the version").gauges(encoder, [(version, 1.0)])
    }
}

#[cfg(test)]
mod tests;
