//! `[[recovery]]`, `[defaults.recovery]`, `[notify]` and `[retry_policies.NAME]`.

use std::time::Duration;

use crate::config::read::{Named, Node};
use crate::plan::{
    Action, Detector, LimitReset, NotifyPlan, RecoveryPlan, RetryPolicyPlan, RulePlan, StepPlan,
    VerifyPlan,
};

/// Where a rule names no detector.
const SUCCESS_RATE_BELOW: f64 = 0.8;
/// Time of a step whose value is no table.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a step has without `verify`.
const WITHIN: Duration = Duration::from_secs(30);

pub(super) fn recovery(root: &Node) -> RecoveryPlan {
    let defaults = root.table("defaults").and_then(|defaults| defaults.table("recovery"));
    let count = |name| defaults.and_then(|d| d.integer(name)).and_then(|n| usize::try_from(n).ok());
    RecoveryPlan {
        rules: root.list("recovery").iter().filter_map(rule).collect(),
        default_rule: defaults.and_then(|d| d.text("default_rule")) != Some("off"),
        max_concurrent: count("max_concurrent").unwrap_or(1),
        notify: notify(root.table("notify")),
    }
}

fn notify(node: Option<&Node>) -> NotifyPlan {
    let text = |name| node.and_then(|node| node.text(name)).map(str::to_owned);
    NotifyPlan {
        exec: node.map(|node| node.texts("exec").to_vec()).unwrap_or_default(),
        http: text("http"),
        timeout: node.and_then(|node| node.duration("timeout")).unwrap_or(STEP_TIMEOUT),
    }
}

/// `None` only after an error.
fn rule(node: &Node) -> Option<RulePlan> {
    let when = node.table("when")?;
    let verify = node.given("verify").and_then(|_| node.table("verify"));
    let text = |name: &str| when.text(name).map(str::to_owned);
    Some(RulePlan {
        name: node.text("name")?.to_owned(),
        bulkhead: text("bulkhead"),
        service: text("service"),
        detectors: detectors(when),
        all: when.text("combine") != Some("any"),
        window: when.duration("window")?,
        min_calls: when.integer("min_calls")?,
        steps: node.list("steps").iter().filter_map(step).collect(),
        verify: VerifyPlan {
            success_rate_above: verify.and_then(|verify| verify.number("success_rate_above")),
            within: verify.and_then(|verify| verify.duration("within")).unwrap_or(WITHIN),
        },
        cooldown: node.duration("cooldown")?,
        max_per_hour: usize::try_from(node.integer("max_per_hour")?).ok()?,
        reset_after: node.duration("reset_after")?,
        allow_repeat: node.flag("allow_repeat"),
        dry_run: node.flag("dry_run"),
    })
}

fn detectors(when: &Node) -> Vec<Detector> {
    let quantile = when.number("latency_quantile").unwrap_or(0.95);
    let flag = |name, detector| when.flag(name).then_some(detector);
    let found: Vec<Detector> = [
        when.number("success_rate_below").map(Detector::SuccessRateBelow),
        when.duration("latency_above").map(|limit| Detector::LatencyAbove(quantile, limit)),
        when.duration("breaker_open_for").map(Detector::BreakerOpenFor),
        when.duration("stalled_for").map(Detector::StalledFor),
        when.number("memory_pressure_above").map(Detector::MemoryPressureAbove),
        flag("out_of_memory", Detector::OutOfMemory),
        flag("agent_exited", Detector::AgentExited),
        when.integer("limit_refusals_above").map(Detector::LimitRefusalsAbove),
    ]
    .into_iter()
    .flatten()
    .collect();
    if found.is_empty() { vec![Detector::SuccessRateBelow(SUCCESS_RATE_BELOW)] } else { found }
}

/// Each table of steps has one action.
fn step(node: &Node) -> Option<StepPlan> {
    let name = node.action()?.key.name;
    let options = node.table(name);
    let text = || node.text(name).map(str::to_owned);
    let action = match name {
        "end_call" => Action::EndCall,
        "reset_connections" => Action::ResetConnections {
            all: options.and_then(|options| options.text("which")) == Some("all"),
        },
        "reset_limits" => Action::ResetLimits(match options.and_then(|o| o.text("which")) {
            Some("probes") => LimitReset::Probes,
            Some("budgets") => LimitReset::Budgets,
            _ => LimitReset::Counters,
        }),
        "flush_dns" => Action::FlushDns,
        "clear_cache" => Action::ClearCache(node.texts(name).to_vec()),
        "exec" => Action::Exec(node.texts(name).to_vec()),
        "http" => Action::Http(text()?),
        "fallback" => Action::Fallback(node.text(name) == Some("on")),
        "freeze" => Action::Freeze,
        "thaw" => Action::Thaw,
        "memory_high" => Action::MemoryHigh(node.integer(name)?),
        "signal" => Action::Signal(text()?),
        "restart" => Action::Restart(text()?),
        "checkpoint" => Action::Checkpoint,
        "restore" => Action::Restore,
        "notify" => Action::Notify,
        // The table of keys and this match are tested against each other.
        _ => return None,
    };
    let beside = node.given("timeout").and_then(|_| node.duration("timeout"));
    let own = options.and_then(|options| options.duration("timeout"));
    let timeout = beside.or(own).unwrap_or(STEP_TIMEOUT);
    let text = |name: &str| node.text(name).map(str::to_owned);
    Some(StepPlan { action, timeout, retry: text("retry"), user: text("user") })
}

/// The built-in policies, changed as the file says, and those that it adds.
pub(super) fn retry_policies(root: &Node) -> Vec<RetryPolicyPlan> {
    let own: Vec<RetryPolicyPlan> = root.named("retry_policies").iter().map(policy).collect();
    let is_own = |name: &str| own.iter().any(|policy| policy.name == name);
    let mut all = RetryPolicyPlan::built_in();
    all.retain(|policy| !is_own(&policy.name));
    all.extend(own);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn policy(entry: &Named) -> RetryPolicyPlan {
    let node = &entry.node;
    let exponential = node.text("backoff") != Some("fixed");
    RetryPolicyPlan {
        name: entry.name.clone(),
        max_retries: node.integer("max_retries").and_then(|n| n.try_into().ok()).unwrap_or(0),
        exponential,
        initial_delay: node.duration("initial_delay").unwrap_or_default(),
        max_delay: node.duration("max_delay").unwrap_or_default(),
        jitter: node.given("jitter").map_or(exponential, |_| node.flag("jitter")),
    }
}
