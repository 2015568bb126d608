//! Rules whose parts do not fit together, or that would do nothing.

use super::agents::is_known_user;
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
            let Some(field) = step.action() else { continue };
            if let (Some(user), Some(text)) = (step.given("user"), step.text("user")) {
                let (path, span) = (&user.path, &user.span);
                if !["exec", "clear_cache"].contains(&field.key.name) {
                    let message = format!("`{path}` says nothing to `{}`", field.key.name);
                    let help = "only the commands of `exec` and `clear_cache` run as a user";
                    sink.error(span, path, message, "no command runs", help);
                } else if !is_known_user(text) {
                    let message =
                        format!("`{path}`: there is no user \"{}\" on this host", shown(text));
                    let help = "make the user first, or name one that there is";
                    sink.error(span, path, message, "no such user", help);
                }
            }
            let inner = step.table(field.key.name).and_then(|options| options.given("timeout"));
            if let (Some(inner), Some(beside)) = (inner, step.given("timeout")) {
                let message = format!("`{}` is given twice", beside.path);
                let found = sink.make(Severity::Error, &beside.span, &beside.path, message);
                let found = found.label("again").help("say it once: beside the step, or in it");
                sink.push(found.related(&inner.span, "first here"));
            }
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
            let found = sink.make(Severity::Warning, &field.span, &field.path, message);
            sink.push(found.help("name `when.bulkhead` or `when.service`"));
        }
    }
}
