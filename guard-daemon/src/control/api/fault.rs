//! The types of faults: what is asked for, what is there, what it did.

use serde::{Deserialize, Serialize};

/// Body of `fault inject`. Times in seconds, shares in percent (above 0, up to 100).
/// Exactly one of `latency_seconds`, `loss_percent`, `refuse_percent` must be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// Bulkhead; never empty.
    pub bulkhead: String,
    /// Service; `None` = every service of the bulkhead, which needs `unsafe_all`.
    #[serde(default)]
    pub service: Option<String>,
    /// How long from its start; mandatory, above 0, at most 24 h.
    pub duration_seconds: f64,
    /// Delay before it starts.
    #[serde(default)]
    pub start_after_seconds: f64,
    /// Added to each packet that the bulkhead sends to the service.
    #[serde(default)]
    pub latency_seconds: Option<f64>,
    /// Spread around the latency.
    #[serde(default)]
    pub jitter_seconds: Option<f64>,
    /// How it is spread: `uniform` (the jitter is the bound; default), `normal` or `pareto` (it is
    /// the standard deviation).
    #[serde(default)]
    pub distribution: Option<String>,
    /// Share of packets dropped, both ways.
    #[serde(default)]
    pub loss_percent: Option<f64>,
    /// How many packets are lost in a row on average; each by itself if absent.
    #[serde(default)]
    pub loss_burst: Option<f64>,
    /// Share of connects refused.
    #[serde(default)]
    pub refuse_percent: Option<f64>,
    /// Errno name of refused connects; default ECONNREFUSED.
    #[serde(default)]
    pub errno: Option<String>,
    /// It comes and goes: from its start on it acts for so long, …
    #[serde(default)]
    pub pulse_on_seconds: Option<f64>,
    /// … and then rests for so long. Both or none of the two.
    #[serde(default)]
    pub pulse_off_seconds: Option<f64>,
    /// Which packets the latency holds: `packet` (each; default), `connect` (the SYN), `first_byte`
    /// (those with payload).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_per: Option<String>,
    /// Share of the requests on open connections that a TCP reset answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_percent: Option<f64>,
    /// A thin link: bits per second and direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bits_per_second: Option<u64>,
    /// Name queries fail: `no_answer`, `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// Of loss and bandwidth: `both` (default), `egress`, `ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// `all` (default), or `new`: only those that are opened while the fault acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<String>,
    /// Only a share: of `calls`, `connections` or `destinations`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of: Option<String>,
    /// … of so many percent. Both or none of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<f64>,
    /// Seed of the random decisions; drawn (and reported) if absent.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The operator says that a fault on every service of the bulkhead is meant.
    #[serde(default)]
    pub unsafe_all: bool,
    /// Id of the drill that it is a part of, and ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
}

/// One fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Id, from 1, never reused while guardd runs.
    pub id: u64,
    /// Bulkhead.
    pub bulkhead: String,
    /// Service; `*` = every service.
    pub service: String,
    /// `latency 300ms +-50ms normal`, `loss 2% in bursts of 4`, `refuse 100% ECONNREFUSED`.
    pub effect: String,
    /// `kernel`, `edt` or `nfqueue`.
    pub engine: String,
    /// `scheduled`, `active` or `ended`.
    pub state: String,
    /// Why it ended: `done`, `cleared`, `halted`, `reloaded`, `stopped`, `cgroup removed`,
    /// `drill over`, `aborted by uid N`, `engine failed` (a warning says how); empty before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ended: String,
    /// Until its end, seconds; 0 once ended.
    pub remaining_seconds: f64,
    /// Seed of its random decisions.
    pub seed: u64,
    /// Id of the drill that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
    /// What it did so far.
    pub counters: FaultCounters,
    /// For how long packets were held, when the NFQUEUE engine held some and the fault has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What the operator should know (for example: the engine does not reach a namespace).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a fault did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounters {
    /// Packets or connects that the rule was about.
    pub matched: u64,
    /// Packets delayed.
    pub delayed: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Connects refused.
    pub refused: u64,
    /// Matches passed because deadline or lease were over.
    pub expired: u64,
    /// Matches passed because the destination is protected.
    pub protected: u64,
    /// Matches left alone in monitor mode.
    pub would_have: u64,
    /// Requests answered with a reset.
    #[serde(default)]
    pub reset: u64,
    /// Bytes that a thin link let pass, both ways.
    #[serde(default)]
    pub bytes: u64,
    /// Connections or calls that were looked at for a share of them, …
    #[serde(default)]
    pub candidates: u64,
    /// … and those of them that were drawn.
    #[serde(default)]
    pub chosen: u64,
}

/// For how long the NFQUEUE engine held packets, seconds: of those whose time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub packets: u64,
    /// Packets that passed undelayed or early, because the queue was full or they came too fast.
    pub missed: u64,
    /// Median.
    pub p50_seconds: f64,
    /// 95 % were held no longer.
    pub p95_seconds: f64,
    /// 99 %.
    pub p99_seconds: f64,
}

/// Answer to `fault list` and to whatever ends faults. `"schema": "guard.faults/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Faults {
    /// `guard.faults/1`.
    pub schema: String,
    /// By id.
    pub faults: Vec<FaultRecord>,
    /// Reason of a halt in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}
