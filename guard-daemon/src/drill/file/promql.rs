//! What PromQL expressions have in common, as probes and as abort conditions. An expression itself is
//! only read by Prometheus; nothing is asked here.

use std::time::Duration;

use crate::config::{Node, Severity, Sink};
use crate::drill::spec::Query;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The query of an entry; `None` after an error was reported.
pub(super) fn query(node: &Node) -> Option<Query> {
    Some(Query {
        prometheus: node.text("prometheus")?.trim_end_matches('/').to_owned(),
        promql: node.text("promql")?.to_owned(),
        timeout: node.duration("timeout").unwrap_or(TIMEOUT),
    })
}

/// The bounds of an entry, by the names of their keys, and the form of the server's URL.
pub(super) fn check(node: &Node, low: &str, high: &str, sink: &mut Sink) {
    if let Some(field) = node.given("prometheus")
        && node.text("prometheus").is_some_and(|url| url.contains('?'))
    {
        let message = format!("`{}` has a query", field.path);
        let help = "write the server alone, such as \"http://127.0.0.1:9090\"; guardctl adds \
                    `/api/v1/query?query=...`";
        sink.error(&field.span, &field.path, message, "nothing may follow a `?`", help);
    }
    if !node.names(low) && !node.names(high) && sink.is_complete() {
        let at = node.given("promql").map_or(&node.span, |field| &field.span);
        let message = format!("`{}.promql` has no bound", node.path);
        let help = format!("add `{low} = 1` or `{high} = 10`, or both");
        sink.error(at, &node.path, message, "compared with nothing", help);
    }
    let (Some(low_value), Some(high_value)) = (node.number(low), node.number(high)) else { return };
    if low_value > high_value
        && let (Some(low_field), Some(high_field)) = (node.given(low), node.given(high))
    {
        let message =
            format!("`{}` is {high_value}, less than `{low}`, {low_value}", high_field.path);
        let found = sink
            .make(Severity::Error, &high_field.span, &high_field.path, message)
            .label(format!("must be at least {low_value}"))
            .help("no value is within these bounds: exchange them, or leave one out");
        sink.push(found.related(&low_field.span, "the lower bound"));
    }
}
