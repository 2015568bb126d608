//! `[[recovery]]`, `[defaults.recovery]`, `[notify]`: when guard heals, and how.

use std::time::Duration;

use super::ServiceClass;

/// Everything about healing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveryPlan {
    /// The rules of the file, in its order.
    pub rules: Vec<RulePlan>,
    /// Whether the built-in rule heals what no rule of the file is about.
    pub default_rule: bool,
    /// Actions at a time; at least 1.
    pub max_concurrent: usize,
    /// How a person is called.
    pub notify: NotifyPlan,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RulePlan {
    /// Name, unique.
    pub name: String,
    /// Whose calls; `None` = each bulkhead by itself.
    pub bulkhead: Option<String>,
    /// Calls to what; `None` = each service by itself.
    pub service: Option<String>,
    /// What fires it; at least one.
    pub detectors: Vec<Detector>,
    /// Whether all of them must, or any.
    pub all: bool,
    /// Over which time success and latency are taken.
    pub window: Duration,
    /// Calls in it below which they say nothing.
    pub min_calls: u64,
    /// From mild to severe; at least one.
    pub steps: Vec<StepPlan>,
    /// How it is known that a step has helped.
    pub verify: VerifyPlan,
    /// Rest after a recovery.
    pub cooldown: Duration,
    /// Recoveries of one target in an hour.
    pub max_per_hour: usize,
    /// Healthy time after which that count starts anew.
    pub reset_after: Duration,
    /// Whether calls to `mcp` and `tool` may be ended.
    pub allow_repeat: bool,
    /// Whether it only says what it would do.
    pub dry_run: bool,
}

/// What fires a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detector {
    /// Share of successful calls below this.
    SuccessRateBelow(f64),
    /// Time to the first byte at this quantile above that.
    LatencyAbove(f64, Duration),
    /// The breaker has not been CLOSED for so long.
    BreakerOpenFor(Duration),
    /// A call has waited for so long.
    StalledFor(Duration),
    /// Percent of the time in which some process waited for memory.
    MemoryPressureAbove(f64),
    /// The kernel killed for want of memory.
    OutOfMemory,
    /// The supervised agent has failed for good.
    AgentExited,
    /// More calls than this were refused by limits of the bulkhead in the window.
    LimitRefusalsAbove(u64),
}

impl Detector {
    /// Whether it is about calls to a service; else it is about a bulkhead as a whole.
    pub fn is_of_service(self) -> bool {
        matches!(
            self,
            Self::SuccessRateBelow(_)
                | Self::LatencyAbove(..)
                | Self::BreakerOpenFor(_)
                | Self::StalledFor(_)
        )
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    /// What is done.
    pub action: Action,
    /// Longest time for it, with all of its tries.
    pub timeout: Duration,
    /// Name of the retry policy by which it is repeated while it fails; webhooks have one for each type
    /// of error without it, everything else has none.
    pub retry: Option<String>,
    /// As whom a command runs: USER or USER:GROUP; `None` = as guardd.
    pub user: Option<String>,
}

impl StepPlan {
    /// With nothing else beside it.
    pub const fn plain(action: Action, timeout: Duration) -> Self {
        Self { action, timeout, retry: None, user: None }
    }
}

/// How much `reset_limits` resets; each does what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitReset {
    /// Lets an OPEN breaker probe as soon as its service can be reached.
    Probes,
    /// Windows of retries, failures in a row and windows of breakers that are CLOSED.
    Counters,
    /// Budgets that are used up are released until their period ends.
    Budgets,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ends the longest call that hangs.
    EndCall,
    /// Ends connections; `all`: busy ones too.
    ResetConnections {
        /// Busy ones too.
        all: bool,
    },
    /// Lets what limits its calls begin anew.
    ResetLimits(LimitReset),
    /// Resolves the service's names again.
    FlushDns,
    /// Runs a command that clears a cache.
    ClearCache(Vec<String>),
    /// Runs a command.
    Exec(Vec<String>),
    /// Posts the incident.
    Http(String),
    /// Switches the service's fallback on or off.
    Fallback(bool),
    /// Stops the bulkhead's processes.
    Freeze,
    /// Lets them run again.
    Thaw,
    /// Throttles the bulkhead above this memory, bytes.
    MemoryHigh(u64),
    /// Sends this signal to the bulkhead's processes.
    Signal(String),
    /// Restarts the supervised agent of a bulkhead, or a unit of systemd.
    Restart(String),
    /// Snapshots the agent's state.
    Checkpoint,
    /// Restores its last good snapshot.
    Restore,
    /// Calls a person.
    Notify,
}

