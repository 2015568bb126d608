//! Draws `top`: a head, a line for each bulkhead, the keys. Columns that nothing is known for are
//! left out, and those that matter least where the terminal is narrow.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use super::app::{App, Sort};
use super::columns::{COLUMNS, Column};
use super::details;
use super::model::Row;
use crate::control::api::Status;
use crate::ctl::view::text::{clean, duration};

/// Smaller is no use.
const MIN_WIDTH: u16 = 40;
const MIN_HEIGHT: u16 = 8;

const KEYS: &str = "q quit  arrows select  enter details  tab sort  r reverse  space pause  ? help";

/// The whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        let text = format!("guardctl top needs {MIN_WIDTH}x{MIN_HEIGHT}; q quits");
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Min(1), Constraint::Length(1)])
            .areas(area);
    frame.render_widget(Paragraph::new(title(app)), head);
    frame.render_widget(Paragraph::new(KEYS).style(Style::new().add_modifier(Modifier::DIM)), foot);
    if app.help {
        frame.render_widget(Paragraph::new(help()), body);
    } else if app.model.last.is_none() {
        frame.render_widget(Paragraph::new("asking guardd ..."), body);
    } else if app.details {
        details::draw(frame, body, app);
    } else {
        table(frame, body, app);
    }
}

fn title(app: &App) -> Vec<Line<'static>> {
    let bad = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    if let Some(answers) = &app.model.last {
        let Status { version, health, uptime_seconds, mode, halted, bulkheads, .. } =
            &answers.status;
        let good = Style::new().fg(if health == "ok" { Color::Green } else { Color::Red });
        let faults = answers.status.faults.iter().filter(|fault| fault.state != "ended").count();
        let open = answers.breakers.iter().filter(|breaker| breaker.state == "open").count();
        lines.push(Line::from(vec![
            Span::raw(format!("guardd {}  ", clean(version))),
            Span::styled(clean(health), good),
            Span::raw(format!("  up {}   mode {}", duration(*uptime_seconds), clean(mode))),
        ]));
        let halted = halted
            .as_ref()
            .map_or_else(String::new, |reason| format!("   HALTED: {}", clean(reason)));
        lines.push(Line::raw(format!(
            "bulkheads {}   breakers open {open}   faults {faults}{halted}",
            bulkheads.len()
        )));
    } else {
        lines.extend([Line::raw("guardctl top"), Line::raw("")]);
    }
    let order = if app.reversed { ", reversed" } else { "" };
    let window = match app.model.window_seconds() {
        Some(seconds) => format!("figures of the last {}", duration(seconds.round())),
        None => "figures since guardd counts".to_owned(),
    };
    lines.push(if app.trouble.is_empty() {
        let paused = if app.paused { "   PAUSED" } else { "" };
        Line::raw(format!("{window}   by {}{order}{paused}", app.sort.name()))
    } else {
        Line::styled(format!("! {}", clean(&app.trouble)), bad)
    });
    lines
}

fn table(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let (rows, selected) = app.rows();
    if rows.is_empty() {
        frame.render_widget(Paragraph::new("no bulkheads are configured"), area);
        return;
    }
    app.page = usize::from(area.height.saturating_sub(1));
    let columns = fitting(&rows, usize::from(area.width));
    let titles = columns.iter().map(|(column, width)| {
        let sorted = column.sort == Some(app.sort);
        let style = Style::new().add_modifier(Modifier::BOLD);
        let style = if sorted { style.add_modifier(Modifier::UNDERLINED) } else { style };
        Cell::from(column.align(column.title, *width)).style(style)
    });
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width as u16));
    let lines = rows.iter().map(|row| {
        TableRow::new(columns.iter().map(|(column, width)| {
            let (text, tone) = (column.show)(row);
            let style = tone.map_or_else(Style::new, |color| Style::new().fg(color));
            Cell::from(column.align(&clean(&text), *width)).style(style)
        }))
    });
    let table = Table::new(lines, widths.collect::<Vec<_>>())
        .header(TableRow::new(titles))
        .column_spacing(GAP as u16)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

/// Columns between two columns.
const GAP: usize = 2;

/// Columns with something in them, as many as fit, each with its width; those that matter least go
/// first.
fn fitting(rows: &[Row], width: usize) -> Vec<(&'static Column, usize)> {
    let mut columns: Vec<(&Column, usize)> = COLUMNS
        .iter()
        .filter(|column| rows.iter().any(|row| (column.known)(row)))
        .map(|column| {
            let widest = rows.iter().map(|row| (column.show)(row).0.chars().count()).max();
            (column, widest.unwrap_or(0).max(column.title.len()).min(column.max_width))
        })
        .collect();
    let needed = |columns: &[(&Column, usize)]| {
        columns.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP)
    };
    while needed(&columns) > width && columns.len() > 1 {
        let least = columns.iter().enumerate().min_by_key(|(_, (column, _))| column.weight);
        let Some(least) = least.map(|(at, _)| at) else { break };
        columns.remove(least);
    }
    columns
}

fn help() -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::raw("up, down, j, k, page up, page down, home, end   select a bulkhead"),
        Line::raw("enter   its services, breakers, limits, faults; enter or esc: back"),
        Line::raw("space   pause        r   reverse        tab   next order        q   quit"),
        Line::raw(""),
        Line::raw("order:"),
    ];
    let sorts = Sort::ALL.iter().map(|(key, _, name)| Line::raw(format!("  {key}   {name}")));
    lines.extend(sorts);
    lines.push(Line::raw(""));
    lines.push(Line::raw("any key: back"));
    lines
}
