//! The plan from a tree without errors. It checks nothing: where the tree has a hole, an error
//! was reported and the plan is thrown away, so a placeholder will do.

use std::path::PathBuf;

use super::read::{Named, Node};
use crate::plan::{
    BulkheadPlan, CgroupRoot, DaemonPlan, Mode, OnExit, Plan, Protocol, ServiceClass, ServicePlan,
};

pub(super) fn plan(root: &Node) -> Plan {
    Plan {
        daemon: daemon(root.table("daemon").unwrap_or(&Node::default())),
        services: by_name(root.named("services"), service),
        bulkheads: by_name(root.named("bulkheads"), bulkhead),
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
        state_dir: path("state_dir"),
        control_socket: path("control_socket"),
        metrics_listen: node.listen("metrics_listen"),
        cgroup_root: match node.text("cgroup_root") {
            None | Some("auto") => CgroupRoot::Auto,
            Some(path) => CgroupRoot::Path(PathBuf::from(path)),
        },
        fault_lease: node.duration("fault_lease").unwrap_or_default(),
        on_exit: node.text("on_exit").and_then(OnExit::from_name).unwrap_or(OnExit::Detach),
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
    }
}

fn bulkhead(entry: &Named) -> BulkheadPlan {
    // Absent: the bulkhead's name.
    let cgroup = entry.node.text("cgroup").unwrap_or(&entry.name);
    BulkheadPlan { name: entry.name.clone(), cgroup: PathBuf::from(cgroup) }
}
