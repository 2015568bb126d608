//! `guardctl breaker`: the state of each breaker, and why.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{count, duration};
use crate::control::api::{BreakerRecord, Breakers};

/// `breaker list`, and after a change.
pub(in crate::ctl) fn breakers(answer: &Breakers, look: &Look) -> String {
    if answer.breakers.is_empty() {
        return "no breakers: the configuration has no service, or no bulkhead\n".to_owned();
    }
    let mut table = Table::new(&[
        Column::Words("BREAKER"),
        Column::Whole("STATE"),
        Column::Whole("MODE"),
        Column::Figures("FAILURES"),
        Column::Figures("REFUSED"),
        Column::Figures("PROBE IN"),
        Column::Words("WHY"),
    ]);
    for breaker in &answer.breakers {
        let probe = breaker.remaining_seconds.map_or_else(|| "-".to_owned(), duration);
        table.row(vec![
            format!("{}/{}", breaker.bulkhead, breaker.service).into(),
            Cell::toned(tone(breaker), &breaker.state),
            breaker.mode.as_str().into(),
            format!("{}/{}", breaker.failures, breaker.failure_threshold).into(),
            count(breaker.rejected).into(),
            probe.into(),
            breaker.why.as_str().into(),
        ]);
    }
    let mut page = table.lines(look).join("\n");
    page.push('\n');
    page
}

fn tone(breaker: &BreakerRecord) -> Tone {
    match breaker.state.as_str() {
        "closed" => Tone::Plain,
        _ => Tone::Odd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_one_says_when_and_why() {
        let open = BreakerRecord {
            bulkhead: "research".into(),
            service: "github".into(),
            state: "open".into(),
            mode: "enforce".into(),
            failure_threshold: 5,
            remaining_seconds: Some(42.0),
            rejected: 17,
            why: "5 failures in a row, last: refused".into(),
            ..BreakerRecord::default()
        };
        let answer = Breakers { schema: "guard.breakers/1".into(), breakers: vec![open] };
        let page = breakers(&answer, &super::super::plain());
        let words: Vec<&str> = page.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(
            words[..6],
            ["research/github", "open", "enforce", "0/5", "17", "42s"],
            "{page}"
        );
        assert!(page.contains("last: refused"), "{page}");
    }
}
