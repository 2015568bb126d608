//! Memory, processors, processes and block devices of bulkheads: limits, usage, what the kernel counted at the
//! limits, and what was done under pressure. What the kernel does not tell (no controller, no PSI)
//! has no series.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, US_PER_SECOND, family};
use crate::cgroup::limits::Usage;
use crate::control::api::LimitRecord;

/// One bulkhead.
#[derive(Clone, Debug, Default)]
pub struct ResourceSample {
    /// Name.
    pub bulkhead: String,
    /// Limits of the configuration.
    pub limits: Vec<LimitRecord>,
    /// What it uses.
    pub usage: Usage,
    /// Stages of its pressure plan: whether in force, and how often it came.
    pub stages: Vec<(&'static str, bool, u64)>,
    /// Connections refused under pressure.
    pub refused: u64,
}

type One = [(&'static str, String); 1];
type Two = [(&'static str, String); 2];

impl Sample {
    pub(super) fn encode_resources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        family("guard_bulkhead_limit", "Limits of the configuration: bytes, processors, processes")
            .gauges(encoder, self.limits(|record| record.limit))?;
        family("guard_bulkhead_limit_enforced", "1 while the limit is in force as configured")
            .gauges(encoder, self.limits(|r| f64::from(u8::from(r.state == "enforced"))))?;
        family("guard_bulkhead_memory_bytes", "Memory in use")
            .gauges(encoder, self.each(|usage| usage.memory_bytes))?;
        family("guard_bulkhead_swap_bytes", "Swap in use")
            .gauges(encoder, self.each(|usage| usage.swap_bytes))?;
        family("guard_bulkhead_tasks", "Processes and threads, as pids_max counts them")
            .gauges(encoder, self.each(|usage| usage.pids))?;
        let seconds = |series: Vec<(One, f64)>| {
            series.into_iter().map(|(labels, us)| (labels, us / US_PER_SECOND))
        };
        family("guard_bulkhead_cpu_seconds", "Processor time")
            .counters(encoder, seconds(self.each(|usage| usage.cpu_us)))?;
        family("guard_bulkhead_cpu_throttled_seconds", "Time that cpu_max took away")
            .counters(encoder, seconds(self.each(|usage| usage.throttled_us)))?;
        let memory = self.pairs_of("event", |usage| {
            usage.memory.map_or_else(Vec::new, |memory| {
                vec![
                    ("high", memory.high as f64),
                    ("max", memory.max as f64),
                    ("oom", memory.oom as f64),
                    ("oom_kill", memory.oom_kill as f64),
                ]
            })
        });
        family("guard_bulkhead_memory_events", "What happened at the limits of memory")
            .counters(encoder, memory)?;
        family("guard_bulkhead_forks_refused", "Forks that pids_max refused")
            .counters(encoder, self.each(|usage| usage.pids_refused))?;
        family("guard_bulkhead_io_read_bytes", "Bytes read from block devices, summed over them")
            .counters(encoder, self.each(|usage| usage.io.map(|io| io.read_bytes)))?;
        family("guard_bulkhead_io_written_bytes", "Bytes written to block devices")
            .counters(encoder, self.each(|usage| usage.io.map(|io| io.written_bytes)))?;
        family("guard_bulkhead_io_reads", "Reads from block devices")
            .counters(encoder, self.each(|usage| usage.io.map(|io| io.reads)))?;
        family("guard_bulkhead_io_writes", "Writes to block devices")
            .counters(encoder, self.each(|usage| usage.io.map(|io| io.writes)))?;
        let stalled = |full: bool| {
            self.pairs_of("resource", move |usage| {
                let of = |pressure: crate::cgroup::limits::Pressure| {
                    if full { pressure.full } else { pressure.some }
                };
                let seconds = |us: u64| us as f64 / US_PER_SECOND;
                usage.pressures().map(|(name, p)| (name, seconds(of(p).total_us))).collect()
            })
        };
        family("guard_bulkhead_stalled_seconds", "Time in which some task waited for a resource")
            .counters(encoder, stalled(false))?;
        family("guard_bulkhead_all_stalled_seconds", "Time in which all tasks waited for it")
            .counters(encoder, stalled(true))?;
        self.encode_stages(encoder)
    }

    fn encode_stages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stages = |value: fn(&(&'static str, bool, u64)) -> f64| {
            self.resources.iter().flat_map(move |sample| {
                sample.stages.iter().map(move |stage| {
                    let bulkhead = ("bulkhead", sample.bulkhead.clone());
                    ([bulkhead, ("stage", stage.0.to_owned())], value(stage))
                })
            })
        };
        family("guard_bulkhead_pressure_stage", "1 while a stage of the pressure plan is in force")
            .gauges(encoder, stages(|stage| f64::from(u8::from(stage.1))))?;
        family("guard_bulkhead_pressure_stages", "Times that a stage came")
            .counters(encoder, stages(|stage| stage.2 as f64))
    }

    fn limits(&self, value: fn(&LimitRecord) -> f64) -> impl Iterator<Item = (Two, f64)> {
        self.resources.iter().flat_map(move |sample| {
            sample.limits.iter().map(move |record| {
                let bulkhead = ("bulkhead", sample.bulkhead.clone());
                ([bulkhead, ("resource", record.resource.clone())], value(record))
            })
        })
    }

    fn each(&self, value: fn(&Usage) -> Option<u64>) -> Vec<(One, f64)> {
        self.resources
            .iter()
            .filter_map(|s| Some(([("bulkhead", s.bulkhead.clone())], value(&s.usage)? as f64)))
            .collect()
    }

    fn pairs_of(
        &self,
        label: &'static str,
        values: impl Fn(&Usage) -> Vec<(&'static str, f64)>,
    ) -> Vec<(Two, f64)> {
        let mut series = Vec::new();
        for sample in &self.resources {
            for (name, value) in values(&sample.usage) {
                let bulkhead = ("bulkhead", sample.bulkhead.clone());
                series.push(([bulkhead, (label, name.to_owned())], value));
            }
        }
        series
    }
}
