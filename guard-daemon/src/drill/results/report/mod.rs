//! `report.md`: one run for people, the verdict first and the reasons below it. It shows numbers of
//! the record and computes none, but for the times between them.

mod markdown;
mod plan;

use super::states::{all_met, by_name, first_miss};
use super::times::times;
use super::words::{self, mark, one_line};
use crate::ctl::view::text::count;
use crate::drill::Record;
use crate::drill::record::Check;
use crate::drill::spec::Phase;
use markdown::{escape, fenced, item, table};

/// The text of the file.
pub(super) fn text(record: &Record) -> String {
    let parts = [
        head(record),
        steady_states(record),
        proof(record),
        collateral(record),
        cleanup(record),
        durations(record),
        charts(),
        timeline(record),
        plan::text(record),
        source(record),
    ];
    parts.concat().trim_end().to_owned() + "\n"
}

fn head(record: &Record) -> String {
    let rows = [
        row(["run", &record.run_id]),
        row(["drill", &record.drill.name]),
        row(["purpose", or_dash(&record.drill.purpose)]),
        row(["status", words::status(record.status)]),
        row(["verdict", words::verdict(record.verdict)]),
        row(["exit code", &record.exit_code.to_string()]),
        row(["start", &record.start]),
        row(["end", &record.end]),
        row(["duration", &format!("{:.1} s", words::finite(record.seconds))]),
        row(["host", &record.host]),
        row(["kernel", &record.kernel]),
        row(["guard", &record.guard_version]),
        row(["seed", &record.seed.to_string()]),
        row(["file", &record.file]),
    ];
    format!(
        "# {}: {}\n\n**Why:** {}\n\n{}",
        words::headline(record),
        escape(&record.drill.name),
        escape(&record.why),
        table(&["", ""], &rows)
    )
}

fn steady_states(record: &Record) -> String {
    let mut page = "## Steady states\n\n".to_owned();
    if record.checks.is_empty() {
        return page + "None was checked.\n\n";
    }
    let rows: Vec<Vec<String>> = by_name(&record.checks)
        .iter()
        .map(|state| {
            let name = state.first().map_or("", |check| &check.name);
            let limit = state.first().map_or("", |check| &check.limit);
            row([
                mark(all_met(state.iter().map(|check| check.met))),
                name,
                limit,
                &measured(state, Phase::Before),
                &measured(state, Phase::During),
                &measured(state, Phase::After),
                &first_miss(state).map_or_else(|| "-".to_owned(), plus),
            ])
        })
        .collect();
    let titles = ["", "steady state", "limit", "before", "during", "after", "first miss"];
    page.push_str(&table(&titles, &rows));
    page + "ok: met; x: missed; ?: cannot be told.\n\n"
}

fn measured(state: &[&Check], phase: Phase) -> String {
    match state.iter().find(|check| check.phase == phase) {
        None => "-".to_owned(),
        Some(check) => format!("{} {}", mark(check.met), check.measured),
    }
}

fn proof(record: &Record) -> String {
    let mut page = "## Proof of injection\n\n".to_owned();
    if record.proof.is_empty() {
        return page + "No fault was injected.\n\n";
    }
    let rows: Vec<Vec<String>> = record
        .proof
        .iter()
        .map(|proof| {
            let fault = &proof.fault;
            row([
                mark(proof.met),
                &words::target(&fault.bulkhead, &fault.service),
                &proof.asked,
                &proof.measured,
                &count(fault.counters.matched),
                &fault.engine,
                or_dash(&fault.ended),
                &fault.seed.to_string(),
            ])
        })
        .collect();
    let titles = ["", "on", "asked", "measured", "n", "engine", "ended", "seed"];
    page.push_str(&table(&titles, &rows));
    page.push_str("n: packets or connects that the fault was about.\n\n");
    for fault in record.proof.iter().map(|proof| &proof.fault) {
        for warning in &fault.warnings {
            let target = words::fault(&fault.effect, &fault.bulkhead, &fault.service);
            page.push_str(&item(&format!("{target}: {warning}")));
        }
    }
    ended(page)
}

fn collateral(record: &Record) -> String {
    let mut page = "## Collateral\n\n".to_owned();
    if record.collateral.is_empty() {
        return page + "There was no other bulkhead.\n\n";
    }
    let rows: Vec<Vec<String>> = record
        .collateral
        .iter()
        .map(|it| {
            let mark = mark(Some(it.touched == 0));
            row([mark, &it.bulkhead, &count(it.touched), &count(it.calls)])
        })
        .collect();
    page.push_str(
        "Bulkheads that were no target. No packet or connect of theirs may be touched.\n\n",
    );
    page + &table(&["", "bulkhead", "touched", "calls"], &rows)
}

fn cleanup(record: &Record) -> String {
    let cleanup = &record.cleanup;
    let mut page = "## Cleanup\n\n".to_owned();
    match cleanup.complete {
        Some(true) => page.push_str(&format!(
            "ok: the host was as before {:.1} s after the end of the faults.\n",
            words::finite(cleanup.seconds)
        )),
        Some(false) => {
            page.push_str("x: this was left on the host:\n\n");
            for left in &cleanup.left_over {
                page.push_str(&item(left));
            }
            page.push_str(&format!("\nRemove it: {}\n", escape(words::CLEANUP_CURE)));
        }
        None => page.push_str(
            "?: guardd could not be asked. The kernel ends each fault at its deadline; when guardd \
             runs again, `guardctl fault list` shows what is there.\n",
        ),
    }
    page + "\n"
}

fn durations(record: &Record) -> String {
    let rows: Vec<Vec<String>> = times(record)
        .iter()
        .map(|took| row([&took.what, &format!("{:.1} s", took.seconds), took.since]))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let remark = "Taken from one look a second.\n\n";
    format!("## Times\n\n{}{remark}", table(&["what", "took", "since"], &rows))
}

fn charts() -> String {
    "## Charts\n\n\
     ![Success rate over time](success.svg)\n\n\
     ![95th percentile of the time to the first byte over time](latency.svg)\n\n\
     ![State of each breaker over time](breakers.svg)\n\n"
        .to_owned()
}

fn timeline(record: &Record) -> String {
    let page = "## Timeline\n\n".to_owned();
    if record.timeline.is_empty() {
        return page + "Nothing happened.\n\n";
    }
    let line = |moment: &crate::drill::record::Moment| {
        let phase = moment.phase.map_or("-", words::phase);
        row([&plus(moment.seconds), &moment.time, phase, &moment.what])
    };
    let rows: Vec<Vec<String>> = record.timeline.iter().map(line).collect();
    page + &table(&["since start", "UTC", "phase", "what"], &rows)
}

fn source(record: &Record) -> String {
    format!(
        "## The drill file\n\n{}## Run it again\n\nThe seed makes the same random decisions.\n\n{}",
        fenced("toml", &record.text),
        fenced("sh", &words::again(record))
    )
}

/// A list in Markdown ends with an empty line.
fn ended(page: String) -> String {
    if page.ends_with("\n\n") { page } else { page + "\n" }
}

fn plus(seconds: f64) -> String {
    format!("+{:.1} s", words::finite(seconds))
}

fn or_dash(text: &str) -> &str {
    if one_line(text).is_empty() { "-" } else { text }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}
