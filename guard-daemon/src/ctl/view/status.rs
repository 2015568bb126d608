//! `guardctl status`: how guardd is, what each bulkhead does, which faults are on, what is wrong.

mod resources;

use super::agent::agent_table;
use super::fault::fault_table;
use super::limits::limits;
use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{clean, count, counted, duration, percent, wrap};
use crate::control::api::{BulkheadStatus, ServiceStatus, Status};

/// The whole page.
pub(in crate::ctl) fn status(status: &Status, look: &Look) -> String {
    let mut page = header(status, look);
    page.push('\n');
    if status.bulkheads.is_empty() {
        page.push_str("no bulkheads are configured\n");
    } else {
        page.push_str(&bulkheads(status, look));
        page.push_str(&resources::resources(&status.bulkheads, look));
    }
    page.push_str(&limits(status, look));
    if !status.agents.is_empty() {
        page.push('\n');
        page.push_str(&agent_table(&status.agents, look));
    }
    page.push('\n');
    let active: Vec<_> = status.faults.iter().filter(|fault| fault.state != "ended").collect();
    if active.is_empty() {
        page.push_str("no faults\n");
    } else {
        page.push_str(&look.paint(Tone::Title, "FAULTS"));
        page.push('\n');
        page.push_str(&fault_table(&active, look));
    }
    let problems = problems(status);
    if !problems.is_empty() {
        page.push('\n');
    }
    for problem in problems {
        let problem = wrap(&clean(&problem), 2, look.width);
        page.push_str(&format!("{} {problem}\n", look.paint(Tone::Bad, "!")));
    }
    page
}

fn header(status: &Status, look: &Look) -> String {
    let tone = if status.health == "ok" { Tone::Good } else { Tone::Bad };
    let scraped = match status.last_scrape_seconds {
        Some(seconds) => format!("last scrape {} ago", duration(seconds)),
        None => "never scraped".into(),
    };
    let halted = match &status.halted {
        Some(reason) => look.paint(Tone::Odd, &format!("halted: {}", clean(reason))),
        None => "halt off".into(),
    };
    let active = status.faults.iter().filter(|fault| fault.state != "ended").count();
    format!(
        "guardd {}  {}  pid {}  up {}   mode {}   {scraped}\n\
         config {}, loaded {} ago   delay engine {}\n\
         cgroups {}\n\
         faults {active}   {halted}   events lost {}\n",
        clean(&status.version),
        look.paint(tone, &clean(&status.health)),
        status.pid,
        duration(status.uptime_seconds),
        clean(&status.mode),
        clean(&status.config_path),
        duration(status.config_age_seconds),
        clean(&status.delay_engine),
        clean(&status.cgroup_root),
        count(status.events_lost),
    )
}

fn bulkheads(status: &Status, look: &Look) -> String {
    let would_have = status.mode == "monitor"
        || status.bulkheads.iter().flat_map(|b| &b.services).any(|s| s.would_have > 0);
    let mut columns = vec![
        Column::Words("BULKHEAD"),
        Column::Figures("PROCS"),
        Column::Words("SERVICE"),
        Column::Figures("CALLS"),
        Column::Figures("OK %"),
        Column::Figures("P50"),
        Column::Figures("P95"),
        Column::Figures("CONNS"),
        Column::Figures("CONNECTS"),
        Column::Figures("FAULTED"),
        Column::Whole("BREAKER"),
    ];
    if would_have {
        columns.push(Column::Figures("WOULD"));
    }
    let mut table = Table::new(&columns);
    for bulkhead in &status.bulkheads {
        let mut first = vec![bulkhead.name.as_str().into(), count(bulkhead.processes).into()];
        if bulkhead.services.is_empty() {
            first.push("-".into());
            first.resize(columns.len(), "".into());
            table.row(first);
            continue;
        }
        if bulkhead.services.len() > 1 {
            let mut row = std::mem::replace(&mut first, vec!["".into(), "".into()]);
            row.extend(service_cells(&bulkhead.total));
            row.push(match bulkhead.open_breakers.len() {
                0 => "-".into(),
                open => Cell::toned(Tone::Bad, &format!("{open} open")),
            });
            if would_have {
                row.push(count(bulkhead.total.would_have).into());
            }
            table.row(row);
        }
        for service in &bulkhead.services {
            let mut row = std::mem::replace(&mut first, vec!["".into(), "".into()]);
            row.extend(service_cells(service));
            row.push(breaker(service.breaker.as_deref()));
            if would_have {
                row.push(count(service.would_have).into());
            }
            table.row(row);
        }
    }
    let mut page = table.render(look);
    for bulkhead in status.bulkheads.iter().filter(|bulkhead| !bulkhead.inside.is_empty()) {
        let outer = bulkhead.inside.join(", inside ");
        let line = format!("{} lies inside {}", clean(&bulkhead.name), clean(&outer));
        page.push_str(&wrap(&line, 2, look.width));
        page.push('\n');
    }
    for bulkhead in status.bulkheads.iter().filter(|bulkhead| !bulkhead.matches.is_empty()) {
        let cgroups = counted(bulkhead.matches.len(), "cgroup", "cgroups");
        let matches = bulkhead.matches.join(" ");
        let line = format!("{} takes in {cgroups}: {}", clean(&bulkhead.name), clean(&matches));
        page.push_str(&wrap(&line, 2, look.width));
        page.push('\n');
    }
    page
}

