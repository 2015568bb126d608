//! The types of drills: what guardctl, which runs them, and guardd, which holds their faults, say to
//! each other.

use serde::{Deserialize, Serialize};

use super::{FaultRequest, ScheduleStatus};

/// Body of `POST /v1/drills`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// Id of the run: letters, digits and `-`, at most 64.
    pub id: String,
    /// Name of the drill.
    pub name: String,
    /// Why it is run; may be empty.
    #[serde(default)]
    pub purpose: String,
    /// What will be injected, with times from the beginning of the faults. All of them are checked
    /// before the drill begins.
    pub faults: Vec<FaultRequest>,
}

/// What a drill is about on this host, before anything is changed. `"schema": "guard.drill_plan/1"`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DrillPlan {
    /// `guard.drill_plan/1`.
    pub schema: String,
    /// One for each fault.
    pub faults: Vec<PlannedFault>,
    /// Never touched: addresses, and what guard protects by itself.
    pub protected: Vec<String>,
    /// Bulkheads that no fault is about.
    pub bystanders: Vec<String>,
    /// What the operator should know, one line each (for example: monitor mode).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One fault of a [`DrillPlan`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Bulkhead.
    pub bulkhead: String,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Processes in it now.
    pub pids: Vec<u32>,
    /// Service; `*` = every service.
    pub service: String,
    /// Addresses and networks of the service now.
    pub addresses: Vec<String>,
    /// `latency 300ms +-50ms normal`.
    pub effect: String,
    /// `kernel`, `edt` or `nfqueue`.
    pub engine: String,
    /// From the beginning of the faults, seconds.
    pub start_seconds: f64,
    /// From the beginning of the faults, seconds.
    pub end_seconds: f64,
}

/// A line of the stream that `POST /v1/drills` answers with: the plan first, then one a second as a
/// sign of life, and last, if guardd ends the drill, why.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DrillLine {
    /// In the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<DrillPlan>,
    /// In the last: `aborted by uid 0`, `halted: REASON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A drill that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningDrill {
    /// Id of the run.
    pub id: String,
    /// Name of the drill.
    pub name: String,
    /// Why it is run; may be empty.
    pub purpose: String,
    /// Who runs it.
    pub uid: u32,
    /// For how long, seconds.
    pub seconds: f64,
    /// Ids of its faults that are active or scheduled.
    pub faults: Vec<u64>,
}

/// Answer to `drill list` and `drill abort` (those that were ended). `"schema": "guard.drills/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drills {
    /// `guard.drills/1`.
    pub schema: String,
    /// At most one: a second drill would spoil the first one's numbers.
    pub drills: Vec<RunningDrill>,
    /// Drills that guardd runs by itself; only in the answer to `drill list`.
    #[serde(default)]
    pub schedules: Vec<ScheduleStatus>,
}

/// What guard has on the host and in the kernel for the sake of faults, read back from there, one
/// line each and sorted; and the queueing disciplines of all devices, which faults must leave as
/// they were. `"schema": "guard.footprint/1"`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Footprint {
    /// `guard.footprint/1`.
    pub schema: String,
    /// `rule 0: fault 3`, `pair research/github: 1 rules`, `iptables: GUARD-D26400P712`, `gate …`,
    /// `qdisc eth0: mq`.
    pub lines: Vec<String>,
    /// What could not be read, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
