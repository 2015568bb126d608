//! The plan from a tree without errors. It checks nothing: where the tree has a hole, an error
//! was reported and the plan is thrown away, so a placeholder will do.

mod agents;
mod limits;
mod recovery;
mod resources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::read::{Named, Node};
use crate::config::text::{fallback, signals};
use crate::plan::{
    BreakerMode, BreakerRules, BreakerSettings, BulkheadPlan, BulkheadTimeouts, CgroupRoot,
    DaemonPlan, Fail, Fallback, FallbackPlan, GatewayPlan, HygieneSettings, Mode, OnExit,
    OpenAction, OpenPool, OrphanPlan, Plan, Protocol, SchedulePlan, ServiceClass, ServicePlan,
    SocketKinds, TimeoutSettings,
};
use crate::schedule::{Calendar, Missed, Overlap, Rules};

pub(super) fn plan(root: &Node) -> Plan {
    Plan {
        daemon: daemon(root.table("daemon").unwrap_or(&Node::default())),
        services: by_name(root.named("services"), service),
        bulkheads: by_name(root.named("bulkheads"), bulkhead),
        breakers: breakers(root),
        limits: limits::limits(root),
        hygiene: of_hygiene(root.table("defaults")),
        agents: by_name(root.named("agents"), |entry| agents::agent(entry, root)),
        schedules: root.list("schedule").iter().filter_map(|s| schedule(s, root)).collect(),
        recovery: recovery::recovery(root),
        retry_policies: recovery::retry_policies(root),
    }
}

fn by_name<T>(entries: &[Named], make: impl Fn(&Named) -> T) -> Vec<T> {
    let mut sorted: Vec<&Named> = entries.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted.into_iter().map(make).collect()
}

fn daemon(node: &Node) -> DaemonPlan {
    let path = |name: &str| PathBuf::from(node.text(name).unwrap_or_default());
    DaemonPlan {
        mode: node.text("mode").and_then(Mode::from_name).unwrap_or(Mode::Enforce),
        strict: node.flag("strict"),
        state_dir: path("state_dir"),
        control_socket: path("control_socket"),
        metrics_listen: node.listen("metrics_listen"),
        cgroup_root: match node.text("cgroup_root") {
            None | Some("auto") => CgroupRoot::Auto,
            Some(path) => CgroupRoot::Path(PathBuf::from(path)),
        },
        fault_lease: node.duration("fault_lease").unwrap_or_default(),
        on_exit: node.text("on_exit").and_then(OnExit::from_name).unwrap_or(OnExit::Detach),
        fail: node.text("fail").and_then(Fail::from_name).unwrap_or(Fail::Static),
        heartbeat_timeout: node.duration("heartbeat_timeout").unwrap_or_default(),
        protected: node.networks("protected").to_vec(),
    }
}

fn service(entry: &Named) -> ServicePlan {
    let node = &entry.node;
    ServicePlan {
        name: entry.name.clone(),
        endpoints: node.endpoints("endpoints").iter().map(|(_, e)| e.clone()).collect(),
        class: node
            .text("class")
            .and_then(ServiceClass::from_name)
            .unwrap_or(ServiceClass::Generic),
        protocol: node.text("protocol").and_then(Protocol::from_name).unwrap_or(Protocol::Auto),
        timeouts: timeouts(node),
        hygiene: of_hygiene(Some(node)),
        fallback: FallbackPlan {
            places: fallbacks(node),
            check_every: node.duration("fallback_check").unwrap_or_default(),
        },
        gateway: node.flag("gateway").then(|| GatewayPlan {
            stale_if_error: node.duration("stale_if_error"),
            cache_bytes_max: node.integer("gateway_cache_max").unwrap_or_default(),
        }),
    }
}

/// The fallbacks of a service, in order.
pub(super) fn fallbacks(node: &Node) -> Vec<Fallback> {
    node.texts("fallback").iter().filter_map(|text| fallback::parse(text).ok()).collect()
}

fn timeouts(node: &Node) -> TimeoutSettings {
    TimeoutSettings {
        connect: node.duration("connect_timeout"),
        call: node.duration("call_timeout"),
        stall_warn: node.duration("stall_warn"),
    }
}

fn of_hygiene(owner: Option<&Node>) -> HygieneSettings {
    owner.and_then(|owner| owner.table("hygiene")).map(hygiene).unwrap_or_default()
}

