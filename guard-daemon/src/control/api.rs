//! What goes over the control socket: JSON over HTTP/1, one type per answer. `guardctl --json`
//! prints these very types, so a field that is renamed here breaks users' scripts.
//!
//! | method and path | request | answer |
//! |---|---|---|
//! | GET /v1/status | | [`Status`] |
//! | GET /v1/waits | | [`Waits`] |
//! | GET /v1/doctor | | [`Doctor`] |
//! | GET /v1/events?after=SEQ&limit=N&follow=BOOL&bulkhead=B&service=S&kind=K | | [`Events`], or with follow JSON lines of [`EventRecord`] |
//! | GET /v1/faults | | [`Faults`] |
//! | POST /v1/faults | [`FaultRequest`] | [`FaultRecord`] |
//! | DELETE /v1/faults, /v1/faults/ID | | [`Faults`] (those that were cleared) |
//! | GET /v1/footprint | | [`Footprint`] |
//! | GET /v1/drills | | [`Drills`] |
//! | POST /v1/drills?dry_run=BOOL | [`DrillRequest`] | [`DrillLine`]s until the drill ends; with dry_run a [`DrillPlan`] alone |
//! | DELETE /v1/drills | | [`Drills`] (the one that was ended) |
//! | GET /v1/breakers | | [`Breakers`] |
//! | GET /v1/budgets | | [`Budgets`] |
//! | POST /v1/budgets | [`BudgetRelease`] | [`Budgets`] |
//! | POST /v1/breakers | [`BreakerRequest`] | [`Breakers`] (the one that was changed) |
//! | GET /v1/incidents | | [`Incidents`] |
//! | POST /v1/recover | [`RecoverRequest`] | [`Recovered`] |
//! | GET /v1/policies | | [`Policies`] |
//! | GET /v1/agents | | [`Agents`] |
//! | POST /v1/agents | [`AgentRequest`] | [`Agents`] (those that it was about) |
//! | POST /v1/checkpoints | [`CheckpointRequest`] | [`Checkpoints`] |
//! | POST /v1/halt | [`HaltRequest`] | [`Faults`] (those that were cleared) |
//! | POST /v1/resume | | [`Done`] |
//! | POST /v1/reload?dry_run=BOOL | | [`Reloaded`] |
//! | POST /v1/bulkheads/NAME/join | [`JoinRequest`] | [`Joined`] |
//!
//! Every error is an [`ErrorBody`] with a 4xx or 5xx status.

use serde::{Deserialize, Serialize};

mod agent;
mod breaker;
mod budget;
mod drill;
mod fault;
mod limits;
mod recovery;
mod resources;
mod schedule;
mod unguarded;
pub use super::query::EventQuery;
pub use agent::{
    AgentAction, AgentRequest, AgentStatus, Agents, CheckpointAction, CheckpointRequest,
    Checkpoints,
};
pub use breaker::{BreakerAction, BreakerRecord, BreakerRequest, Breakers, WindowRecord};
pub use budget::{BudgetAmount, BudgetRecord, BudgetRelease, Budgets};
pub use drill::{
    DrillLine, DrillPlan, DrillRequest, Drills, Footprint, PlannedFault, RunningDrill,
};
pub use fault::{FaultCounters, FaultRecord, FaultRequest, Faults, Held};
pub use limits::LimitStatus;
pub use recovery::{IncidentRecord, Incidents, Policies, RecoverRequest, Recovered, RecoveredStep};
pub use resources::{LimitRecord, ResourceStatus};
pub use schedule::{ScheduleStatus, ScheduledRun};
pub use unguarded::UnguardedSocket;

