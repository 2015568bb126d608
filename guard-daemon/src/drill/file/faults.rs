//! `[[fault]]`: whose traffic, when, and one rule for each effect.

use std::ops::Range;
use std::time::Duration;

use super::{effects, limits, overlaps, pairs};
use crate::config::text::duration::format as show;
use crate::config::{Node, Severity, Sink};
use crate::control::api::FaultRequest;
use crate::drill::spec::Pairs;
use crate::fault;

/// One effect of a fault, and where it is in the file.
#[derive(Debug)]
pub(super) struct Rule {
    /// What guardd is asked for.
    pub(super) request: FaultRequest,
    /// From the beginning of the drill's `duration`.
    pub(super) start: Duration,
    /// From there too; not before `start`.
    pub(super) end: Duration,
    /// `fault[0].latency`.
    pub(super) path: String,
    /// Its value in the file.
    pub(super) span: Range<usize>,
}

/// All faults; those with an error are left out.
pub(super) fn read(root: &Node, sink: &mut Sink) -> Vec<FaultRequest> {
    let mut rules = Vec::new();
    for node in root.list("fault") {
        let (target, times) = (target(node, sink), times(node, root, sink));
        let effects = effects::read(node, sink);
        let pulse =
            |part| node.table("pulse").and_then(|p| p.duration(part)).map(|d| d.as_secs_f64());
        if let Some(field) = node.given("direction")
            && !effects.is_empty()
            && !effects.iter().any(|effect| has_direction(&effect.request))
        {
            let message = format!("`{}` goes with loss, blackhole and bandwidth only", field.path);
            let help = "leave it out: the other effects have one way each";
            sink.error(&field.span, &field.path, message, "no effect has a direction", help);
        }
        let (Some(target), Some((start, end))) = (target, times) else { continue };
        let word = |key| node.given(key).and_then(|_| node.text(key)).map(str::to_owned);
        let share = node.table("share");
        for effect in effects {
            let request = FaultRequest {
                bulkhead: target.bulkhead.clone(),
                service: target.service.clone(),
                duration_seconds: end.saturating_sub(start).as_secs_f64(),
                start_after_seconds: start.as_secs_f64(),
                pulse_on_seconds: pulse("on"),
                pulse_off_seconds: pulse("off"),
                direction: word("direction").filter(|_| has_direction(&effect.request)),
                connections: word("connections"),
                share_of: share.and_then(|share| share.text("of")).map(str::to_owned),
                share_percent: share.and_then(|share| share.number("percent")),
                unsafe_all: target.service.is_none() && node.flag("unsafe"),
                ..effect.request
            };
            if let Some(problem) = fault::problem(&request).filter(|_| !sink.has_errors()) {
                let message = format!("`{}` cannot be: {problem}", effect.path);
                sink.error(&effect.span, &effect.path, message, "cannot be", EXPLAIN);
                continue;
            }
            rules.push(Rule { request, start, end, path: effect.path, span: effect.span });
        }
    }
    // In a file that was read in part, a fault may be longer, or be about more, than it is meant to.
    if sink.is_complete() && limits::check(&rules, sink) {
        overlaps::check(&rules, sink);
    }
    rules.into_iter().map(|rule| rule.request).collect()
}

/// Whose traffic. Every service of a bulkhead must be asked for by name: it is mostly a slip.
fn target(node: &Node, sink: &mut Sink) -> Option<Pairs> {
    let is_wrong = |key| node.wrong.contains(&key);
    match (node.given("service"), node.field("unsafe")) {
        (Some(_), Some(field)) if node.flag("unsafe") => {
            let message = format!("`{}` has no effect: the fault names a service", field.path);
            let help = "leave one of the two out: `service` for that service alone, `unsafe` for every \
                        service of the bulkhead";
            sink.warning(&field.span, &field.path, message, "no effect", help);
        }
        (None, _)
            if !node.flag("unsafe")
                && !is_wrong("service")
                && !is_wrong("unsafe")
                && !is_about_names_only(node)
                && sink.is_complete() =>
        {
            let message = format!("`{}` is a fault on every service of the bulkhead", node.path);
            let help = "add `service = \"github\"` to hit just that, or `unsafe = true` if every service \
                        is meant";
            sink.error(&node.span, &node.path, message, "no `service`", help);
        }
        _ => {}
    }
    if is_wrong("service") { None } else { pairs(node) }
}

const EXPLAIN: &str = "guardctl explain drill.fault says what goes with what";

/// Whether an effect may be one way only.
fn has_direction(request: &FaultRequest) -> bool {
    request.loss_percent.is_some() || request.bandwidth_bits_per_second.is_some()
}

/// Whether name queries are all that a fault is about: those are few and meant, whoever answers them.
fn is_about_names_only(node: &Node) -> bool {
    let others =
        ["latency", "loss", "refuse", "reset", "bandwidth", "blackhole", "corrupt", "duplicate"];
    node.names("dns") && !others.iter().any(|key| node.names(key))
}

/// Start and end; `None` after an error. Without an end of the drill, that is a later error's matter.
fn times(node: &Node, root: &Node, sink: &mut Sink) -> Option<(Duration, Duration)> {
    let start = node.duration("start")?;
    if node.wrong.contains(&"duration") {
        return None;
    }
    let length = node.duration("duration");
    let Some(whole) = root.field("duration") else {
        return Some((start, length.map_or(Duration::MAX, |length| start.saturating_add(length))));
    };
    let total = root.duration("duration")?;
    let end = length.map_or(total, |length| start.saturating_add(length));
    let (key, message, label, help) = if start >= total {
        let message = "is not before the end of the drill";
        let label = format!("must be shorter than {}", show(total));
        let help = format!(
            "the drill's `duration` is {}: start the fault earlier, or lengthen the drill",
            show(total)
        );
        ("start", message, label, help)
    } else if end > total {
        let label = format!("must be at most {}", show(total.saturating_sub(start)));
        let help = format!(
            "the fault would end at {}, but the drill's `duration` is {}: shorten the fault, leave \
             its `duration` out, or lengthen the drill",
            show(end),
            show(total)
        );
        ("duration", "goes beyond the end of the drill", label, help)
    } else {
        return Some((start, end));
    };
    let field = node.field(key)?;
    let message = format!("`{}` {message}", field.path);
    let found = sink
        .make(Severity::Error, &field.span, &field.path, message)
        .label(label)
        .help(help)
        .related(&whole.span, format!("the drill lasts {}", show(total)));
    sink.push(found);
    None
}
