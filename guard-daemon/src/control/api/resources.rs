//! Limits, usage and pressure of a bulkhead.

use serde::{Deserialize, Serialize};

use crate::config::text::size;

/// What a bulkhead may use, uses, and what is done about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceStatus {
    /// One per limit of the configuration.
    pub limits: Vec<LimitRecord>,
    /// Memory in use, bytes; absent without the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Swap in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Processes and threads, as `pids_max` counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Processor time since the cgroup was made, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Time that `cpu_max` took away, seconds, summed over processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_throttled_seconds: Option<f64>,
    /// Times that it was slowed down at `memory_high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high_events: Option<u64>,
    /// Times that it stood at `memory_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_events: Option<u64>,
    /// Processes killed for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Forks that `pids_max` refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_refused: Option<u64>,
    /// Share of the last 10 s in which some task waited for memory, percent; absent without PSI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stall_percent: Option<f64>,
    /// The same for processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stall_percent: Option<f64>,
    /// The same for block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_stall_percent: Option<f64>,
    /// Bytes read from block devices since the cgroup was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read_bytes: Option<u64>,
    /// Bytes written to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_written_bytes: Option<u64>,
    /// Stages of its pressure plan that are in force, mild to severe.
    pub stages: Vec<String>,
}

/// One limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitRecord {
    /// Key of the configuration, such as `memory_max`; of block devices with the device and what is
    /// limited: `io_max /dev/vda rbps`.
    pub resource: String,
    /// As the kernel writes it.
    pub value: String,
    /// In base units: bytes, processors, processes; of block devices per second.
    pub limit: f64,
    /// `enforced`, `not_enforced`, `changed` (somebody wrote another value since, which guard leaves
    /// alone), or `monitor` (would be set).
    pub state: String,
    /// Why it is not enforced, or what it was changed to; empty if it is enforced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
    /// Something odd about a limit that is enforced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remark: String,
    /// Cgroups of others that the bulkhead's pattern matches; absent without a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<u64>,
    /// Those in which this limit, or a stricter one of their own, holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches_limited: Option<u64>,
}

impl LimitRecord {
    /// Whether it is a limit of memory, in bytes.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.resource.as_str(), "memory_max" | "memory_high" | "memory_swap_max")
    }

    /// The value for people: `256MiB`, `150%`, `10MiB/s`.
    pub(crate) fn shown(&self) -> String {
        match self.resource.as_str() {
            of_device if of_device.ends_with("bps") => {
                format!("{}/s", size::format(self.limit as u64))
            }
            of_device if of_device.ends_with("iops") => format!("{}/s", self.value),
            _ if self.is_memory() => size::format(self.limit as u64),
            "cpu_max" => format!("{:.0}%", self.limit * 100.0),
            _ => self.value.clone(),
        }
    }
}
