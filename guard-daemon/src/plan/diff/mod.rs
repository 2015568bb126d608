//! What a reload changes, in an operator's words. It compares; it applies nothing.

mod agents;
mod breakers;
mod hygiene;
mod limits;
mod resources;
mod schedules;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use super::{BulkheadPlan, CgroupRoot, DaemonPlan, Endpoint, GatewayPlan, Plan, ServicePlan};
use crate::config::text::{duration, endpoint, network};

/// The difference of two plans; both lists empty = nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PlanDiff {
    /// What a reload applies, one line each.
    pub changes: Vec<String>,
    /// What changed but waits for a restart of guardd, one line each.
    pub needs_restart: Vec<String>,
}

impl PlanDiff {
    /// Whether the plans are the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.needs_restart.is_empty()
    }
}

/// Compares the plan in force with a new one.
pub fn diff(old: &Plan, new: &Plan) -> PlanDiff {
    let mut out = PlanDiff::default();
    daemon(&old.daemon, &new.daemon, &mut out);
    services(old, new, &mut out.changes);
    bulkheads(old, new, &mut out.changes);
    hygiene::hygiene(old, new, &mut out.changes);
    breakers::breakers(&old.breakers, &new.breakers, &mut out.changes);
    limits::limits(&old.limits, &new.limits, &mut out.changes);
    schedules::schedules(old, new, &mut out.changes);
    agents::agents(old, new, &mut out.changes);
    out
}

fn daemon(old: &DaemonPlan, new: &DaemonPlan, out: &mut PlanDiff) {
    let live = &mut out.changes;
    changed(live, "mode", &old.mode, &new.mode);
    changed(live, "strict", &old.strict, &new.strict);
    let lease = |plan: &DaemonPlan| duration::format(plan.fault_lease);
    changed(live, "fault_lease", &lease(old), &lease(new));
    changed(live, "fail", &old.fail, &new.fail);
    let timeout = |plan: &DaemonPlan| duration::format(plan.heartbeat_timeout);
    changed(live, "heartbeat_timeout", &timeout(old), &timeout(new));
    let nets = |plan: &DaemonPlan| -> Vec<String> {
        plan.protected.iter().map(network::display).collect()
    };
    if let Some(line) = lists(&nets(old), &nets(new)) {
        live.push(format!("daemon.protected: {line}"));
    }
    let later = &mut out.needs_restart;
    changed(later, "state_dir", &old.state_dir.display(), &new.state_dir.display());
    changed(later, "control_socket", &old.control_socket.display(), &new.control_socket.display());
    let listen = |plan: &DaemonPlan| plan.metrics_listen.map_or("off".into(), |a| a.to_string());
    changed(later, "metrics_listen", &listen(old), &listen(new));
    let root = |plan: &DaemonPlan| match &plan.cgroup_root {
        CgroupRoot::Auto => "auto".into(),
        CgroupRoot::Path(path) => path.display().to_string(),
    };
    changed(later, "cgroup_root", &root(old), &root(new));
    changed(later, "on_exit", &old.on_exit, &new.on_exit);
}

fn changed<T: Display + ?Sized>(lines: &mut Vec<String>, key: &str, old: &T, new: &T) {
    let (old, new) = (old.to_string(), new.to_string());
    if old != new {
        lines.push(format!("daemon.{key}: {old} -> {new}"));
    }
}

fn services(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let before: HashMap<&str, &ServicePlan> =
        old.services.iter().map(|s| (s.name.as_str(), s)).collect();
    let after: HashSet<&str> = new.services.iter().map(|s| s.name.as_str()).collect();
    for gone in old.services.iter().filter(|s| !after.contains(s.name.as_str())) {
        lines.push(format!("service {} removed: its destinations become `other`", gone.name));
    }
    for service in &new.services {
        let name = &service.name;
        let shown =
            |list: &[Endpoint]| -> Vec<String> { list.iter().map(endpoint::display).collect() };
        let Some(before) = before.get(name.as_str()) else {
            lines.push(format!("service {name} added: {}", shown(&service.endpoints).join(", ")));
            continue;
        };
        if let Some(line) = lists(&shown(&before.endpoints), &shown(&service.endpoints)) {
            lines.push(format!("service {name}: endpoints {line}"));
        }
        if before.class != service.class {
            lines.push(format!("service {name}: class {} -> {}", before.class, service.class));
        }
        if before.protocol != service.protocol {
            let (old, new) = (before.protocol, service.protocol);
            lines.push(format!("service {name}: protocol {old} -> {new}"));
        }
        let places = |service: &ServicePlan| -> Vec<String> {
            service.fallback.places.iter().map(ToString::to_string).collect()
        };
        if let Some(line) = lists(&places(before), &places(service)) {
            lines.push(format!("service {name}: fallback {line}"));
        } else if places(before) != places(service) {
            lines.push(format!("service {name}: fallbacks in another order"));
        }
        if before.fallback.check_every != service.fallback.check_every {
            let every = |service: &ServicePlan| duration::format(service.fallback.check_every);
            let (old, new) = (every(before), every(service));
            lines.push(format!("service {name}: fallback_check {old} -> {new}"));
        }
        if before.gateway != service.gateway {
            lines.push(format!("service {name}: {}", gateway(before.gateway, service.gateway)));
        }
    }
}

