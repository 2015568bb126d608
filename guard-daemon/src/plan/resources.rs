//! Resources of a bulkhead: its limits, and what is done while it presses against them.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

/// Limits that cgroup files set; `None` = the file is left as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsPlan {
    /// Memory above which the kernel kills inside the bulkhead, bytes.
    pub memory_max: Option<u64>,
    /// Memory above which the kernel slows the bulkhead down and reclaims, bytes.
    pub memory_high: Option<u64>,
    /// Swap that the bulkhead may use, bytes.
    pub memory_swap_max: Option<u64>,
    /// Whether an OOM kill ends all processes of the bulkhead instead of one.
    pub memory_oom_group: Option<bool>,
    /// Processor time, percent of one processor.
    pub cpu_max: Option<f64>,
    /// Share of processor time where it is short; the kernel's default is 100.
    pub cpu_weight: Option<u64>,
    /// Processes and threads at once.
    pub pids_max: Option<u64>,
    /// Share of block devices where they are short; the kernel's default is 100.
    pub io_weight: Option<u64>,
    /// Limits of block devices, one entry for each.
    pub io_max: Vec<IoMaxPlan>,
}

/// An entry of `[bulkheads.NAME] io_max`; `None` = that field is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoMaxPlan {
    /// A block device, or a path on the file system of one.
    pub device: PathBuf,
    /// Bytes read per second.
    pub rbps: Option<u64>,
    /// Bytes written per second.
    pub wbps: Option<u64>,
    /// Reads per second.
    pub riops: Option<u64>,
    /// Writes per second.
    pub wiops: Option<u64>,
}

impl IoMaxPlan {
    /// The limits with their names, which the kernel and the configuration share.
    pub fn fields(&self) -> [(&'static str, Option<u64>); 4] {
        [("rbps", self.rbps), ("wbps", self.wbps), ("riops", self.riops), ("wiops", self.wiops)]
    }
}

/// `[bulkheads.NAME.pressure]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PressurePlan {
    /// Memory in use, percent of `memory_max`.
    pub memory_above: Option<f64>,
    /// Share of time in which some task waited for memory (PSI `some avg10`), percent.
    pub memory_stall_above: Option<f64>,
    /// The same for processors.
    pub cpu_stall_above: Option<f64>,
    /// The same for block devices.
    pub io_stall_above: Option<f64>,
    /// How long it must last before the first stage, and again before each next one.
    pub lasting: Duration,
    /// The stages, mild to severe; at least one.
    pub stages: Vec<Stage>,
    /// Share of each threshold below which there is calm.
    pub calm_share: f64,
    /// How long there must be calm before a stage is taken back.
    pub calm_for: Duration,
    /// `memory.high` while throttled, percent of `memory_max`, or of the memory in use then.
    pub throttle_to: f64,
    /// What a refused connect gets.
    pub errno: Errno,
}

/// One thing that is done under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// `memory.high` is lowered: the bulkhead's own tasks do the work of reclaiming.
    Throttle,
    /// New connections are refused.
    Refuse,
    /// No process of the bulkhead runs.
    Freeze,
    /// The youngest process, never the bulkhead's first one, is killed.
    KillNewest,
    /// All processes of the bulkhead are killed.
    Kill,
}

impl super::BulkheadPlan {
    /// Whether it has any limit, or a plan for pressure.
    pub fn has_limits(&self) -> bool {
        self.limits != LimitsPlan::default() || self.pressure.is_some()
    }
}

impl PressurePlan {
    /// The thresholds, with their names in the configuration.
    pub fn thresholds(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("memory_above", self.memory_above),
            ("memory_stall_above", self.memory_stall_above),
            ("cpu_stall_above", self.cpu_stall_above),
            ("io_stall_above", self.io_stall_above),
        ]
    }
}
