//! Rules and agents whose parts do not fit together, or that would do nothing.

use std::collections::BTreeMap;

use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;
use crate::config::text::shown;

/// Steps that need a bulkhead to act on.
const OF_BULKHEAD: [&str; 7] =
    ["freeze", "thaw", "memory_high", "signal", "checkpoint", "restore", "end_call"];

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let reaches = root.table("notify").is_some_and(|n| n.names("exec") || n.names("http"));
    for rule in root.list("recovery") {
        for step in rule.list("steps") {
            let Some(field) = step.fields.iter().find(|field| field.given) else { continue };
            let warn = |sink: &mut Sink, message: String, help: &str| {
                let found = sink.make(Severity::Warning, &field.span, &field.path, message);
                sink.push(found.help(help));
            };
            match field.key.name {
                "notify" if !reaches => warn(
                    sink,
                    format!("`{}` tells only the log and the events", field.path),
                    "add [notify] with `exec` or `http`, so that a person is called",
                ),
                "fallback" => warn(
                    sink,
                    format!("`{}` does nothing: this version has no fallback yet", field.path),
                    "remove the step, or switch by an `exec` step of your own",
                ),
                name if OF_BULKHEAD.contains(&name)
                    && rule.table("when").is_some_and(|when| !when.names("bulkhead")) =>
                {
                    warn(
                        sink,
                        format!("`{}` may act on any bulkhead", field.path),
                        "name `when.bulkhead`, so that nobody else's processes are touched",
                    );
                }
                _ => {}
            }
        }
        if rule.flag("allow_repeat")
            && let Some(field) = rule.given("allow_repeat")
            && rule.table("when").is_some_and(|w| !w.names("bulkhead") && !w.names("service"))
        {
            let message = format!("`{}` acts only where `when` names whom", field.path);
            let help = "name `when.bulkhead` or `when.service`";
            sink.error(&field.span, &field.path, message, "for everybody", help);
        }
    }
    agents(root, sink);
}

fn agents(root: &Node, sink: &mut Sink) {
    let names: Vec<&str> = root.named("agents").iter().map(|agent| agent.name.as_str()).collect();
    let bulkheads: Vec<&str> = root.named("bulkheads").iter().map(|b| b.name.as_str()).collect();
    let state_dir = root.table("daemon").and_then(|daemon| daemon.text("state_dir")).unwrap_or("/");
    for agent in root.named("agents") {
        let node = &agent.node;
        let bulkhead = node.text("bulkhead").unwrap_or(&agent.name);
        if sink.is_complete() && !bulkheads.contains(&bulkhead) {
            let message = format!("`{}`: there is no bulkhead `{}`", node.path, shown(bulkhead));
            let help =
                format!("add [bulkheads.{}], or name another with `bulkhead`", shown(bulkhead));
            sink.error(&node.span, &node.path, message, "unknown bulkhead", help);
        }
        if let Some(field) = node.field("after") {
            for other in node.texts("after") {
                if !names.contains(&other.as_str()) {
                    let message = format!("`{}`: there is no agent `{}`", field.path, shown(other));
                    let help = format!("defined: {}", names.join(", "));
                    sink.error(&field.span, &field.path, message, "unknown agent", help);
                }
            }
        }
        let Some(checkpoint) = node.table("checkpoint") else { continue };
        for path in checkpoint.texts("paths") {
            if std::path::Path::new(state_dir).starts_with(path)
                || std::path::Path::new(path).starts_with(state_dir)
            {
                let message = format!(
                    "`{}`: {path} and guard's own state lie in one another",
                    checkpoint.path
                );
                let help = "keep the agent's state outside of daemon.state_dir";
                sink.error(&checkpoint.span, &checkpoint.path, message, "guard's own", help);
            }
        }
    }
    cycle(root, sink);
}

/// Who waits for whom must end somewhere.
fn cycle(root: &Node, sink: &mut Sink) {
    let after: BTreeMap<&str, &[String]> = root
        .named("agents")
        .iter()
        .map(|agent| (agent.name.as_str(), agent.node.texts("after")))
        .collect();
    let mut done: Vec<&str> = Vec::new();
    while let Some(next) = after.iter().find(|(name, waits)| {
        !done.contains(name)
            && waits.iter().all(|w| done.contains(&w.as_str()) || !after.contains_key(w.as_str()))
    }) {
        done.push(next.0);
    }
    let stuck = root.named("agents").iter().find(|agent| !done.contains(&agent.name.as_str()));
    if let Some(agent) = stuck
        && let Some(field) = agent.node.field("after")
    {
        let message = format!("`{}`: these agents wait for one another", field.path);
        let help = "take one of them out of `after`";
        sink.error(&field.span, &field.path, message, "in a circle", help);
    }
}
