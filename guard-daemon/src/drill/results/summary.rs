//! What the terminal shows when a drill has ended: the verdict first, plain ASCII, no colour. It
//! prints nothing itself.

use super::states::{all_met, by_name, first_miss};
use super::times::times;
use super::words::{self, mark, one_line};
use crate::ctl::view::Look;
use crate::ctl::view::table::{Cell, Column, Table};
use crate::ctl::view::text::{count, wrap};
use crate::drill::Record;
use crate::drill::record::Check;
use crate::drill::spec::Phase;

/// Columns in front of text that goes on in a second line.
const INDENT: usize = 9;

/// The end-of-run text; `width` in columns (lines of figures may be longer).
pub fn summary(record: &Record, width: usize) -> String {
    let look = Look { color: false, ascii: true, width };
    let mut page = format!(
        "{}  {}   {:.1}s   run {}\n{}\n",
        words::headline(record),
        one_line(&record.drill.name),
        words::finite(record.seconds),
        one_line(&record.run_id),
        wrap(&one_line(&record.why), 0, width),
    );
    let parts = [steady_states(record, &look), proof(record, &look), ends(record, width)];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        page.push('\n');
        page.push_str(part);
    }
    page.push('\n');
    page.push_str(&format!("again    {}\n", words::again(record)));
    let word = words::headline(record).to_lowercase();
    page.push_str(&format!("exit {} ({word})\n", record.exit_code));
    look.encode(&page)
}

fn steady_states(record: &Record, look: &Look) -> String {
    if record.checks.is_empty() {
        return "no steady state was checked\n".into();
    }
    let mut table = Table::new(&[
        Column::Whole(""),
        Column::Words("STEADY STATE"),
        Column::Words("BEFORE"),
        Column::Words("DURING"),
        Column::Words("AFTER"),
        Column::Words("LIMIT"),
        Column::Figures("FIRST MISS"),
    ]);
    for state in by_name(&record.checks) {
        let measured = |phase| {
            let check = state.iter().find(|check| check.phase == phase);
            check.map_or_else(|| "-".to_owned(), |check| figure(check))
        };
        let miss = first_miss(&state);
        table.row(vec![
            mark(all_met(state.iter().map(|check| check.met))).into(),
            first(&state, |check| &check.name),
            measured(Phase::Before).into(),
            measured(Phase::During).into(),
            measured(Phase::After).into(),
            first(&state, |check| &check.limit),
            miss.map_or_else(|| "-".to_owned(), |at| format!("+{at:.1}s")).into(),
        ]);
    }
    table.render(look)
}

/// What was measured, with a mark where it was not good: the row's mark is of all phases. Of how
/// many calls is left to the report, so that names have room.
fn figure(check: &Check) -> String {
    let measured = one_line(&check.measured);
    let measured = match measured.rsplit_once(" of ") {
        Some((figure, calls)) if calls.ends_with(" calls") => figure,
        _ => &measured,
    };
    match check.met {
        Some(true) => measured.to_owned(),
        other => format!("{} {measured}", mark(other)),
    }
}

fn first(state: &[&Check], text: impl Fn(&Check) -> &String) -> Cell {
    state.first().map(|check| one_line(text(check))).unwrap_or_default().into()
}

fn proof(record: &Record, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::Whole("PROOF"),
        Column::Words("ASKED"),
        Column::Words("MEASURED"),
        Column::Figures("MATCHED"),
        Column::Words("ON"),
    ]);
    for proof in &record.proof {
        table.row(vec![
            mark(proof.met).into(),
            one_line(&proof.asked).into(),
            one_line(&proof.measured).into(),
            count(proof.fault.counters.matched).into(),
            words::target(&proof.fault.bulkhead, &proof.fault.service).into(),
        ]);
    }
    let touched: Vec<_> = record.collateral.iter().filter(|other| other.touched > 0).collect();
    for other in &touched {
        table.row(vec![
            mark(Some(false)).into(),
            "others are not touched".into(),
            format!("{} touched", words::touched(other.touched)).into(),
            count(other.touched).into(),
            one_line(&other.bulkhead).into(),
        ]);
    }
    if touched.is_empty() && !record.collateral.is_empty() {
        let calls = record.collateral.iter().map(|other| other.calls).sum();
        let names: Vec<_> = record.collateral.iter().map(|it| one_line(&it.bulkhead)).collect();
        table.row(vec![
            mark(Some(true)).into(),
            "others are not touched".into(),
            format!("nothing touched in {} calls", count(calls)).into(),
            "0".into(),
            names.join(", ").into(),
        ]);
    }
    if record.proof.is_empty() && touched.is_empty() {
        return "no fault was injected\n".into();
    }
    table.render(look)
}

/// Times and cleanup.
fn ends(record: &Record, width: usize) -> String {
    let mut page = String::new();
    let times: Vec<String> = times(record)
        .iter()
        .map(|took| format!("{} {:.1}s after {}", took.what, took.seconds, took.since))
        .collect();
    if !times.is_empty() {
        page.push_str(&format!("TIMES    {}\n", wrap(&times.join("; "), INDENT, width)));
    }
    let cleanup = &record.cleanup;
    match cleanup.complete {
        Some(true) => page.push_str(&format!(
            "CLEANUP  ok the host is as before, {:.1}s after the end of the faults\n",
            words::finite(cleanup.seconds)
        )),
        Some(false) => {
            page.push_str("CLEANUP  x left on this host:\n");
            for left in &cleanup.left_over {
                page.push_str(&format!("         - {}\n", one_line(left)));
            }
            page.push_str(&format!("         remove it: {}\n", words::CLEANUP_CURE));
        }
        None => page.push_str(
            "CLEANUP  ? guardd could not be asked; the kernel ends each fault at its deadline\n         \
             when guardd runs again: guardctl fault list\n",
        ),
    }
    page
}