/// What a table of connection hygiene says.
pub(super) fn hygiene(node: &Node) -> HygieneSettings {
    let is_on = |name| node.text(name).map(|word| word == "on");
    HygieneSettings {
        on: is_on("mode"),
        keepalive: node.duration("keepalive"),
        keepalive_interval: node.duration("keepalive_interval"),
        keepalive_probes: node.integer("keepalive_probes").and_then(|n| u32::try_from(n).ok()),
        user_timeout: node.duration("user_timeout"),
        peer_closed: node.duration("peer_closed"),
        peer_closed_busy: node.duration("peer_closed_busy"),
        sweep: is_on("sweep"),
    }
}

/// `None` only after an error.
fn schedule(node: &Node, root: &Node) -> Option<SchedulePlan> {
    let state_dir = root.table("daemon").and_then(|daemon| daemon.text("state_dir"));
    let out = match node.text("out") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(state_dir?).join("drills"),
    };
    Some(SchedulePlan {
        name: node.text("name")?.to_owned(),
        drill: PathBuf::from(node.text("drill")?),
        calendar: Calendar::parse(node.text("calendar")?).ok()?,
        rules: Rules {
            window: node.duration("window")?,
            overlap: match node.text("overlap")? {
                "wait" => Overlap::Wait,
                _ => Overlap::Skip,
            },
            missed: match node.text("missed")? {
                "run_once" => Missed::RunOnce,
                _ => Missed::Skip,
            },
        },
        out,
        enabled: node.flag("enabled"),
    })
}

fn breakers(root: &Node) -> BreakerRules {
    let defaults = root.table("defaults").and_then(|defaults| defaults.table("breaker"));
    let mut rules = BreakerRules {
        defaults: defaults.map(settings).unwrap_or_default(),
        of_pairs: BTreeMap::new(),
    };
    for bulkhead in root.named("bulkheads") {
        let breaker = bulkhead.node.table("breaker");
        for service in breaker.map_or(&[][..], |breaker| breaker.named("services")) {
            let pair = (bulkhead.name.clone(), service.name.clone());
            rules.of_pairs.insert(pair, settings(&service.node));
        }
    }
    rules
}

fn settings(node: &Node) -> BreakerSettings {
    let integer = |name| node.integer(name).and_then(|n| u32::try_from(n).ok());
    BreakerSettings {
        failure_threshold: integer("failure_threshold"),
        success_rate_below: node.number("success_rate_below"),
        slow_after: node.duration("slow_after"),
        slow_share: node.number("slow_share"),
        abandoned_after: node.duration("abandoned_after"),
        max_retry_after: node.duration("max_retry_after"),
        window: node.duration("window"),
        min_calls: integer("min_calls"),
        open_timeout: node.duration("open_timeout"),
        backoff: node.number("backoff"),
        max_open_timeout: node.duration("max_open_timeout"),
        jitter: node.number("jitter"),
        half_open_calls: integer("half_open_calls"),
        errno: node.text("errno").and_then(signals::errno),
        open_pool: node.text("open_pool").and_then(OpenPool::from_name),
        open_action: node.text("open_action").and_then(OpenAction::from_name),
        hold_max: node.duration("hold_max"),
        mode: node.text("mode").and_then(BreakerMode::from_name),
    }
}

fn bulkhead(entry: &Named) -> BulkheadPlan {
    // Absent: the bulkhead's name.
    let cgroup = entry.node.text("cgroup").unwrap_or(&entry.name);
    let pattern = cgroup.starts_with('/').then(|| cgroup.to_owned());
    BulkheadPlan {
        name: entry.name.clone(),
        cgroup: PathBuf::from(if pattern.is_some() { &entry.name } else { cgroup }),
        pattern,
        owner: entry.node.text("owner").map(str::to_owned),
        orphans: entry.node.table("orphans").map(orphans).unwrap_or_default(),
        timeouts: BulkheadTimeouts {
            own: timeouts(&entry.node),
            of_services: entry
                .node
                .table("timeouts")
                .map_or(&[][..], |table| table.named("services"))
                .iter()
                .map(|service| (service.name.clone(), timeouts(&service.node)))
                .collect(),
        },
        limits: resources::limits(&entry.node),
        pressure: resources::pressure(&entry.node),
        sockets: SocketKinds::from_names(entry.node.texts("sockets").iter().map(String::as_str)),
    }
}

fn orphans(node: &Node) -> OrphanPlan {
    let default = OrphanPlan::default();
    OrphanPlan {
        after: node.duration("after").unwrap_or(default.after),
        grace: node.duration("grace").unwrap_or(default.grace),
        end: node.text("action") == Some("end"),
    }
}
