//! Schedules: names that must differ, and drill files that should be there. Whether a drill file is
//! right is not read here; guardd says so when it starts.

use std::collections::HashMap;
use std::path::Path;

use crate::config::diagnostic::Severity;
use crate::config::read::{Field, Node};
use crate::config::sink::Sink;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let mut first: HashMap<&str, &Field> = HashMap::new();
    for schedule in root.list("schedule") {
        drill_file(schedule, sink);
        let (Some(field), Some(name)) = (schedule.field("name"), schedule.text("name")) else {
            continue;
        };
        let Some(earlier) = first.get(name) else {
            first.insert(name, field);
            continue;
        };
        let message = format!("two schedules have the name `{name}`");
        let found = sink
            .make(Severity::Error, &field.span, &field.path, message)
            .label("again")
            .help("give each schedule a name of its own");
        sink.push(found.related(&earlier.span, "first here"));
    }
}

/// A warning and no error: the file may be checked on another host than the one that it is for.
fn drill_file(schedule: &Node, sink: &mut Sink) {
    let (Some(field), Some(path)) = (schedule.field("drill"), schedule.text("drill")) else {
        return;
    };
    if !Path::new(path).is_file() {
        let message = format!("`{}` is not there on this host", field.path);
        let help = "put the drill file there before the schedule's next time; guardctl check FILE \
                    says whether it is right";
        sink.warning(&field.span, &field.path, message, "no such file", help);
    }
}
