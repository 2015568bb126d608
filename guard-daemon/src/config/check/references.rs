//! Names of services and bulkheads that are used must be defined in the same file; names of
//! recovery rules must differ.

use std::collections::{BTreeSet, HashMap};

use crate::config::diagnostic::Severity;
use crate::config::read::{Field, Node, is_unit};
use crate::config::sink::Sink;
use crate::config::text::{shown, suggest};
use crate::plan::{NETWORK_ERROR, OTHER, RATE_LIMIT, VALIDATION_ERROR};

pub(super) fn check(root: &Node, sink: &mut Sink) {
    // With a part of the file unread, a name may well be defined in it.
    if sink.is_complete() {
        let services: BTreeSet<&str> =
            root.named("services").iter().map(|s| s.name.as_str()).chain([OTHER]).collect();
        let bulkheads: BTreeSet<&str> =
            root.named("bulkheads").iter().map(|b| b.name.as_str()).collect();
        of_bulkheads(root, &services, sink);
        let mut policies: BTreeSet<&str> =
            root.named("retry_policies").iter().map(|p| p.name.as_str()).collect();
        policies.extend([NETWORK_ERROR, RATE_LIMIT, VALIDATION_ERROR]);
        for rule in root.list("recovery") {
            rule_names(rule, &services, &bulkheads, sink);
            for step in rule.list("steps") {
                if let (Some(field), Some(name)) = (step.field("retry"), step.text("retry"))
                    && !policies.contains(name)
                {
                    let unknown = Unknown { what: "retry policy", name, known: &policies };
                    unknown.report(&field.span, &field.path, sink);
                }
            }
        }
    }
    unique_rules(root, sink);
}

/// What bulkheads say of single services.
fn of_bulkheads(root: &Node, services: &BTreeSet<&str>, sink: &mut Sink) {
    for bulkhead in root.named("bulkheads") {
        let tables = ["breaker", "limits", "timeouts"].map(|table| bulkhead.node.table(table));
        for entry in tables.into_iter().flatten().flat_map(|table| table.named("services")) {
            if !services.contains(entry.name.as_str()) {
                let unknown = Unknown { what: "service", name: &entry.name, known: services };
                unknown.report(&entry.name_span, &entry.node.path, sink);
            }
        }
        for budget in bulkhead.node.list("budgets") {
            let Some(field) = budget.field("services") else { continue };
            for name in budget.texts("services") {
                if !services.contains(name.as_str()) {
                    let unknown = Unknown { what: "service", name, known: services };
                    unknown.report(&field.span, &field.path, sink);
                }
            }
        }
    }
}

fn rule_names(rule: &Node, services: &BTreeSet<&str>, bulkheads: &BTreeSet<&str>, sink: &mut Sink) {
    if let Some(when) = rule.table("when") {
        for (key, what, known) in
            [("bulkhead", "bulkhead", bulkheads), ("service", "service", services)]
        {
            if let (Some(field), Some(name)) = (when.field(key), when.text(key))
                && !known.contains(name)
            {
                Unknown { what, name, known }.report(&field.span, &field.path, sink);
            }
        }
    }
    for step in rule.list("steps") {
        if let (Some(field), Some(name)) = (step.field("restart"), step.text("restart"))
            && !bulkheads.contains(name)
            && !is_unit(name)
        {
            let unknown = Unknown { what: "bulkhead", name, known: bulkheads };
            unknown.report(&field.span, &field.path, sink);
        }
    }
}

struct Unknown<'a> {
    what: &'a str,
    name: &'a str,
    known: &'a BTreeSet<&'a str>,
}

impl Unknown<'_> {
    fn report(&self, span: &std::ops::Range<usize>, path: &str, sink: &mut Sink) {
        const MOST_LISTED: usize = 12;
        let what = self.what;
        let near = match suggest::nearest(self.name, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? "),
            None => String::new(),
        };
        let listed: Vec<&str> = self.known.iter().copied().take(MOST_LISTED).collect();
        let more = if self.known.len() > MOST_LISTED { ", ..." } else { "" };
        let help = if listed.is_empty() {
            format!("no {what} is defined: add [{what}s.{}]", shown(self.name))
        } else {
            format!("{near}defined: {}{more}", listed.join(", "))
        };
        let message = format!("`{path}`: there is no {what} `{}`", shown(self.name));
        sink.error(span, path, message, format!("unknown {what}"), help);
    }
}

fn unique_rules(root: &Node, sink: &mut Sink) {
    let mut first: HashMap<&str, &Field> = HashMap::new();
    for rule in root.list("recovery") {
        let (Some(field), Some(name)) = (rule.field("name"), rule.text("name")) else { continue };
        let Some(earlier) = first.get(name) else {
            first.insert(name, field);
            continue;
        };
        let message = format!("two recovery rules have the name `{name}`");
        let found = sink
            .make(Severity::Error, &field.span, &field.path, message)
            .label("again")
            .help("give each rule a name of its own");
        sink.push(found.related(&earlier.span, "first here"));
    }
}
