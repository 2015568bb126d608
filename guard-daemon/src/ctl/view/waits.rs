//! `guardctl waits`: who waits for what, since when, one line per hanging call, longest first,
//! and what it means.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{bytes, clean, counted, duration, wrap};
use crate::control::api::{Wait, Waits};

const INDENT: usize = 4;

/// All hanging calls. Where amounts and verdict have no room in the line, they get one of their
/// own below it.
pub(in crate::ctl) fn waits(answer: &Waits, look: &Look) -> String {
    let mut sorted: Vec<&Wait> = answer.waits.iter().collect();
    sorted.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let mut table = Table::new(&[
        Column::Words(""),
        Column::Words(""),
        Column::Words(""),
        Column::Words(""),
        Column::Figures(""),
        Column::Whole(""),
    ]);
    for wait in &sorted {
        table.row(cells(wait));
    }
    let mut page = String::new();
    if sorted.is_empty() {
        page.push_str("no hanging calls\n");
    }
    let wide = Look { width: usize::MAX, ..*look };
    let unpainted = Look { color: false, ..wide };
    let details: Vec<String> = sorted.iter().map(|wait| details(wait)).collect();
    let fits =
        table.lines(&unpainted).iter().zip(&details).all(|(line, details)| {
            line.chars().count() + 2 + details.chars().count() <= look.width
        });
    for (line, details) in table.lines(if fits { &wide } else { look }).iter().zip(&details) {
        page.push_str(line);
        if fits {
            page.push_str(&format!("  {details}\n"));
        } else {
            let indent = " ".repeat(INDENT);
            page.push_str(&format!("\n{indent}{}\n", wrap(details, INDENT, look.width)));
        }
    }
    for problem in &answer.problems {
        let problem = wrap(&clean(problem), 2, look.width);
        page.push_str(&format!("{} {problem}\n", look.paint(Tone::Odd, "!")));
    }
    page
}

fn cells(wait: &Wait) -> Vec<Cell> {
    let process = match (wait.pid, wait.process.as_str()) {
        (0, _) => "pid unknown".to_owned(),
        (pid, "") => format!("pid {pid}"),
        (pid, process) => format!("pid {pid} {process}"),
    };
    let tone = if wait.injected { Tone::Odd } else { Tone::Plain };
    vec![
        wait.bulkhead.as_str().into(),
        process.into(),
        format!(
            "-> {} {}{}",
            wait.service,
            wait.peer,
            if wait.fallback { " via fallback" } else { "" }
        )
        .into(),
        Cell::toned(tone, &state(wait)),
        duration(wait.seconds).into(),
        if wait.injected { Cell::toned(tone, "fault") } else { "".into() },
    ]
}

fn state(wait: &Wait) -> String {
    match wait.state.as_str() {
        "connecting" => "connecting".into(),
        "first_byte" if wait.stalled => "stalled before first byte".into(),
        "first_byte" => "waiting for first byte".into(),
        "quiet" => "quiet in mid-answer".into(),
        "unacknowledged" => "sent, not acknowledged".into(),
        "peer_closed" => "peer has closed".into(),
        "paced" => "held for its pace".into(),
        other => other.replace('_', " "),
    }
}

fn details(wait: &Wait) -> String {
    let mut text = format!("sent {}, got {}", bytes(wait.sent_bytes), bytes(wait.received_bytes));
    if wait.unacknowledged_bytes > 0 {
        text.push_str(&format!(", unacknowledged {}", bytes(wait.unacknowledged_bytes)));
    }
    if wait.retransmits > 0 {
        let times = counted(wait.retransmits as usize, "retransmit", "retransmits");
        text.push_str(&format!(", {times}"));
    }
    if !wait.verdict.is_empty() {
        text.push_str(&format!("; {}", clean(&wait.verdict)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    fn wait() -> Wait {
        Wait {
            bulkhead: "research".into(),
            pid: 4711,
            process: "python".into(),
            service: "github".into(),
            peer: "127.0.0.1:443".into(),
            state: "first_byte".into(),
            seconds: 38.0,
            stalled: false,
            sent_bytes: 1229,
            received_bytes: 0,
            unacknowledged_bytes: 0,
            retransmits: 0,
            injected: false,
            fallback: false,
            verdict: "github has the request and is silent.".into(),
        }
    }

    fn answer(waits: Vec<Wait>) -> Waits {
        Waits { schema: "guard.waits/1".into(), waits, problems: vec![] }
    }

    fn some() -> Waits {
        let connecting = Wait {
            bulkhead: "writing".into(),
            pid: 0,
            process: String::new(),
            service: "other".into(),
            peer: "[::1]:9".into(),
            state: "connecting".into(),
            seconds: 192.0,
            sent_bytes: 0,
            unacknowledged_bytes: 300,
            retransmits: 4,
            injected: true,
            verdict: String::new(),
            ..wait()
        };
        let mut waits = answer(vec![wait(), connecting]);
        waits.problems = vec!["network namespace of pid 9 is not readable".into()];
        waits
    }

    #[test]
    fn longest_first() {
        insta::assert_snapshot!(waits(&some(), &plain()), @"
    writing   pid unknown      -> other [::1]:9         connecting              3m12s  fault
        sent 0 B, got 0 B, unacknowledged 300 B, 4 retransmits
    research  pid 4711 python  -> github 127.0.0.1:443  waiting for first byte    38s
        sent 1.2 KiB, got 0 B; github has the request and is silent.
    ! network namespace of pid 9 is not readable
    ");
    }

    #[test]
    fn one_line_each_where_there_is_room() {
        insta::assert_snapshot!(waits(&some(), &Look { width: 160, ..plain() }), @"
    writing   pid unknown      -> other [::1]:9         connecting              3m12s  fault  sent 0 B, got 0 B, unacknowledged 300 B, 4 retransmits
    research  pid 4711 python  -> github 127.0.0.1:443  waiting for first byte    38s  sent 1.2 KiB, got 0 B; github has the request and is silent.
    ! network namespace of pid 9 is not readable
    ");
    }

    #[test]
    fn none() {
        assert_eq!(waits(&answer(vec![]), &plain()), "no hanging calls\n");
    }

    #[test]
    fn lines_stay_within_the_width() {
        let long = Wait {
            process: "x\u{1b}]0;title\u{7}".repeat(3),
            service: "s".repeat(60),
            verdict: "words that go on ".repeat(20),
            ..wait()
        };
        let text = waits(&answer(vec![long]), &plain());
        assert!(!text.contains('\u{1b}'));
        for line in text.lines() {
            assert!(line.chars().count() <= 96, "{line}");
        }
    }
}
