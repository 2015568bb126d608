//! Changes of connection hygiene and timeouts, one line for each table.

use std::time::Duration;

use crate::config::text::duration;
use crate::plan::{BulkheadTimeouts, HygieneSettings, Plan, TimeoutSettings};

/// What a table says, key by key.
type Said = Vec<(&'static str, Option<String>)>;

pub(super) fn hygiene(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    for service in &new.services {
        let Some(before) = old.service(&service.name) else { continue };
        let name = format!("service {}", service.name);
        compare(&name, &timeouts(&before.timeouts), &timeouts(&service.timeouts), lines);
        compare(&name, &settings(&before.hygiene), &settings(&service.hygiene), lines);
    }
    for bulkhead in &new.bulkheads {
        let Some(before) = old.bulkhead(&bulkhead.name) else { continue };
        bulkhead_timeouts(&bulkhead.name, &before.timeouts, &bulkhead.timeouts, lines);
    }
    compare("defaults", &settings(&old.hygiene), &settings(&new.hygiene), lines);
}

fn bulkhead_timeouts(
    name: &str,
    old: &BulkheadTimeouts,
    new: &BulkheadTimeouts,
    lines: &mut Vec<String>,
) {
    compare(&format!("bulkhead {name}"), &timeouts(&old.own), &timeouts(&new.own), lines);
    let none = TimeoutSettings::default();
    let mut services: Vec<&String> = old.of_services.keys().chain(new.of_services.keys()).collect();
    services.sort_unstable();
    services.dedup();
    for service in services {
        let said =
            |plan: &BulkheadTimeouts| timeouts(plan.of_services.get(service).unwrap_or(&none));
        compare(&format!("timeouts {name}/{service}"), &said(old), &said(new), lines);
    }
}

fn compare(what: &str, old: &Said, new: &Said, lines: &mut Vec<String>) {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
    for ((key, before), (_, after)) in old.iter().zip(new) {
        if before != after {
            lines.push(format!("{what}: {key} {} -> {}", word(before), word(after)));
        }
    }
}

fn time(value: Option<Duration>) -> Option<String> {
    value.map(duration::format)
}

fn timeouts(said: &TimeoutSettings) -> Said {
    let TimeoutSettings { connect, call, stall_warn } = *said;
    vec![
        ("connect_timeout", time(connect)),
        ("call_timeout", time(call)),
        ("stall_warn", time(stall_warn)),
    ]
}

fn settings(said: &HygieneSettings) -> Said {
    // Destructured, so that a new key cannot be forgotten here.
    let HygieneSettings {
        on,
        keepalive,
        keepalive_interval,
        keepalive_probes,
        user_timeout,
        peer_closed,
        peer_closed_busy,
        sweep,
    } = *said;
    let switch = |value: Option<bool>| value.map(|on| if on { "on" } else { "off" }.to_owned());
    vec![
        ("hygiene.mode", switch(on)),
        ("hygiene.keepalive", time(keepalive)),
        ("hygiene.keepalive_interval", time(keepalive_interval)),
        ("hygiene.keepalive_probes", keepalive_probes.map(|n| n.to_string())),
        ("hygiene.user_timeout", time(user_timeout)),
        ("hygiene.peer_closed", time(peer_closed)),
        ("hygiene.peer_closed_busy", time(peer_closed_busy)),
        ("hygiene.sweep", switch(sweep)),
    ]
}
