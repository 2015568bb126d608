//! `guardctl events`: one line each, in an order that does not change, so that a stream and a
//! list look the same.

use jiff::Timestamp;

use super::look::{Look, Tone};
use super::text::{clean, count, cut, duration};
use crate::control::api::{EventRecord, Events};

/// Wide enough for most kinds.
const KIND_WIDTH: usize = 14;

/// A list, and what is missing in it.
pub(in crate::ctl) fn events(answer: &Events, look: &Look) -> String {
    if answer.events.is_empty() {
        return format!("no events{}\n", lost(answer));
    }
    let mut page: String = answer.events.iter().map(|record| event(record, look)).collect();
    if answer.lost > 0 {
        page.push_str(&format!("{}{}\n", look.paint(Tone::Odd, "!"), lost(answer)));
    }
    page
}

fn lost(answer: &Events) -> String {
    match answer.lost {
        0 => String::new(),
        lost => format!(" {} kernel events did not fit into the ring buffer", count(lost)),
    }
}

/// One line. Single spaces, because the parts tell themselves apart and room is short; what is
/// said last is cut first.
pub(in crate::ctl) fn event(event: &EventRecord, look: &Look) -> String {
    let mut parts = Vec::new();
    match (event.bulkhead.as_str(), event.service.as_str()) {
        ("", "") => {}
        (bulkhead, "") => parts.push(bulkhead.to_owned()),
        ("", service) => parts.push(format!("*/{service}")),
        (bulkhead, service) => parts.push(format!("{bulkhead}/{service}")),
    }
    match (event.outcome.as_str(), event.origin.as_str(), event.fault) {
        ("", _, None) => {}
        ("", _, Some(fault)) => parts.push(format!("fault {fault}")),
        (outcome, _, Some(fault)) => parts.push(format!("{outcome} by fault {fault}")),
        (outcome, "injected", None) => parts.push(format!("{outcome} (injected)")),
        (outcome, _, None) => parts.push(outcome.to_owned()),
    }
    if !event.peer.is_empty() {
        parts.push(event.peer.clone());
    }
    parts.extend(event.seconds.map(duration));
    parts.extend(event.pid.map(|pid| format!("pid {pid}")));
    if !event.message.is_empty() {
        parts.push(event.message.clone());
    }
    let (time, kind) = (short_time(&event.time), clean(&event.kind));
    let room = look.width.saturating_sub(time.chars().count() + 2);
    let padding = " ".repeat(KIND_WIDTH.saturating_sub(kind.chars().count()));
    let rest = clean(&parts.join(" "));
    let line = cut(format!("{kind}{padding}  {rest}").trim_end(), room);
    // The kind is painted last, so that colours are not counted as columns.
    match line.strip_prefix(kind.as_str()) {
        Some(rest) => format!("{time}  {}{rest}\n", look.paint(tone(event), &kind)),
        None => format!("{time}  {line}\n"),
    }
}

/// Month to second, UTC; the year and the fraction are in `--json`.
fn short_time(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%m-%d %H:%M:%S").to_string(),
        Err(_) => clean(time),
    }
}

fn tone(event: &EventRecord) -> Tone {
    if event.origin == "injected" || event.kind.starts_with("fault") || event.kind == "halted" {
        Tone::Odd
    } else if event.kind.ends_with("failed") {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    fn record(fields: &str) -> EventRecord {
        let text = format!(r#"{{"seq":1,"time":"2026-01-02T03:04:05.678Z",{fields}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn one_line_each() {
        let answer = Events {
            schema: "guard.events/1".into(),
            events: vec![
                record(
                    r#""kind":"connect_failed","bulkhead":"research","service":"github",
                    "outcome":"refused","origin":"injected","peer":"127.0.0.1:443","pid":4711,
                    "seconds":0.0004,"fault":3"#,
                ),
                record(r#""kind":"halted","message":"real incident""#),
                record(
                    r#""kind":"call_failed","bulkhead":"b","outcome":"reset","origin":"real",
                    "message":"a message that goes on and on until nobody would want to read it any more""#,
                ),
            ],
            lost: 1204,
        };
        insta::assert_snapshot!(events(&answer, &plain()), @"
    01-02 03:04:05  connect_failed  research/github refused by fault 3 127.0.0.1:443 400us pid 4711
    01-02 03:04:05  halted          real incident
    01-02 03:04:05  call_failed     b reset a message that goes on and on until nobody would want...
    ! 1 204 kernel events did not fit into the ring buffer
    ");
    }

    #[test]
    fn none() {
        let answer = Events { schema: "guard.events/1".into(), events: vec![], lost: 0 };
        assert_eq!(events(&answer, &plain()), "no events\n");
    }

    #[test]
    fn colour_is_on_the_kind_only() {
        let line = event(&record(r#""kind":"call_failed""#), &Look { color: true, ..plain() });
        assert_eq!(line, "01-02 03:04:05  \u{1b}[31;1mcall_failed\u{1b}[0m\n");
    }
}
