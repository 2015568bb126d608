//! No bulkhead has the cgroup of another, and none may match the patterns of two. One may lie inside
//! another, and so on, up to what the hooks remember of a socket.

use std::ops::Range;

use guard_common::abi::nesting::MAX_OUTER;

use crate::cgroup::WILDCARDS;
use crate::config::diagnostic::Severity;
use crate::config::read::{Named, Node};
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
    let mut patterns: Vec<(&Named, &str)> = Vec::new();
    for entry in root.named("bulkheads") {
        let field = entry.node.field("cgroup");
        // Its name is its cgroup only if the file says nothing else.
        if field.is_none() && (entry.node.wrong.contains(&"cgroup") || !sink.is_complete()) {
            continue;
        }
        // One with a pattern has a cgroup of its own besides, which bears its name.
        let (cgroup, field) = match entry.node.text("cgroup") {
            Some(pattern) if pattern.starts_with('/') => {
                patterns.push((entry, pattern));
                (entry.name.as_str(), None)
            }
            Some(cgroup) => (cgroup, field),
            None => (entry.name.as_str(), field),
        };
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
        if let Some(other) = outer.last().filter(|other| other.components == place.components) {
            report_same(other, place, sink);
        } else if outer.len() > MAX_OUTER {
            report_depth(&outer, place, sink);
        }
        outer.push(place);
    }
    for (index, (second, pattern)) in patterns.iter().enumerate() {
        for (first, other) in &patterns[..index] {
            if may_meet(pattern, other) {
                report_patterns(first, second, sink);
            }
        }
    }
}

/// Whether a cgroup that matches one may be, or lie inside, one that matches the other. What lies
/// below `daemon.cgroup_root` is compared by guardd, when a cgroup appears.
fn may_meet(one: &str, other: &str) -> bool {
    one.split('/').zip(other.split('/')).all(|(a, b)| may_be_same(a, b))
}

/// Of two patterns, what is before the first wildcard and behind the last must fit.
fn may_be_same(a: &str, b: &str) -> bool {
    match (a.contains(WILDCARDS), b.contains(WILDCARDS)) {
        (false, false) => a == b,
        (true, false) => glob::Pattern::new(a).is_ok_and(|pattern| pattern.matches(b)),
        (false, true) => may_be_same(b, a),
        (true, true) => {
            let head = |text| str::split(text, WILDCARDS).next().unwrap_or_default().to_owned();
            let tail =
                |text| str::rsplit(text, ['*', '?', ']']).next().unwrap_or_default().to_owned();
            let (head_a, head_b, tail_a, tail_b) = (head(a), head(b), tail(a), tail(b));
            (head_a.starts_with(&head_b) || head_b.starts_with(&head_a))
                && (tail_a.ends_with(&tail_b) || tail_b.ends_with(&tail_a))
        }
    }
}

fn report_patterns(first: &Named, second: &Named, sink: &mut Sink) {
    let span = |entry: &Named| {
        entry.node.field("cgroup").map_or(entry.name_span.clone(), |field| field.span.clone())
    };
    let text = |entry: &Named| format!("{:?}", entry.node.text("cgroup").unwrap_or_default());
    let message = format!(
        "a cgroup may belong to both bulkhead `{}` and bulkhead `{}`",
        first.name, second.name
    );
    let path = format!("{}.cgroup", second.node.path);
    let found = sink
        .make(Severity::Error, &span(second), &path, message)
        .label(text(second))
        .help("make the patterns so that no cgroup matches both, nor lies inside one that does")
        .related(&span(first), text(first));
    sink.push(found);
}

fn label(place: &Place<'_>) -> String {
    let default = if place.given { "" } else { " (its name, by default)" };
    format!("\"{}\"{default}", place.components.join("/"))
}

fn report_depth(outer: &[&Place<'_>], inner: &Place<'_>, sink: &mut Sink) {
    let names: Vec<_> = outer.iter().rev().map(|place| format!("`{}`", place.name)).collect();
    let message = format!(
        "bulkhead `{}` lies inside {} others: {}",
        inner.name,
        names.len(),
        names.join(" inside ")
    );
    let help = format!("{MAX_OUTER} bulkheads may lie around one; leave one out");
    let found = sink
        .make(Severity::Error, inner.span, &inner.path, message)
        .label(label(inner))
        .help(&help);
    sink.push(found);
}

fn report_same(one: &Place<'_>, other: &Place<'_>, sink: &mut Sink) {
    // The later one in the file is the one to change.
    let (second, first) =
        if other.span.start >= one.span.start { (other, one) } else { (one, other) };
    let message = format!("bulkheads `{}` and `{}` have the same cgroup", first.name, second.name);
    let help = "give each bulkhead a cgroup of its own, beside the other or inside it";
    let found = sink
        .make(Severity::Error, second.span, &second.path, message)
        .label(label(second))
        .help(help)
        .related(first.span, label(first));
    sink.push(found);
}

#[cfg(test)]
mod tests {
    use super::may_meet;

    #[test]
    fn patterns_that_may_meet() {
        for (a, b, meet) in [
            ("/system.slice/docker-*.scope", "/system.slice/docker-1.scope", true),
            ("/system.slice/docker-*.scope", "/system.slice/ssh.service", false),
            ("/system.slice/docker-*.scope", "/system.slice/docker-a*.scope", true),
            ("/system.slice/docker-*.scope", "/system.slice/libpod-*.scope", false),
            ("/system.slice/*.scope", "/system.slice/*.service", false),
            ("/system.slice", "/system.slice/docker-*.scope", true),
            ("/kubepods.slice/*", "/kubepods.slice/a.slice/cri-*.scope", true),
            ("/a/b", "/a/c", false),
        ] {
            assert_eq!((may_meet(a, b), may_meet(b, a)), (meet, meet), "{a} {b}");
        }
    }
}
