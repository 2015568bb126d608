//! What a drill did: one [`Record`], printed by `guardctl drill run --json` and the source of all
//! result files. It holds what was measured and what that means, and no way to change it.

use serde::Serialize;

use super::spec::{Drill, Phase};
use crate::control::api::FaultRecord;
pub use crate::control::api::{DrillPlan as Plan, PlannedFault};

/// A drill from beginning to end. `"schema": "guard.drill/1"`.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// `guard.drill/1`.
    pub schema: String,
    /// Id of the run: sorts by time.
    pub run_id: String,
    /// guard's version.
    pub guard_version: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Path of the drill file as given.
    pub file: String,
    /// Text of the drill file.
    pub text: String,
    /// What it says.
    pub drill: Drill,
    /// Seed in force.
    pub seed: u64,
    /// What the drill is about on this host.
    pub plan: Plan,
    /// UTC, RFC 3339.
    pub start: String,
    /// UTC, RFC 3339.
    pub end: String,
    /// From start to end, seconds.
    pub seconds: f64,
    /// How far it came.
    pub status: Status,
    /// What it shows.
    pub verdict: Verdict,
    /// guardctl's exit code for it.
    pub exit_code: u8,
    /// One sentence: why this status and verdict.
    pub why: String,
    /// One for each phase and steady state that was checked, in order.
    pub checks: Vec<Check>,
    /// Whether the faults did what was asked.
    pub proof: Vec<Proof>,
    /// Bulkheads that were no target, and packets of theirs that were touched: all 0.
    pub collateral: Vec<Collateral>,
    /// Whether the host is as before.
    pub cleanup: Cleanup,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// Numbers over time, one look a second.
    pub samples: Vec<Sample>,
}

/// How far a drill came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// To its planned end.
    Completed,
    /// An abort condition ended it.
    Aborted,
    /// A person, a signal or the daemon's end stopped it.
    Interrupted,
    /// It did not begin: the steady state was not there, or a fault could not be injected.
    Failed,
}

/// What a drill shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that should hold held.
    Held,
    /// Something did not.
    Deviated,
    /// Nothing is shown: no traffic matched, too few calls, or it did not run to its end.
    Inconclusive,
}

/// One steady state in one phase.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Name of the steady state.
    pub name: String,
    /// When.
    pub phase: Phase,
    /// `None`: it could not be told (too few calls).
    pub met: Option<bool>,
    /// What was measured, for people: `93.8 % of 412 calls`.
    pub measured: String,
    /// What was asked for, for people: `at least 95 %`.
    pub limit: String,
    /// First second of the drill at which it was missed.
    pub first_miss_seconds: Option<f64>,
}

/// What a fault was to do and did.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// The fault at its end, with its counters.
    pub fault: FaultRecord,
    /// What was asked for, for people.
    pub asked: String,
    /// What was measured, for people: `1.98 % of 1190 packets (95 %: 1.3 to 2.9)`.
    pub measured: String,
    /// `None`: it cannot be told, because nothing matched.
    pub met: Option<bool>,
}

/// A bulkhead that was no target.
#[derive(Clone, Debug, Serialize)]
pub struct Collateral {
    /// Bulkhead.
    pub bulkhead: String,
    /// Its packets and connects that faults touched during the drill.
    pub touched: u64,
    /// Its calls during the drill.
    pub calls: u64,
}

/// The host after the drill, compared with before.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cleanup {
    /// `None`: it could not be asked (guardd was gone).
    pub complete: Option<bool>,
    /// What is there and was not before, one line each.
    pub left_over: Vec<String>,
    /// From the end of the faults until the host was as before, seconds.
    pub seconds: f64,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// UTC, RFC 3339.
    pub time: String,
    /// Since the start of the drill.
    pub seconds: f64,
    /// Where in the drill; `None` outside its phases.
    pub phase: Option<Phase>,
    /// What, one line.
    pub what: String,
}

/// Numbers at one moment. Counts are those since the sample before.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Since the start of the drill.
    pub seconds: f64,
    /// Where in the drill.
    pub phase: Phase,
    /// One for each (bulkhead, service) with a call in the drill or a breaker.
    pub pairs: Vec<PairSample>,
}

/// One (bulkhead, service) in a [`Sample`].
#[derive(Clone, Debug, Serialize)]
pub struct PairSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub service: String,
    /// Calls that succeeded.
    pub good: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls that guard itself refused (OPEN breakers); they count as failed for the agent.
    pub rejected: u64,
    /// 95th percentile of the time to the first byte, estimated from buckets, seconds.
    pub p95_seconds: Option<f64>,
    /// `closed`, `open`, `half_open`, …; empty without a breaker.
    pub breaker: String,
}
