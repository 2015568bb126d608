//! One bulkhead of `top`: its services, limits, faults, and sockets that escape guard.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::app::App;
use super::model::{self, Extra};
use crate::ctl::view::Look;
use crate::ctl::view::table::{Column, Table};
use crate::ctl::view::text::{bytes, clean, count, duration, percent, wrap};

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let (rows, at) = app.rows();
    let Some(row) = at.and_then(|at| rows.get(at)) else { return };
    let lines = lines(app, &row.name, usize::from(area.width));
    let last = (lines.len() as u16).saturating_sub(area.height);
    app.scroll = app.scroll.min(last);
    let lines: Vec<_> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines).scroll((app.scroll, 0)), area);
}

fn lines(app: &App, name: &str, width: usize) -> Vec<String> {
    let Some(answers) = &app.model.last else { return Vec::new() };
    let bulkheads = &answers.status.bulkheads;
    let Some(at) = bulkheads.iter().position(|bulkhead| bulkhead.name == name) else {
        return vec![format!("{} is gone", clean(name))];
    };
    let bulkhead = &bulkheads[at];
    let mut lines = vec![
        format!("{}   {}", clean(name), clean(&bulkhead.state)),
        format!("{}   processes {}", clean(&bulkhead.cgroup), count(bulkhead.processes)),
    ];
    if let Some(extra) = answers.extras.get(at) {
        lines.extend(resources(extra));
    }
    lines.push(String::new());
    lines.extend(services(app, name, width));
    if let Some(extra) = answers.extras.get(at) {
        lines.extend(limits(extra).iter().flat_map(|line| wrapped(line, width)));
    }
    for fault in model::active(&answers.status, name) {
        let left = duration(fault.remaining_seconds);
        let (effect, service) = (clean(&fault.effect), clean(&fault.service));
        let line = format!("fault {} {service}: {effect}, {} for {left}", fault.id, fault.state);
        lines.extend(wrapped(&line, width));
    }
    for socket in &bulkhead.unguarded {
        lines.extend(wrapped(&format!("! {}", clean(&socket.text())), width));
    }
    lines
}

/// Over as many lines as it needs.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    wrap(line, 2, width).lines().map(str::to_owned).collect()
}

fn services(app: &App, name: &str, width: usize) -> Vec<String> {
    let services = app.model.services(name);
    if services.is_empty() {
        return vec!["no traffic yet".to_owned(), String::new()];
    }
    let columns = [
        Column::Words("SERVICE"),
        Column::Figures("CALLS/s"),
        Column::Figures("OK %"),
        Column::Figures("P50"),
        Column::Figures("P99"),
        Column::Figures("CONNS"),
        Column::Words("BREAKER"),
    ];
    let mut table = Table::new(&columns);
    for service in services {
        let calls = service.calls;
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration);
        let rate = calls.per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        let breaker = service.breaker.map_or_else(
            || "-".to_owned(),
            |breaker| match breaker.remaining_seconds {
                Some(left) => format!("{}, probe in {}", breaker.state, duration(left)),
                None => format!("{} {}", breaker.state, breaker.why),
            },
        );
        table.row(vec![
            service.name.as_str().into(),
            rate.into(),
            calls.success.map_or_else(|| "-".to_owned(), percent).into(),
            text(calls.p50_seconds).into(),
            text(calls.p99_seconds).into(),
            count(service.connections).into(),
            breaker.as_str().into(),
        ]);
    }
    let mut lines = table.lines(&Look { color: false, ascii: false, width });
    lines.push(String::new());
    lines
}

fn resources(extra: &Extra) -> Vec<String> {
    let resources = &extra.resources;
    let mut parts = Vec::new();
    if let Some(used) = resources.memory_bytes {
        parts.push(format!("memory {}", bytes(used)));
    }
    let stalls = [
        ("memory", resources.memory_stall_percent),
        ("processors", resources.cpu_stall_percent),
        ("devices", resources.io_stall_percent),
    ];
    let stalls: Vec<_> = stalls
        .into_iter()
        .filter_map(|(name, stall)| Some(format!("{name} {:.1} %", stall?)))
        .collect();
    if !stalls.is_empty() {
        parts.push(format!("waiting for {}", stalls.join(", ")));
    }
    let mut lines = if parts.is_empty() { parts } else { vec![parts.join("   ")] };
    lines.extend(resources.limits.iter().map(|limit| {
        let is_size = ["memory", "swap"].iter().any(|size| limit.resource.starts_with(size));
        let value = if is_size { bytes(limit.limit as u64) } else { limit.limit.to_string() };
        format!("{} {value} ({})", clean(&limit.resource), clean(&limit.state))
    }));
    lines
}

fn limits(extra: &Extra) -> Vec<String> {
    let of = |used: u64, limit: Option<u64>| match limit {
        Some(limit) => format!("{used}/{limit}"),
        None => used.to_string(),
    };
    let line = |limit: &model::Limit| {
        let what = limit.service.as_deref().unwrap_or("all services");
        let mut line = format!(
            "limit of {}: connections {}, retries {}",
            clean(what),
            of(limit.connections, limit.max_connections),
            of(limit.retries, limit.max_retries)
        );
        for (reason, count) in &limit.rejected {
            line.push_str(&format!(", {count} rejected for {}", clean(reason)));
        }
        if limit.blocked {
            line.push_str("; BLOCKED: a budget is used up");
        }
        line
    };
    extra.limits.iter().map(line).collect()
}