impl Action {
    /// Its word in the configuration, the metrics and the incidents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EndCall => "end_call",
            Self::ResetConnections { .. } => "reset_connections",
            Self::ResetLimits(_) => "reset_limits",
            Self::FlushDns => "flush_dns",
            Self::ClearCache(_) => "clear_cache",
            Self::Exec(_) => "exec",
            Self::Http(_) => "http",
            Self::Fallback(_) => "fallback",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::MemoryHigh(_) => "memory_high",
            Self::Signal(_) => "signal",
            Self::Restart(_) => "restart",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
            Self::Notify => "notify",
        }
    }

    /// Whether it stops processes, so that only one of its kind may run on the host.
    pub fn stops_processes(&self) -> bool {
        matches!(self, Self::Freeze | Self::Signal(_) | Self::Restart(_) | Self::Restore)
    }

    /// Whether a call can be made twice because of it.
    pub fn may_repeat_calls(&self) -> bool {
        self.stops_processes() && *self != Self::Freeze
            || matches!(self, Self::EndCall | Self::ResetConnections { all: true })
    }
}

/// How it is known that a step has helped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifyPlan {
    /// Share of good calls since the step, if any is made; `None` = the detector no longer fires.
    pub success_rate_above: Option<f64>,
    /// Time that a step has to show it.
    pub within: Duration,
}

/// `[notify]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyPlan {
    /// Command; empty = none.
    pub exec: Vec<String>,
    /// Webhook.
    pub http: Option<String>,
    /// Longest time for each.
    pub timeout: Duration,
}

impl NotifyPlan {
    /// Whether anything but the log and the events is told.
    pub fn reaches_anybody(&self) -> bool {
        !self.exec.is_empty() || self.http.is_some()
    }
}

/// Name of the built-in rule.
pub const DEFAULT_RULE: &str = "success-rate";

impl RecoveryPlan {
    /// The rules in force: those of the file, and the built-in one.
    pub fn all_rules(&self) -> Vec<RulePlan> {
        let named = self.rules.iter().any(|rule| rule.name == DEFAULT_RULE);
        let built_in = (self.default_rule && !named).then(built_in);
        self.rules.iter().cloned().chain(built_in).collect()
    }
}

fn built_in() -> RulePlan {
    let step = |action| StepPlan::plain(action, Duration::from_secs(10));
    RulePlan {
        name: DEFAULT_RULE.to_owned(),
        bulkhead: None,
        service: None,
        detectors: vec![Detector::SuccessRateBelow(0.8), Detector::BreakerOpenFor(Duration::ZERO)],
        all: false,
        window: Duration::from_secs(30),
        min_calls: 10,
        steps: vec![
            // First, and armed until the incident ends: the service may be back at any moment.
            step(Action::ResetLimits(LimitReset::Probes)),
            step(Action::ResetConnections { all: false }),
            step(Action::FlushDns),
            step(Action::Notify),
        ],
        verify: VerifyPlan { success_rate_above: None, within: Duration::from_secs(15) },
        cooldown: Duration::from_secs(15),
        max_per_hour: 6,
        reset_after: Duration::from_mins(10),
        allow_repeat: false,
        dry_run: false,
    }
}

impl RulePlan {
    /// Whether it is about one bulkhead as a whole, not about calls to a service.
    pub fn is_of_bulkhead(&self) -> bool {
        self.service.is_none() && self.detectors.iter().all(|detector| !detector.is_of_service())
    }

    /// Whether the bulkhead's processes do not run after this step (from 0), because of one up to it.
    pub fn holds_still(&self, step: usize) -> bool {
        let done = self.steps.iter().take(step.saturating_add(1));
        let last = done.rev().find(|s| matches!(s.action, Action::Freeze | Action::Thaw));
        !self.dry_run && last.is_some_and(|step| step.action == Action::Freeze)
    }

    /// Whether an action of it may touch calls to a service of this class.
    pub fn may(&self, action: &Action, class: ServiceClass) -> bool {
        let careful = matches!(class, ServiceClass::Mcp | ServiceClass::Tool);
        let named = self.service.is_some() || self.bulkhead.is_some();
        !(careful && action.may_repeat_calls()) || (self.allow_repeat && named)
    }
}
