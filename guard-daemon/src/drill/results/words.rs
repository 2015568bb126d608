//! Words that all files of a run share, so that a report, a journal and the terminal say the same.
//! Text from outside goes through [`one_line`]; it is never trusted to be one.

use serde::Serialize;

use crate::ctl::escape_non_ascii;
use crate::ctl::view::text::{clean, count};
use crate::drill::Record;
use crate::drill::record::{PlannedFault, Status, Verdict};
use crate::drill::spec::Phase;

/// The one word (or two) that a person reads first. What is left on the host comes before all else.
pub(super) fn headline(record: &Record) -> &'static str {
    if record.cleanup.complete == Some(false) {
        return "CLEANUP INCOMPLETE";
    }
    match (record.status, record.verdict) {
        (Status::Aborted, _) => "ABORTED",
        (Status::Interrupted, _) => "INTERRUPTED",
        (Status::Failed, _) => "FAILED",
        (Status::Completed, Verdict::Held) => "HELD",
        (Status::Completed, Verdict::Deviated) => "DEVIATED",
        (Status::Completed, Verdict::Inconclusive) => "INCONCLUSIVE",
    }
}

/// As in JSON.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Aborted => "aborted",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
    }
}

/// As in JSON.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Deviated => "deviated",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// As in JSON.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::During => "during",
        Phase::After => "after",
    }
}

/// `ok`, `x` for missed, `?` for what cannot be told.
pub(super) fn mark(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "ok",
        Some(false) => "x",
        None => "?",
    }
}

/// `research/github`.
pub(super) fn target(bulkhead: &str, service: &str) -> String {
    one_line(&format!("{bulkhead}/{service}"))
}

/// `latency 300ms on research/github`.
pub(super) fn fault(effect: &str, bulkhead: &str, service: &str) -> String {
    one_line(&format!("{effect} on {bulkhead}/{service}"))
}

/// [`fault`] of a plan.
pub(super) fn planned(plan: &PlannedFault) -> String {
    fault(&plan.effect, &plan.bulkhead, &plan.service)
}

/// `3 packets or connects`, `1 packet or connect`.
pub(super) fn touched(number: u64) -> String {
    match number {
        1 => "1 packet or connect".to_owned(),
        _ => format!("{} packets or connects", count(number)),
    }
}

/// How to end what a drill left.
pub(super) const CLEANUP_CURE: &str =
    "guardctl fault clear --all; where no guardd runs any more: guardctl cleanup";

/// The command that runs the same drill with the same random decisions.
pub(super) fn again(record: &Record) -> String {
    format!("guardctl drill run {} --seed {}", quoted(&clean(&record.file)), record.seed)
}

/// For a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Text from outside on one line, without control characters and what XML does not allow.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    clean(&words.join(" ")).replace(['\u{fffe}', '\u{ffff}'], "?")
}

/// A number that formats can hold: JSON and SVG have no infinity.
pub(super) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Indented, in ASCII (some readers guess encodings), with a newline at its end.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| format!("it does not fit into JSON: {error}"))?;
    Ok(escape_non_ascii(&text) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_gets_is_one_word() {
        assert_eq!(quoted("drills/a-1.toml"), "drills/a-1.toml");
        assert_eq!(quoted("my drill.toml"), "'my drill.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn what_comes_from_outside_is_one_line() {
        assert_eq!(one_line(" a\n b\t\u{1b}[31mc\u{ffff} "), "a b \\u{1b}[31mc?");
    }
}