/// Answer to `status`. `"schema": "guard.status/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// `guard.status/1`.
    pub schema: String,
    /// guardd's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since its start, seconds.
    pub uptime_seconds: f64,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// `ok`, or `degraded` with `problems` filled.
    pub health: String,
    /// What is wrong now, one line each.
    pub problems: Vec<String>,
    /// Path of the configuration in force.
    pub config_path: String,
    /// Since it was loaded, seconds.
    pub config_age_seconds: f64,
    /// Seconds since the last scrape of `/metrics`; absent = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scrape_seconds: Option<f64>,
    /// Where bulkhead cgroups live.
    pub cgroup_root: String,
    /// `edt`, `nfqueue` or `none`: how latency faults are made.
    pub delay_engine: String,
    /// Reason of a halt in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Faults active or scheduled.
    pub faults: Vec<FaultRecord>,
    /// Kernel events that did not fit into the ring buffer.
    pub events_lost: u64,
    /// One entry per bulkhead, by name.
    pub bulkheads: Vec<BulkheadStatus>,
    /// Agents that guardd runs, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentStatus>,
}

/// One bulkhead in [`Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BulkheadStatus {
    /// Name.
    pub name: String,
    /// Absolute path of its cgroup.
    pub cgroup: String,
    /// `attached`, or `detached: REASON`.
    pub state: String,
    /// Names of the bulkheads around it, the innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<String>,
    /// Cgroups of others that its pattern matches now, absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    /// Processes in its cgroups and below, but for those of bulkheads inside it.
    pub processes: u64,
    /// Those of them that are left of runs that ended.
    #[serde(default)]
    pub orphans: u64,
    /// Connections open now, all services.
    pub connections: u64,
    /// Sockets that escape guard, at the last look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unguarded: Vec<UnguardedSocket>,
    /// One entry per service with any traffic, by name.
    pub services: Vec<ServiceStatus>,
    /// All of its services together, also those that are not in the configuration any more; its name
    /// is `all`.
    #[serde(default)]
    pub total: ServiceStatus,
    /// Its breakers, however they stand.
    #[serde(default)]
    pub breakers: u64,
    /// Services whose breaker is open, by name.
    #[serde(default)]
    pub open_breakers: Vec<String>,
    /// Limits, first of the bulkhead as a whole; services without any and without traffic are left
    /// out.
    #[serde(default)]
    pub limits: Vec<LimitStatus>,
    /// Memory, processors, processes.
    #[serde(default)]
    pub resources: ResourceStatus,
}

/// One (bulkhead, service) in [`Status`]: totals since guardd started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name; `other` for what no endpoint matches.
    pub name: String,
    /// Connections open now.
    pub connections: u64,
    /// Connection attempts.
    pub connects: u64,
    /// Connections established.
    pub connects_established: u64,
    /// Calls by outcome; outcomes that never happened are left out.
    pub calls: std::collections::BTreeMap<String, u64>,
    /// Those of `calls` that a fault of guard touched, by outcome.
    pub calls_injected: std::collections::BTreeMap<String, u64>,
    /// Successes over successes and failures (0 to 1); absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_ratio: Option<f64>,
    /// Median time to the first byte, estimated from buckets, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// 95th percentile of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    /// 99th percentile of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
    /// State of its breaker: `closed`, `open` or `half_open`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// Calls by time to the first byte, in the buckets of `guard_call_seconds` (not added up); for
    /// quantiles between two looks.
    #[serde(default)]
    pub call_buckets: Vec<u64>,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Mean smoothed round-trip time, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_seconds: Option<f64>,
    /// TCP segments retransmitted.
    pub retransmits: u64,
    /// Packets and connects that faults of guard touched.
    pub faulted: u64,
    /// What monitor mode left undone.
    pub would_have: u64,
}

/// Answer to `waits`, longest wait first. `"schema": "guard.waits/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waits {
    /// `guard.waits/1`.
    pub schema: String,
    /// Hanging calls and connects.
    pub waits: Vec<Wait>,
    /// What could not be looked at (a network namespace, a socket family), one line each.
    pub problems: Vec<String>,
}

