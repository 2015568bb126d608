//! The limits of the plan.

use crate::config::read::Node;
use crate::config::text::signals;
use crate::plan::{
    BudgetPlan, LimitRules, LimitSettings, OnExhausted, PACING_MAX_DELAY, PacePlan,
    RetryBudgetPlan, RetryPlan, StormPlan,
};

pub(super) fn limits(root: &Node) -> LimitRules {
    let mut rules = LimitRules::default();
    if let Some(budget) = root.table("defaults").and_then(|d| d.table("retry_budget")) {
        rules.retry_budget = retry_budget(budget);
    }
    rules.storms = storms(root);
    for service in root.named("services") {
        rules.of_services.extend(pace(&service.node).map(|pace| (service.name.clone(), pace)));
    }
    for bulkhead in root.named("bulkheads") {
        let (name, node) = (&bulkhead.name, &bulkhead.node);
        let limits = node.table("limits");
        let mut whole = settings(node);
        let most = node.duration("pacing_max_delay");
        whole.pacing_max_delay = most.filter(|most| *most != PACING_MAX_DELAY);
        let errno = limits.filter(|limits| limits.given("errno").is_some());
        whole.errno = errno.and_then(|limits| limits.text("errno")).and_then(signals::errno);
        rules.of_bulkheads.insert(name.clone(), whole);
        for service in limits.map_or(&[][..], |limits| limits.named("services")) {
            let pair = (name.clone(), service.name.clone());
            rules.of_pairs.insert(pair, settings(&service.node));
        }
        let budgets: Vec<_> = node.list("budgets").iter().filter_map(budget).collect();
        if !budgets.is_empty() {
            rules.budgets.insert(name.clone(), budgets);
        }
    }
    rules
}

fn settings(node: &Node) -> LimitSettings {
    let number = |node: &Node, key| node.integer(key).and_then(|n| u32::try_from(n).ok());
    LimitSettings {
        max_connections: number(node, "max_connections"),
        retries: node.table("retries").and_then(|retries| {
            Some(RetryPlan { max: number(retries, "max")?, window: retries.duration("window")? })
        }),
        errno: node.text("errno").and_then(signals::errno),
        pace: pace(node),
        pacing_max_delay: None,
    }
}

fn pace(node: &Node) -> Option<PacePlan> {
    let burst = node.integer("max_calls_burst").and_then(|burst| u32::try_from(burst).ok());
    node.number("max_calls_per_second").map(|rate| PacePlan::new(rate, burst))
}

fn storms(root: &Node) -> StormPlan {
    let mut plan = StormPlan::default();
    if let Some(node) = root.table("defaults").and_then(|defaults| defaults.table("storms")) {
        let default = plan;
        plan = StormPlan {
            on: node.text("mode") != Some("off"),
            except: default.except,
            calls_per_second: node.number("calls_per_second").unwrap_or(default.calls_per_second),
            max_answer_bytes: node.integer("max_answer").unwrap_or(default.max_answer_bytes),
            max_answer_time: node.duration("max_answer_time").unwrap_or(default.max_answer_time),
            lasting: node.duration("for").unwrap_or(default.lasting),
        };
    }
    for service in root.named("services") {
        if service.node.text("storms").is_some_and(|word| (word == "on") != plan.on) {
            plan.except.insert(service.name.clone());
        }
    }
    plan
}

fn retry_budget(node: &Node) -> RetryBudgetPlan {
    let default = RetryBudgetPlan::default();
    RetryBudgetPlan {
        share: node.number("percent").map_or(default.share, |percent| percent / 100.0),
        min_per_second: node.number("min_per_second").unwrap_or(default.min_per_second),
    }
}

/// `None` only after an error.
fn budget(node: &Node) -> Option<BudgetPlan> {
    Some(BudgetPlan {
        per: node.duration("per")?,
        bytes: node.integer("bytes"),
        calls: node.integer("calls"),
        connects: node.integer("connects"),
        services: node.texts("services").to_vec(),
        warn_at: node.number("warn_at")? / 100.0,
        on_exhausted: match node.text("on_exhausted")? {
            "freeze" => OnExhausted::Freeze,
            "warn" => OnExhausted::Warn,
            _ => OnExhausted::Block,
        },
    })
}
