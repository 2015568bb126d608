//! `guardctl fault` and `halt`: what a fault does, when it ends by itself, how to end it now.

use jiff::{SignedDuration, Timestamp};

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{clean, count, counted, duration, wrap};
use crate::control::api::{FaultCounters, FaultRecord, Faults};

/// After `fault inject`. `now` is when the answer came, `start_after_seconds` what was asked.
pub(in crate::ctl) fn fault_started(
    fault: &FaultRecord,
    start_after_seconds: f64,
    now: Timestamp,
    look: &Look,
) -> String {
    let end = now
        .checked_add(SignedDuration::from_secs_f64(fault.remaining_seconds))
        .map_or_else(|_| "?".to_owned(), |end| end.strftime("%H:%M:%SZ").to_string());
    let begin = if fault.state == "scheduled" && start_after_seconds > 0.0 {
        format!("begins in {}, ", duration(start_after_seconds))
    } else {
        String::new()
    };
    let mut page = format!(
        "fault {}  {}  on {}/{}   engine {}   seed {}\n\
         {begin}ends by itself in {} (at {end}), also if guardd dies before\n\
         to end it now: guardctl fault clear {}\n",
        fault.id,
        look.paint(Tone::Odd, &clean(&fault.effect)),
        clean(&fault.bulkhead),
        clean(&fault.service),
        clean(&fault.engine),
        fault.seed,
        duration(fault.remaining_seconds),
        fault.id,
    );
    page.push_str(&warnings(fault, look));
    page
}

/// After `fault inject --wait`.
pub(in crate::ctl) fn fault_ended(fault: &FaultRecord, exit_code: u8, look: &Look) -> String {
    let how = if fault.ended.is_empty() { "ended" } else { &fault.ended };
    let mut page = format!("fault {}  {}   {}\n", fault.id, clean(how), did(&fault.counters));
    if exit_code == 5 {
        page.push_str("inconclusive: it touched no traffic, so this proves nothing\n");
    }
    page.push_str(&warnings(fault, look));
    page.push_str(&format!("exit {exit_code}\n"));
    page
}

/// `fault list`.
pub(in crate::ctl) fn fault_list(answer: &Faults, look: &Look) -> String {
    let mut page = String::new();
    if answer.faults.is_empty() {
        page.push_str("no faults\n");
    } else {
        let faults: Vec<&FaultRecord> = answer.faults.iter().collect();
        page.push_str(&fault_table(&faults, look));
    }
    page.push_str(&halt_line(answer, look));
    page
}

/// `fault clear`.
pub(in crate::ctl) fn faults_cleared(answer: &Faults, look: &Look) -> String {
    if answer.faults.is_empty() {
        return format!("no faults to clear\n{}", halt_line(answer, look));
    }
    let mut page = cleared_lines(&answer.faults);
    page.push_str(&halt_line(answer, look));
    page
}

/// `halt`.
pub(in crate::ctl) fn halted(answer: &Faults, look: &Look) -> String {
    let mut page = cleared_lines(&answer.faults);
    let ended = counted(answer.faults.len(), "fault", "faults");
    page.push_str(&format!("{}, {ended} ended\n", look.paint(Tone::Odd, "halted")));
    page.push_str("new faults are refused until: guardctl resume\n");
    page
}

fn cleared_lines(faults: &[FaultRecord]) -> String {
    let line = |fault: &FaultRecord| {
        let target = clean(&format!("{}/{}", fault.bulkhead, fault.service));
        let effect = clean(&fault.effect);
        format!("cleared {}  {target}  {effect}   {}\n", fault.id, did(&fault.counters))
    };
    faults.iter().map(line).collect()
}

fn halt_line(answer: &Faults, look: &Look) -> String {
    match &answer.halted {
        None => String::new(),
        Some(reason) => {
            let text = format!("halted: {}; no new faults until: guardctl resume", clean(reason));
            format!("{} {}\n", look.paint(Tone::Odd, "!"), wrap(&text, 2, look.width))
        }
    }
}

fn warnings(fault: &FaultRecord, look: &Look) -> String {
    let line = |warning: &String| {
        let warning = wrap(&clean(warning), 2, look.width);
        format!("{} {warning}\n", look.paint(Tone::Odd, "!"))
    };
    fault.warnings.iter().map(line).collect()
}

/// One line per fault; also part of `status`.
pub(super) fn fault_table(faults: &[&FaultRecord], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::Figures("ID"),
        Column::Whole("STATE"),
        Column::Figures("LEFT"),
        Column::Words("TARGET"),
        Column::Whole("EFFECT"),
        Column::Whole("DID"),
    ]);
    for fault in faults {
        let is_over = fault.state == "ended";
        let state = if is_over && !fault.ended.is_empty() { &fault.ended } else { &fault.state };
        let tone = if fault.state == "active" { Tone::Odd } else { Tone::Plain };
        table.row(vec![
            fault.id.to_string().into(),
            Cell::toned(tone, state),
            if is_over { "-".into() } else { duration(fault.remaining_seconds).into() },
            format!("{}/{}", fault.bulkhead, fault.service).into(),
            fault.effect.as_str().into(),
            did(&fault.counters).into(),
        ]);
    }
    table.render(look)
}

/// What it did, of what it was about; counters that are zero are left out.
fn did(counters: &FaultCounters) -> String {
    let FaultCounters {
        matched,
        delayed,
        dropped,
        refused,
        expired,
        protected,
        would_have,
        reset,
        bytes: _,
        candidates: _,
        chosen: _,
    } = *counters;
    if *counters == FaultCounters::default() {
        return "no traffic".into();
    }
    let named = |names: &[(&str, u64)]| {
        let parts = names.iter().filter(|(_, number)| *number > 0);
        parts.map(|(name, number)| format!("{name} {}", count(*number))).collect::<Vec<_>>()
    };
    let mut parts = named(&[
        ("delayed", delayed),
        ("dropped", dropped),
        ("refused", refused),
        ("reset", reset),
    ]);
    match parts.last_mut() {
        Some(last) => last.push_str(&format!(" of {}", count(matched))),
        None => parts.push(format!("matched {}", count(matched))),
    }
    parts.extend(named(&[
        ("expired", expired),
        ("protected", protected),
        ("would have", would_have),
    ]));
    parts.join(", ")
}

#[cfg(test)]
mod tests;
