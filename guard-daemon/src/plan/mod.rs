//! The validated configuration: what guardd shall do, with defaults filled in and nothing left
//! to check. Plain data; made by [`crate::config`], read by everyone else. It never does I/O.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

mod agents;
mod breaker;
mod diff;
mod fallback;
mod hygiene;
mod ids;
mod kinds;
mod limits;
mod nesting;
mod orphans;
mod pacing;
mod recovery;
mod resources;
mod retry;
mod schedule;
mod words;

pub use agents::{AgentPlan, CheckpointPlan};
pub use breaker::{BreakerMode, BreakerPlan, BreakerRules, BreakerSettings, OpenAction, OpenPool};
pub use diff::{PlanDiff, diff};
pub use fallback::{Fallback, FallbackPlan, GatewayPlan};
pub use hygiene::{
    BulkheadTimeouts, HygienePlan, HygieneSettings, STALL_WARN, TimeoutSettings, Timeouts,
};
pub use ids::{Ids, OTHER};
pub use kinds::SocketKinds;
pub use limits::{BudgetPlan, LimitRules, LimitSettings, OnExhausted, RetryBudgetPlan, RetryPlan};
pub(crate) use nesting::{all_around, around, lies_inside};
pub use orphans::OrphanPlan;
pub use pacing::{PACING_MAX_DELAY, PacePlan, StormPlan};
pub use recovery::{
    Action, DEFAULT_RULE, Detector, LimitReset, NotifyPlan, RecoveryPlan, RulePlan, StepPlan,
    VerifyPlan,
};
pub use resources::{IoMaxPlan, LimitsPlan, PressurePlan, Stage};
pub use retry::{NETWORK_ERROR, RATE_LIMIT, RetryPolicyPlan, VALIDATION_ERROR, environment};
pub use schedule::SchedulePlan;

/// The whole plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The daemon itself.
    pub daemon: DaemonPlan,
    /// Services in the order of their names; the built-in `other` is not listed.
    pub services: Vec<ServicePlan>,
    /// Bulkheads in the order of their names.
    pub bulkheads: Vec<BulkheadPlan>,
    /// What breakers do.
    pub breakers: BreakerRules,
    /// What bulkheads may do.
    pub limits: LimitRules,
    /// `[defaults.hygiene]`.
    pub hygiene: HygieneSettings,
    /// Agents that guardd runs, in the order of their names.
    pub agents: Vec<AgentPlan>,
    /// Drills that guardd runs by itself, in the order of the file.
    pub schedules: Vec<SchedulePlan>,
    /// Healing.
    pub recovery: RecoveryPlan,
    /// How often and how fast things are tried again, the built-in policies among them.
    pub retry_policies: Vec<RetryPolicyPlan>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonPlan {
    /// Enforce or monitor.
    pub mode: Mode,
    /// Whether a limit that cannot be enforced is an error.
    pub strict: bool,
    /// Journal, checkpoints, undo log.
    pub state_dir: PathBuf,
    /// Unix socket of the control interface.
    pub control_socket: PathBuf,
    /// Address of `/metrics`, `/healthz`, `/readyz`; `None` = `"off"`.
    pub metrics_listen: Option<SocketAddr>,
    /// Where bulkhead cgroups live.
    pub cgroup_root: CgroupRoot,
    /// How long faults outlive the daemon's last sign of life.
    pub fault_lease: Duration,
    /// What happens to the programs when the daemon stops.
    pub on_exit: OnExit,
    /// What breakers do without a daemon.
    pub fail: Fail,
    /// How long after the daemon's last sign of life [`Fail::Open`] takes effect.
    pub heartbeat_timeout: Duration,
    /// Destinations that are never faulted and never blocked.
    pub protected: Vec<IpNet>,
}

/// Whether guard acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Decide, count, act.
    Enforce,
    /// Decide and count; touch nothing.
    Monitor,
}

/// Where bulkhead cgroups live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupRoot {
    /// A slice delegated by systemd where it is PID 1, else the cgroup2 mount.
    Auto,
    /// This directory of a cgroup2 file system.
    Path(PathBuf),
}

/// What becomes of the programs when guardd stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// Everything is taken off the host.
    Detach,
    /// Programs and breakers stay, for the next start to take over.
    Keep,
}

/// What breakers do without a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// They go on.
    Static,
    /// They let every call pass.
    Open,
}

/// `[services.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePlan {
    /// Name, unique.
    pub name: String,
    /// What it is made of; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Kind of peer: a preset of timeouts.
    pub class: ServiceClass,
    /// What counts as an answer.
    pub protocol: Protocol,
    /// What the service says of timeouts.
    pub timeouts: TimeoutSettings,
    /// What it says of connection hygiene.
    pub hygiene: HygieneSettings,
    /// Where its calls go while its breaker is OPEN.
    pub fallback: FallbackPlan,
    /// Whether guardd asks it in the agents' place, and how.
    pub gateway: Option<GatewayPlan>,
}

/// One endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name, or addresses.
    pub host: EndpointHost,
    /// Port; `None` = any.
    pub port: Option<u16>,
}

/// Host part of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointHost {
    /// A name, resolved again before its TTL ends.
    Name(String),
    /// An address (a prefix of full length) or a network.
    Net(IpNet),
}

/// What kind of peer a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceClass {
    /// A remote LLM API.
    Llm,
    /// An inference server of this host or network.
    LlmLocal,
    /// An MCP server.
    Mcp,
    /// A tool's peer (git, package registry, web).
    Tool,
    /// Anything else.
    Generic,
}

/// What counts as an answer of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Found out from the first bytes.
    Auto,
    /// Any byte.
    Tcp,
    /// An HTTP/1 response.
    Http,
    /// TLS: handshakes are not calls.
    Tls,
}

/// `[bulkheads.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkheadPlan {
    /// Name, unique.
    pub name: String,
    /// Path below the cgroup root, normal components only.
    pub cgroup: PathBuf,
    /// What the bulkhead says of timeouts.
    pub timeouts: BulkheadTimeouts,
    /// Cgroups of others that belong to it too, from the root of the cgroup tree.
    pub pattern: Option<String>,
    /// The user, by name or number, to whom `cgroup` is delegated.
    pub owner: Option<String>,
    /// What becomes of processes whose main process has ended.
    pub orphans: OrphanPlan,
    /// Memory, processors, processes.
    pub limits: LimitsPlan,
    /// What is done under pressure; `None` = nothing.
    pub pressure: Option<PressurePlan>,
    /// Kinds of sockets that it may make.
    pub sockets: SocketKinds,
}

impl Plan {
    /// The service with this name.
    pub fn service(&self, name: &str) -> Option<&ServicePlan> {
        self.services.iter().find(|s| s.name == name)
    }

    /// The retry policy with this name.
    pub fn retry_policy(&self, name: &str) -> Option<&RetryPolicyPlan> {
        self.retry_policies.iter().find(|policy| policy.name == name)
    }

    /// The bulkhead with this name.
    pub fn bulkhead(&self, name: &str) -> Option<&BulkheadPlan> {
        self.bulkheads.iter().find(|b| b.name == name)
    }
}

#[cfg(test)]
mod tests;
