//! The limits of the plan.

use crate::config::read::Node;
use crate::config::text::signals;
use crate::plan::{BudgetPlan, LimitRules, LimitSettings, OnExhausted, RetryBudgetPlan, RetryPlan};

pub(super) fn limits(root: &Node) -> LimitRules {
    let mut rules = LimitRules::default();
    if let Some(budget) = root.table("defaults").and_then(|d| d.table("retry_budget")) {
        rules.retry_budget = retry_budget(budget);
    }
    for bulkhead in root.named("bulkheads") {
        let (name, node) = (&bulkhead.name, &bulkhead.node);
        let limits = node.table("limits");
        let mut whole = settings(node);
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
    }
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
