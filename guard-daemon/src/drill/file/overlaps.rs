//! Effects on the same traffic at the same time: some cannot both be true, and some do more together
//! than each of them says.

use std::time::Duration;

use super::faults::Rule;
use crate::config::text::duration::format as show;
use crate::config::{Severity, Sink};

/// What a rule does, as far as others matter to it.
#[derive(Clone, Copy, Debug)]
enum What<'r> {
    /// Loses every packet, so that nothing else can happen.
    LosesAll,
    Loses,
    Delays(Duration),
    Refuses(&'r str),
    FailsNames(&'r str),
    Other,
}

/// Looks at each rule with each.
pub(super) fn check(rules: &[Rule], sink: &mut Sink) {
    for (index, second) in rules.iter().enumerate() {
        for first in rules.iter().take(index).filter(|first| meet(first, second)) {
            report(first, second, sink);
        }
    }
}

/// Whether there is traffic and a time that both are about. A pulse counts as if it never rested:
/// two that never act at once would do so when one of them is changed a little.
fn meet(a: &Rule, b: &Rule) -> bool {
    let (of_a, of_b) = (&a.request.service, &b.request.service);
    a.request.bulkhead == b.request.bulkhead
        // Name queries are a world of their own.
        && a.request.dns.is_some() == b.request.dns.is_some()
        && (of_a.is_none() || of_b.is_none() || of_a == of_b)
        && a.start < b.end
        && b.start < a.end
}

fn what(rule: &Rule) -> What<'_> {
    let request = &rule.request;
    let whole = request.share_of.is_none()
        && request.connections.as_deref() != Some("new")
        && matches!(request.direction.as_deref(), None | Some("both"));
    if let Some(percent) = request.loss_percent {
        return if percent >= 100.0 && whole { What::LosesAll } else { What::Loses };
    }
    if let Some(seconds) = request.latency_seconds {
        return What::Delays(Duration::from_secs_f64(seconds));
    }
    if let Some(how) = request.dns.as_deref() {
        return What::FailsNames(how);
    }
    match request.refuse_percent {
        Some(_) => What::Refuses(request.errno.as_deref().unwrap_or_default()),
        None => What::Other,
    }
}

fn report(first: &Rule, second: &Rule, sink: &mut Sink) {
    let (of_first, of_second) = (what(first), what(second));
    let contradict = "contradict each other: they are on the same traffic at the same time";
    let (severity, message, help) = match (of_first, of_second) {
        (What::LosesAll, _) | (_, What::LosesAll) => (
            Severity::Error,
            contradict,
            "where every packet is lost nothing else can happen: remove one, or let it end before the \
             other begins",
        ),
        (What::Refuses(a), What::Refuses(b)) if a != b => (
            Severity::Error,
            contradict,
            "a connect fails with one errno: use the same in both, or let one end before the other \
             begins",
        ),
        (What::FailsNames(a), What::FailsNames(b)) if a != b => (
            Severity::Error,
            contradict,
            "a name query fails one way: use the same in both, or let one end before the other begins",
        ),
        (What::Delays(_), What::Delays(_)) => (
            Severity::Warning,
            "add up: they are on the same traffic at the same time",
            "where packets are held by departure times each is held for both, and where they are held by \
             NFQUEUE guardd will refuse this (guardctl drill run --dry-run): remove one, or let it end \
             before the other begins",
        ),
        _ => return,
    };
    let message = format!("`{}` and `{}` {message}", first.path, second.path);
    let found = sink
        .make(severity, &second.span, &second.path, message)
        .label(label(of_second))
        .help(help)
        .related(&first.span, label(of_first));
    sink.push(found);
}

/// A few words to put under a rule.
fn label(what: What<'_>) -> String {
    match what {
        What::LosesAll => "loses every packet".into(),
        What::Loses => "loses some packets".into(),
        What::Delays(delay) => format!("delays by {}", show(delay)),
        What::Refuses(errno) => format!("refuses with {errno}"),
        What::FailsNames(how) => format!("name queries: {how}"),
        What::Other => "acts".into(),
    }
}
