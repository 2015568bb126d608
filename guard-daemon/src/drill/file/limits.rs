//! How many effects the kernel can hold: a drill that guardd would refuse half way through must not
//! begin.

use std::collections::BTreeSet;

use guard_common::abi::fault::{MAX_DELAY_GATES, MAX_FAULT_RULES, MAX_PAIR_RULES};

use super::faults::Rule;
use crate::config::Sink;
use crate::plan::OTHER;

/// Reports what is too much. Gives back whether there are few enough rules to look at each with
/// each.
pub(super) fn check(rules: &[Rule], sink: &mut Sink) -> bool {
    if let Some(rule) = rules.get(MAX_FAULT_RULES) {
        let message = format!("the drill has {} effects", rules.len());
        let label = format!("at most {MAX_FAULT_RULES} are allowed");
        let help = "each effect of each [[fault]] is one: make two \
                    drills of it";
        sink.error(&rule.span, &rule.path, message, label, help);
        return false;
    }
    let is_held = |rule: &&Rule| {
        rule.request.latency_seconds.is_some() || rule.request.bandwidth_bits_per_second.is_some()
    };
    let held: Vec<&Rule> = rules.iter().filter(is_held).collect();
    if let Some(rule) = held.get(MAX_DELAY_GATES) {
        let message = format!("the drill has {} latencies and bandwidths", held.len());
        let label = format!("at most {MAX_DELAY_GATES} are allowed");
        let help = "let one fault last for longer, or make two drills of it";
        sink.error(&rule.span, &rule.path, message, label, help);
    }
    pairs(rules, sink);
    true
}

/// At most [`MAX_PAIR_RULES`] at once on each bulkhead and service.
fn pairs(rules: &[Rule], sink: &mut Sink) {
    // A fault on every service counts for each of them, and for those that have no fault of their own.
    let all: BTreeSet<(&str, Option<&str>)> = rules
        .iter()
        .map(|rule| (rule.request.bulkhead.as_str(), rule.request.service.as_deref()))
        .collect();
    for (bulkhead, service) in all {
        let on_pair = |rule: &&Rule| {
            let of = rule.request.service.as_deref();
            rule.request.bulkhead == bulkhead && (of.is_none() || of == service)
        };
        // There are never more than at the start of one of them.
        let crowd = rules.iter().filter(on_pair).find_map(|first| {
            let at_once = |rule: &&Rule| rule.start <= first.start && first.start < rule.end;
            let crowd: Vec<&Rule> = rules.iter().filter(on_pair).filter(at_once).collect();
            (crowd.len() > MAX_PAIR_RULES).then_some(crowd)
        });
        let Some((rule, many)) =
            crowd.as_ref().and_then(|c| Some((c.get(MAX_PAIR_RULES)?, c.len())))
        else {
            continue;
        };
        let to = match service {
            None => "every service".to_owned(),
            Some(OTHER) => "what is no service".to_owned(),
            Some(service) => format!("service `{service}`"),
        };
        let message = format!("bulkhead `{bulkhead}` to {to} has {many} effects at the same time");
        let label = format!("at most {MAX_PAIR_RULES} are allowed");
        sink.error(&rule.span, &rule.path, message, label, "let some end before others begin");
    }
}
