//! The effects of one `[[fault]]`: each becomes the part of a request that says what happens. Whose
//! traffic and when is for others.

use std::ops::Range;

use crate::config::text::duration::format as show;
use crate::config::{Node, Severity, Sink};
use crate::control::api::FaultRequest;
use crate::fault::impossible_burst;

/// One effect.
#[derive(Debug)]
pub(super) struct Effect {
    /// What happens; all else is as by default.
    pub(super) request: FaultRequest,
    /// `fault[0].latency`.
    pub(super) path: String,
    /// Its value in the file.
    pub(super) span: Range<usize>,
}

/// A reader of one effect's table.
type Reader = fn(&Node, &mut Sink) -> Option<FaultRequest>;

/// The effects that are tables.
const TABLES: [(&str, Reader); 7] = [
    ("latency", latency),
    ("loss", loss),
    ("refuse", refuse),
    ("reset", reset),
    ("bandwidth", bandwidth),
    ("corrupt", impossible),
    ("duplicate", impossible),
];
/// The effect that is a flag.
const BLACKHOLE: &str = "blackhole";
/// The effect that is a word.
const DNS: &str = "dns";

/// All effects of a fault, and an error if there is none; those with an error are left out.
pub(super) fn read(node: &Node, sink: &mut Sink) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut is_empty =
        !node.flag(BLACKHOLE) && !node.wrong.contains(&BLACKHOLE) && !node.names(DNS);
    for (key, read) in TABLES {
        is_empty &= !node.names(key);
        // A table that is absent is read as an empty one.
        let (Some(field), Some(table)) = (node.given(key), node.table(key)) else { continue };
        let Some(request) = read(table, sink) else { continue };
        effects.push(Effect { request, path: field.path.clone(), span: field.span.clone() });
    }
    if let Some(field) = node.given(BLACKHOLE).filter(|_| node.flag(BLACKHOLE)) {
        let request = FaultRequest { loss_percent: Some(100.0), ..FaultRequest::default() };
        effects.push(Effect { request, path: field.path.clone(), span: field.span.clone() });
    }
    if let (Some(field), Some(word)) = (node.given(DNS), node.text(DNS)) {
        let request = FaultRequest { dns: Some(word.to_owned()), ..FaultRequest::default() };
        effects.push(Effect { request, path: field.path.clone(), span: field.span.clone() });
    }
    if is_empty && sink.is_complete() {
        let message = format!("`{}` has no effect", node.path);
        let help = "add at least one of latency, loss, refuse, reset, bandwidth, dns and blackhole, such as `latency = { \
                    delay = \"300ms\" }`";
        sink.error(&node.span, &node.path, message, "nothing would happen", help);
    }
    effects
}

fn latency(table: &Node, sink: &mut Sink) -> Option<FaultRequest> {
    let (delay, jitter) = (table.duration("delay"), table.duration("jitter"));
    if let (Some(field), Some(at)) = (table.field("jitter"), table.field("delay"))
        && let (Some(delay), Some(jitter)) = (delay, jitter)
        && jitter > delay
    {
        let message = format!("`{}` is longer than `delay`", field.path);
        let help = format!(
            "a packet cannot be early: lower `jitter` to {} or less, or raise `delay`",
            show(delay)
        );
        let found = sink
            .make(Severity::Error, &field.span, &field.path, message)
            .label(format!("must be at most {}", show(delay)))
            .help(help)
            .related(&at.span, format!("`delay` is {}", show(delay)));
        sink.push(found);
    }
    let distribution = table.given("distribution");
    if let Some(field) = distribution
        && jitter.is_some_and(|jitter| jitter.is_zero())
        && sink.is_complete()
    {
        let message = format!("`{}` goes with a jitter only", field.path);
        let help = "it says how the jitter is spread: add `jitter = \"50ms\"`, or leave it out";
        sink.error(&field.span, &field.path, message, "nothing to spread", help);
    }
    Some(FaultRequest {
        latency_seconds: Some(delay?.as_secs_f64()),
        jitter_seconds: jitter
            .filter(|jitter| !jitter.is_zero())
            .map(|jitter| jitter.as_secs_f64()),
        distribution: distribution.and_then(|_| table.text("distribution")).map(str::to_owned),
        latency_per: table.given("per").and_then(|_| table.text("per")).map(str::to_owned),
        ..FaultRequest::default()
    })
}

fn loss(table: &Node, sink: &mut Sink) -> Option<FaultRequest> {
    let (percent, burst) = (table.number("percent")?, table.number("burst"));
    if let (Some(field), Some(length)) = (table.field("burst"), burst)
        && let Some(problem) = impossible_burst(percent, length)
    {
        let message = format!("`{}` is too short for the loss: {problem}", field.path);
        let help = "raise `burst`, lower `percent`, or leave `burst` out";
        sink.error(&field.span, &field.path, message, "too short", help);
    }
    Some(FaultRequest { loss_percent: Some(percent), loss_burst: burst, ..FaultRequest::default() })
}

fn reset(table: &Node, _: &mut Sink) -> Option<FaultRequest> {
    Some(FaultRequest { reset_percent: Some(table.number("percent")?), ..FaultRequest::default() })
}

fn bandwidth(table: &Node, _: &mut Sink) -> Option<FaultRequest> {
    let bandwidth_bits_per_second = Some(table.integer("rate")?);
    Some(FaultRequest { bandwidth_bits_per_second, ..FaultRequest::default() })
}

/// An effect that no engine has: better said than left out.
fn impossible(table: &Node, sink: &mut Sink) -> Option<FaultRequest> {
    let (label, help) = if table.path.ends_with("corrupt") {
        (
            "no engine can damage packets",
            "a damaged packet fails its checksum and is lost: write `loss = { percent = … }`",
        )
    } else {
        (
            "no engine can double packets",
            "leave it out: TCP drops the second one unseen, so no agent would notice",
        )
    };
    let message = format!("`{}` is not possible here", table.path);
    sink.error(&table.span, &table.path, message, label, help);
    None
}

fn refuse(table: &Node, _: &mut Sink) -> Option<FaultRequest> {
    Some(FaultRequest {
        refuse_percent: Some(table.number("percent")?),
        errno: Some(table.text("errno")?.to_owned()),
        ..FaultRequest::default()
    })
}