fn gateway(before: Option<GatewayPlan>, after: Option<GatewayPlan>) -> String {
    let stale = |plan: GatewayPlan| plan.stale_if_error.map_or("none".into(), duration::format);
    let (Some(before), Some(after)) = (before, after) else {
        return if after.is_some() { "gateway added".into() } else { "gateway removed".into() };
    };
    if before.stale_if_error != after.stale_if_error {
        return format!("stale_if_error {} -> {}", stale(before), stale(after));
    }
    let (old, new) = (before.cache_bytes_max, after.cache_bytes_max);
    format!("gateway_cache_max {old} -> {new} bytes")
}

fn bulkheads(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let before: HashMap<&str, &BulkheadPlan> =
        old.bulkheads.iter().map(|b| (b.name.as_str(), b)).collect();
    let after: HashSet<&str> = new.bulkheads.iter().map(|b| b.name.as_str()).collect();
    for gone in old.bulkheads.iter().filter(|b| !after.contains(b.name.as_str())) {
        let (name, cgroup) = (&gone.name, gone.cgroup.display());
        let stays = |outer: &&str| after.contains(outer);
        lines.push(match old.outers(name).into_iter().find(stays) {
            Some(outer) => {
                format!(
                    "bulkhead {name} removed: the processes in {cgroup} are those of {outer} now"
                )
            }
            None => {
                format!("bulkhead {name} removed: the processes in {cgroup} are no longer guarded")
            }
        });
    }
    for bulkhead in &new.bulkheads {
        let (name, cgroup) = (&bulkhead.name, bulkhead.cgroup.display());
        match before.get(name.as_str()) {
            None => lines.push(format!("bulkhead {name} added: cgroup {cgroup}")),
            Some(before) if before.cgroup != bulkhead.cgroup => lines.push(format!(
                "bulkhead {name}: cgroup {} -> {cgroup} (processes in the old one stay there, \
                 unguarded)",
                before.cgroup.display()
            )),
            Some(_) => {}
        }
        if let Some(before) = before.get(name.as_str()) {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
            for (key, old, new) in [
                ("pattern of cgroups", &before.pattern, &bulkhead.pattern),
                ("owner", &before.owner, &bulkhead.owner),
            ] {
                if old != new {
                    lines.push(format!("bulkhead {name}: {key} {} -> {}", text(old), text(new)));
                }
            }
            if before.orphans != bulkhead.orphans {
                lines.push(format!("bulkhead {name}: orphans changed"));
            }
        }
        if let Some(before) = before.get(name.as_str()) {
            resources::resources(before, bulkhead, lines);
        }
        if let Some(before) = before.get(name.as_str())
            && before.sockets != bulkhead.sockets
        {
            let kinds = |plan: &BulkheadPlan| plan.sockets.names().join(" ");
            let (old, new) = (kinds(before), kinds(bulkhead));
            lines.push(format!("bulkhead {name}: sockets {old} -> {new}"));
        }
    }
}

/// `+new, -old`; `None` if the lists hold the same. The order has no meaning.
fn lists(old: &[String], new: &[String]) -> Option<String> {
    let (before, after): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    let added = new.iter().filter(|n| !before.contains(n)).map(|n| format!("+{n}"));
    let removed = old.iter().filter(|o| !after.contains(o)).map(|o| format!("-{o}"));
    let all: Vec<String> = added.chain(removed).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
