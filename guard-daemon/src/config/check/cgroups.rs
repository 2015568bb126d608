//! Bulkheads are separate: none has the cgroup of another, or one inside it.

use std::ops::Range;

use crate::config::diagnostic::Severity;
use crate::config::read::Node;
use crate::config::sink::Sink;

struct Place<'a> {
    components: Vec<&'a str>,
    name: &'a str,
    path: String,
    span: &'a Range<usize>,
    given: bool,
}

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let mut places: Vec<Place<'_>> = Vec::new();
    for entry in root.named("bulkheads") {
        let field = entry.node.field("cgroup");
        // Its name is its cgroup only if the file says nothing else.
        if field.is_none() && (entry.node.wrong.contains(&"cgroup") || !sink.is_complete()) {
            continue;
        }
        let cgroup = entry.node.text("cgroup").unwrap_or(&entry.name);
        places.push(Place {
            components: cgroup.split('/').collect(),
            name: &entry.name,
            path: format!("{}.cgroup", entry.node.path),
            span: field.map_or(&entry.name_span, |f| &f.span),
            given: field.is_some(),
        });
    }
    // Sorted by components, whatever lies inside a cgroup follows it without a gap.
    places.sort_by(|a, b| a.components.cmp(&b.components));
    let mut outer: Vec<&Place<'_>> = Vec::new();
    for place in &places {
        while outer.last().is_some_and(|o| !place.components.starts_with(&o.components)) {
            outer.pop();
        }
        if let Some(other) = outer.last() {
            report(other, place, sink);
        }
        outer.push(place);
    }
}

fn report(outer: &Place<'_>, inner: &Place<'_>, sink: &mut Sink) {
    // The later one in the file is the one to change.
    let (second, first) =
        if inner.span.start >= outer.span.start { (inner, outer) } else { (outer, inner) };
    let message = if outer.components == inner.components {
        format!("bulkheads `{}` and `{}` have the same cgroup", first.name, second.name)
    } else {
        format!(
            "the cgroup of bulkhead `{}` lies inside that of bulkhead `{}`",
            inner.name, outer.name
        )
    };
    let label = |place: &Place<'_>| {
        let default = if place.given { "" } else { " (its name, by default)" };
        format!("\"{}\"{default}", place.components.join("/"))
    };
    let help = "give each bulkhead a directory of its own, side by side";
    let found = sink
        .make(Severity::Error, second.span, &second.path, message)
        .label(label(second))
        .help(help)
        .related(first.span, label(first));
    sink.push(found);
}