/// One hanging call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wait {
    /// Bulkhead.
    pub bulkhead: String,
    /// Process id; 0 if unknown.
    pub pid: u32,
    /// Its command name; empty if unknown.
    pub process: String,
    /// Service.
    pub service: String,
    /// Peer address and port.
    pub peer: String,
    /// `connecting`, `paced`, `first_byte`, `quiet`, `unacknowledged` or `peer_closed`.
    pub state: String,
    /// How long it has been so, seconds.
    pub seconds: f64,
    /// Whether its call has been without an answer for longer than `stall_warn`.
    #[serde(default)]
    pub stalled: bool,
    /// Payload bytes sent over this connection.
    pub sent_bytes: u64,
    /// Payload bytes received over this connection.
    pub received_bytes: u64,
    /// Bytes sent and not acknowledged by the peer's TCP.
    pub unacknowledged_bytes: u64,
    /// Retransmissions of the segment at the head of the queue.
    pub retransmits: u32,
    /// Whether a fault of guard touched it.
    pub injected: bool,
    /// Whether the service's fallback is to answer, not the service.
    #[serde(default)]
    pub fallback: bool,
    /// One sentence: what this state means here.
    pub verdict: String,
}

/// Answer to `doctor`, worst first. `"schema": "guard.doctor/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Doctor {
    /// `guard.doctor/1`.
    pub schema: String,
    /// Checks, failures first.
    pub checks: Vec<Check>,
}

/// One check of [`Doctor`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Short name: `kernel`, `cgroup`, `delay`, …
    pub name: String,
    /// `ok`, `warning` or `failure`.
    pub result: CheckResult,
    /// What was found.
    pub found: String,
    /// Why it matters; empty when `ok`.
    pub why: String,
    /// What to do; empty when `ok`.
    pub cure: String,
}

/// Result of a [`Check`], worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// Does not work.
    Failure,
    /// Works with limits.
    Warning,
    /// Works.
    Ok,
}

/// Answer to `events`. `"schema": "guard.events/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Events {
    /// `guard.events/1`.
    pub schema: String,
    /// Oldest first.
    pub events: Vec<EventRecord>,
    /// Kernel events that did not fit into the ring buffer since the start.
    pub lost: u64,
}

/// One event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventRecord {
    /// Sequence number, from 1, without gaps.
    pub seq: u64,
    /// UTC, RFC 3339.
    pub time: String,
    /// `connect_failed`, `connected`, `call`, `call_failed`, `closed`, `fault_refused`,
    /// `fault_injected`, `fault_ended`, `drill_begun`, `drill_ended`, `drill_scheduled`, `drill_skipped`, `drill_finished`, `halted`, `resumed`, `reloaded`, `resolved`,
    /// `bulkhead_attached`, `cgroup_matched`, `cgroup_unmatched`, `orphans`, `orphans_ended`, `orphans_spared`, …
    pub kind: String,
    /// Bulkhead; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bulkhead: String,
    /// Service; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Outcome; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// `real` or `injected`; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// Peer address and port; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Process id; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How long the connect or call took, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Fault id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<u64>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Body of `halt`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltRequest {
    /// Why; never empty.
    pub reason: String,
}

/// Answer where there is nothing to tell. `"schema": "guard.done/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// `guard.done/1`.
    pub schema: String,
    /// What was done.
    pub message: String,
}

/// Answer to `reload`. `"schema": "guard.reload/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// `guard.reload/1`.
    pub schema: String,
    /// What changed (or would change), one line each.
    pub changes: Vec<String>,
    /// Keys that changed but need a restart of guardd to take effect.
    pub needs_restart: Vec<String>,
    /// Warnings of the configuration.
    pub warnings: Vec<String>,
}

/// Body of `join`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Processes to move; empty = the process that asks (found by its socket's credentials).
    #[serde(default)]
    pub pids: Vec<u32>,
    /// Into a cgroup of this name inside the bulkhead's, made if absent and removed when empty;
    /// an empty name = one that guardd chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The descendants of `pids` too.
    #[serde(default)]
    pub tree: bool,
}

/// Answer to `join`. `"schema": "guard.joined/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// `guard.joined/1`.
    pub schema: String,
    /// Absolute path of the cgroup that they are in now.
    pub cgroup: String,
    /// Processes moved.
    pub moved: Vec<u32>,
}

/// An error, as `guardctl` prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, with where and why.
    pub error: String,
    /// The cure; empty if none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// guardctl's exit code: 1 the answer is no, 2 bad input, 3 cleanup incomplete.
    pub exit_code: u8,
}
