//! What a reload changes in limits and budgets.

use std::collections::BTreeSet;

use crate::config::text::{duration, size};
use crate::plan::{BudgetPlan, LimitRules, LimitSettings, OnExhausted, PacePlan, StormPlan};

/// Lines for what differs.
pub(super) fn limits(old: &LimitRules, new: &LimitRules, lines: &mut Vec<String>) {
    let budget = |rules: &LimitRules| {
        let plan = rules.retry_budget;
        format!("{}%, {} a second at least", plan.share * 100.0, plan.min_per_second)
    };
    changed(lines, "defaults.retry_budget", &budget(old), &budget(new));
    let services: BTreeSet<_> = old.of_services.keys().chain(new.of_services.keys()).collect();
    for name in services {
        let of = |rules: &LimitRules| {
            rules.of_services.get(name).map_or_else(|| "no limit".to_owned(), show_pace)
        };
        let what = format!("service {name}: max_calls_per_second");
        changed(lines, &what, &of(old), &of(new));
    }
    changed(lines, "storms", &show_storms(&old.storms), &show_storms(&new.storms));
    let names: BTreeSet<_> = old.of_bulkheads.keys().chain(new.of_bulkheads.keys()).collect();
    for name in names {
        let at = format!("bulkhead {name}");
        settings(&at, &old.of_bulkhead(name), &new.of_bulkhead(name), lines);
        let budgets = |rules: &LimitRules| match rules.budgets.get(name) {
            None => "none".to_owned(),
            Some(all) => all.iter().map(show).collect::<Vec<_>>().join("; "),
        };
        changed(lines, &format!("{at}: budgets"), &budgets(old), &budgets(new));
    }
    let pairs: BTreeSet<_> = old.of_pairs.keys().chain(new.of_pairs.keys()).collect();
    for pair in pairs {
        let of = |rules: &LimitRules| rules.of_pairs.get(pair).copied().unwrap_or_default();
        settings(&format!("limits {}/{}", pair.0, pair.1), &of(old), &of(new), lines);
    }
}

fn settings(at: &str, old: &LimitSettings, new: &LimitSettings, lines: &mut Vec<String>) {
    // Destructured, so that a new setting is compared too.
    let text = |settings: &LimitSettings| {
        let LimitSettings { max_connections, retries, errno, pace, pacing_max_delay } = *settings;
        [
            ("max_connections", max_connections.map(|n| n.to_string())),
            ("retries", retries.map(|r| format!("{} in {}", r.max, duration::format(r.window)))),
            ("errno", errno.map(|errno| format!("{errno:?}"))),
            ("max_calls_per_second", pace.map(|pace| show_pace(&pace))),
            ("pacing_max_delay", pacing_max_delay.map(duration::format)),
        ]
    };
    for ((key, old), (_, new)) in text(old).into_iter().zip(text(new)) {
        let word = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
        changed(lines, &format!("{at}: {key}"), &word(old), &word(new));
    }
}

fn show_storms(plan: &StormPlan) -> String {
    let StormPlan { on, except, calls_per_second, max_answer_bytes, max_answer_time, lasting } =
        plan;
    let mut text = format!(
        "{}: {calls_per_second} calls a second, {}, {}, for {}",
        if *on { "on" } else { "off" },
        size::format(*max_answer_bytes),
        duration::format(*max_answer_time),
        duration::format(*lasting)
    );
    if !except.is_empty() {
        let names: Vec<_> = except.iter().map(String::as_str).collect();
        text = format!("{text}, but for {}", names.join(", "));
    }
    text
}

fn show_pace(pace: &PacePlan) -> String {
    format!("{} (burst {})", pace.per_second(), pace.burst)
}

fn show(plan: &BudgetPlan) -> String {
    let BudgetPlan { per, bytes, calls, connects, services, warn_at, on_exhausted } = plan;
    let amounts = [
        bytes.map(size::format),
        calls.map(|n| format!("{n} calls")),
        connects.map(|n| format!("{n} connects")),
    ];
    let amounts: Vec<_> = amounts.into_iter().flatten().collect();
    let of = if services.is_empty() { "all".to_owned() } else { services.join(", ") };
    format!(
        "{} per {} of {of}, warns at {}%, then {}",
        amounts.join(", "),
        duration::format(*per),
        warn_at * 100.0,
        match on_exhausted {
            OnExhausted::Block => "block",
            OnExhausted::Freeze => "freeze",
            OnExhausted::Warn => "warn",
        }
    )
}

fn changed(lines: &mut Vec<String>, what: &str, old: &str, new: &str) {
    if old != new {
        lines.push(format!("{what} {old} -> {new}"));
    }
}
