//! Each endpoint belongs to one service, once. A network inside another is fine: the longer
//! prefix wins.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;
use crate::config::text::endpoint::display;
use crate::plan::Endpoint;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let mut all: Vec<(&Range<usize>, &Endpoint, &str, String)> = Vec::new();
    for service in root.named("services") {
        for (span, endpoint) in service.node.endpoints("endpoints") {
            let path = format!("{}.endpoints", service.node.path);
            all.push((span, endpoint, service.name.as_str(), path));
        }
    }
    // In the order of the file, so that the second is the one that is wrong.
    all.sort_by_key(|(span, ..)| span.start);
    let mut first: HashMap<&Endpoint, (&Range<usize>, &str)> = HashMap::new();
    for (span, endpoint, service, path) in &all {
        let Some((first_span, first_service)) = first.get(endpoint) else {
            first.insert(endpoint, (span, service));
            continue;
        };
        let shown = display(endpoint);
        let (message, help) = if first_service == service {
            (
                format!("endpoint \"{shown}\" is listed twice in service `{service}`"),
                "remove one of the two",
            )
        } else {
            (
                format!(
                    "endpoint \"{shown}\" is in service `{first_service}` and in service `{service}`"
                ),
                "a destination belongs to one service: remove it from one of the two",
            )
        };
        let found = sink.make(Severity::Error, span, path, message).label("again").help(help);
        sink.push(found.related(first_span, "first here"));
    }
}