fn service_cells(service: &ServiceStatus) -> [Cell; 8] {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration).into();
    let ratio = match service.success_ratio {
        None => "-".into(),
        Some(ratio) if ratio < 0.95 => Cell::toned(Tone::Odd, &percent(ratio)),
        Some(ratio) => percent(ratio).into(),
    };
    let faulted = count(service.faulted);
    [
        service.name.as_str().into(),
        count(service.calls.values().sum()).into(),
        ratio,
        seconds(service.p50_seconds),
        seconds(service.p95_seconds),
        count(service.connections).into(),
        count(service.connects).into(),
        if service.faulted > 0 { Cell::toned(Tone::Odd, &faulted) } else { faulted.into() },
    ]
}

fn breaker(state: Option<&str>) -> Cell {
    match state {
        None => "-".into(),
        Some("closed") => "closed".into(),
        Some("open") => Cell::toned(Tone::Bad, "open"),
        Some(other) => Cell::toned(Tone::Odd, &other.replace('_', " ")),
    }
}

/// Breakers that are open for services that nobody has called since guardd started have no row.
fn open_without_a_row(bulkhead: &BulkheadStatus) -> Vec<String> {
    let has_row = |name: &String| bulkhead.services.iter().any(|service| service.name == *name);
    let unseen = bulkhead.open_breakers.iter().filter(|name| !has_row(name));
    unseen.map(|service| format!("the breaker {}/{service} is open", bulkhead.name)).collect()
}

/// What guardd names itself, and what only the numbers show.
fn problems(status: &Status) -> Vec<String> {
    let mut problems = status.problems.clone();
    let is_named =
        |bulkhead: &BulkheadStatus| status.problems.iter().any(|p| p.contains(&bulkhead.name));
    for bulkhead in &status.bulkheads {
        if bulkhead.state != "attached" && !is_named(bulkhead) {
            problems.push(format!("{}: {}", bulkhead.name, bulkhead.state));
        }
    }
    for bulkhead in &status.bulkheads {
        problems.extend(open_without_a_row(bulkhead));
        problems.extend(unguarded(bulkhead));
    }
    if status.events_lost > 0 {
        let lost = counted(status.events_lost as usize, "event was", "events were");
        problems.push(format!("{lost} lost (the ring buffer was full); counters are complete"));
    }
    problems
}

/// Sockets of a bulkhead that escape guard: a few by name.
fn unguarded(bulkhead: &BulkheadStatus) -> Vec<String> {
    const NAMED: usize = 3;
    let name = &bulkhead.name;
    let named = bulkhead.unguarded.iter().take(NAMED);
    let mut lines: Vec<_> = named.map(|socket| format!("{name}: {}", socket.text())).collect();
    if bulkhead.unguarded.len() > NAMED {
        let more = counted(bulkhead.unguarded.len() - NAMED, "socket", "sockets");
        lines.push(format!("{name}: {more} more that escape guard; guardctl doctor says more"));
    }
    lines
}

#[cfg(test)]
mod tests;
