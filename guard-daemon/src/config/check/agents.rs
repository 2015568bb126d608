//! Agents: names that must exist, an order without a circle, users, places of state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::read::{Field, Named, Node};
use crate::config::sink::Sink;
use crate::config::text::{shown, suggest};

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let agents = root.named("agents");
    let state_dir = root.table("daemon").and_then(|daemon| daemon.text("state_dir"));
    for agent in agents {
        if let (Some(least), Some(most)) =
            (agent.node.duration("restart_delay"), agent.node.duration("max_restart_delay"))
            && least > most
            && let Some(field) =
                agent.node.given("restart_delay").or(agent.node.given("max_restart_delay"))
        {
            let message = format!("`{}`: the longest pause is below the first", field.path);
            let help = "max_restart_delay must not be below restart_delay";
            sink.error(&field.span, &field.path, message, "they do not fit", help);
        }
        user(agent, sink);
        state_paths(agent, state_dir, sink);
    }
    if sink.is_complete() {
        names(root, agents, sink);
        circles(agents, sink);
    }
}

fn names(root: &Node, agents: &[Named], sink: &mut Sink) {
    let of = |key: &str| -> BTreeSet<&str> {
        root.named(key).iter().map(|named| named.name.as_str()).collect()
    };
    let (bulkheads, policies) = (of("bulkheads"), of("retry_policies"));
    let known: BTreeSet<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    for agent in agents {
        let node = &agent.node;
        match (node.given("bulkhead"), node.text("bulkhead")) {
            (Some(field), Some(name)) if !bulkheads.contains(name) => {
                unknown("bulkhead", name, &bulkheads, field, sink);
            }
            (None, None) if !bulkheads.contains(agent.name.as_str()) => {
                let path = &node.path;
                let message = format!("`{path}`: there is no bulkhead `{}`", agent.name);
                let help = format!("add [bulkheads.{}], or say `bulkhead = …`", agent.name);
                sink.error(&agent.name_span, path, message, "nowhere to run", help);
            }
            _ => {}
        }
        if let (Some(field), Some(name)) =
            (node.given("restart_policy"), node.text("restart_policy"))
            && !policies.contains(name)
        {
            unknown("retry policy", name, &policies, field, sink);
        }
        if let Some(field) = node.given("after") {
            for name in node.texts("after").iter().filter(|name| !known.contains(name.as_str())) {
                unknown("agent", name, &known, field, sink);
            }
        }
    }
}

fn unknown(what: &str, name: &str, known: &BTreeSet<&str>, field: &Field, sink: &mut Sink) {
    let message = format!("`{}`: there is no {what} `{}`", field.path, shown(name));
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define the {what} in this file"),
    };
    sink.error(&field.span, &field.path, message, format!("no such {what}"), help);
}

/// Each agent that waits for itself, by way of others.
fn circles(agents: &[Named], sink: &mut Sink) {
    let after: BTreeMap<&str, &[String]> =
        agents.iter().map(|agent| (agent.name.as_str(), agent.node.texts("after"))).collect();
    for agent in agents {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = agent.node.texts("after").iter().map(String::as_str).collect();
        while let Some(name) = next.pop() {
            if reached.insert(name) {
                next.extend(after.get(name).into_iter().copied().flatten().map(String::as_str));
            }
        }
        if reached.contains(agent.name.as_str())
            && let Some(field) = agent.node.given("after")
        {
            let message = format!("`{}`: agent {} waits for itself", field.path, agent.name);
            let help = "agents that wait for each other never start: take one out of `after`";
            sink.error(&field.span, &field.path, message, "a circle", help);
        }
    }
}

/// Whether USER or USER:GROUP names a user of this host, or a number. A user database that cannot be read
/// says nothing.
pub(super) fn is_known_user(text: &str) -> bool {
    let user = text.split(':').next().unwrap_or_default();
    user.parse::<u32>().is_ok() || !matches!(nix::unistd::User::from_name(user), Ok(None))
}

/// A warning and no error: the file may be checked on another host than the one that it is for.
fn user(agent: &Named, sink: &mut Sink) {
    let Some((field, text)) = agent.node.given("user").zip(agent.node.text("user")) else { return };
    if !is_known_user(text) {
        let message =
            format!("`{}`: there is no user \"{}\" on this host", field.path, shown(text));
        let help = "make the user before guardd starts the agent";
        sink.warning(&field.span, &field.path, message, "no such user here", help);
    }
}

fn state_paths(agent: &Named, state_dir: Option<&str>, sink: &mut Sink) {
    let Some(node) = agent.node.table("checkpoint") else { return };
    let Some(field) = node.given("paths") else { return };
    let paths: Vec<&Path> = node.texts("paths").iter().map(Path::new).collect();
    for (index, path) in paths.iter().enumerate() {
        let shown = path.display();
        let problem = if state_dir
            .is_some_and(|own| path.starts_with(own) || Path::new(own).starts_with(path))
        {
            Some(format!("{shown} and daemon.state_dir lie in each other: guard would save itself"))
        } else {
            let other = paths[..index].iter().find(|o| o.starts_with(path) || path.starts_with(o));
            other.map(|other| format!("{shown} and {} lie in each other", other.display()))
        };
        if let Some(problem) = problem {
            let message = format!("`{}`: {problem}", field.path);
            sink.error(&field.span, &field.path, message, "not possible", "name other paths");
        }
    }
}
