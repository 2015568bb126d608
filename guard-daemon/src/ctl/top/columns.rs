//! The columns of `top`.

use ratatui::style::Color;

use super::app::Sort;
use super::model::Row;
use crate::ctl::view::text::{bytes, count, cut, duration, percent};

/// Success rates below this are looked at.
const GOOD: f64 = 0.95;
/// Time lost to pressure that is looked at, percent.
const PRESSED: f64 = 10.0;

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Words stand left, figures right.
    pub(super) words: bool,
    /// The least goes first where there is no room.
    pub(super) weight: u8,
    pub(super) max_width: usize,
    /// The order that it stands for.
    pub(super) sort: Option<Sort>,
    /// Whether there is anything to show of this row.
    pub(super) known: fn(&Row) -> bool,
    /// The text, and its colour if it means something.
    pub(super) show: fn(&Row) -> (String, Option<Color>),
}

impl Column {
    /// The text in a cell of this width.
    pub(super) fn align(&self, text: &str, width: usize) -> String {
        let text = cut(text, width);
        if self.words { text } else { format!("{text:>width$}") }
    }
}

const fn figures(
    title: &'static str,
    weight: u8,
    sort: Option<Sort>,
    known: fn(&Row) -> bool,
    show: fn(&Row) -> (String, Option<Color>),
) -> Column {
    Column { title, words: false, weight, max_width: 15, sort, known, show }
}

fn always(_: &Row) -> bool {
    true
}

fn seconds(value: Option<f64>) -> (String, Option<Color>) {
    (value.map_or_else(|| "-".to_owned(), duration), None)
}

/// `3`, or `3/8` of a limit; red at the limit.
fn of_limit(used: u64, limit: Option<u64>) -> (String, Option<Color>) {
    match limit {
        None => (count(used), None),
        Some(limit) => (format!("{used}/{limit}"), (used >= limit).then_some(Color::Red)),
    }
}

/// In the order in which they stand.
pub(super) static COLUMNS: [Column; 14] = [
    Column {
        title: "BULKHEAD",
        words: true,
        weight: u8::MAX,
        max_width: 24,
        sort: Some(Sort::Name),
        known: always,
        show: |row| (row.name.clone(), (!row.trouble.is_empty()).then_some(Color::Red)),
    },
    figures("PROCS", 70, Some(Sort::Processes), always, |row| (count(row.processes), None)),
    figures(
        "MEMORY",
        60,
        Some(Sort::Memory),
        |row| row.memory_bytes.is_some(),
        |row| {
            let used = row.memory_bytes.map_or_else(|| "-".to_owned(), bytes);
            let near = row
                .memory_bytes
                .zip(row.memory_max)
                .is_some_and(|(used, max)| used as f64 > 0.9 * max);
            (used, near.then_some(Color::Red))
        },
    ),
    figures(
        "MAX",
        20,
        None,
        |row| row.memory_max.is_some(),
        |row| (row.memory_max.map_or_else(|| "-".to_owned(), |max| bytes(max as u64)), None),
    ),
    figures(
        "STALL%",
        40,
        None,
        |row| row.pressure.is_some(),
        |row| match row.pressure {
            None => ("-".to_owned(), None),
            Some(percent) => {
                (format!("{percent:.1}"), (percent >= PRESSED).then_some(Color::Yellow))
            }
        },
    ),
    figures("CONNS", 80, Some(Sort::Connections), always, |row| {
        of_limit(row.connections, row.max_connections)
    }),
    figures("CALLS/s", 90, Some(Sort::Calls), always, |row| match row.calls.per_second {
        None => ("-".to_owned(), None),
        Some(rate) => (format!("{rate:.1}"), None),
    }),
    figures("OK %", 100, Some(Sort::Success), always, |row| match row.calls.success {
        None => ("-".to_owned(), None),
        Some(ratio) => (percent(ratio), (ratio < GOOD).then_some(Color::Red)),
    }),
    figures("P50", 50, None, always, |row| seconds(row.calls.p50_seconds)),
    figures("P99", 85, Some(Sort::Latency), always, |row| seconds(row.calls.p99_seconds)),
    figures("BREAKERS", 95, None, always, |row| match (row.open, row.half_open) {
        (0, 0) => ("closed".to_owned(), None),
        (0, half) => (format!("{half} half"), Some(Color::Yellow)),
        (open, _) => (format!("{open} open"), Some(Color::Red)),
    }),
    figures(
        "LIMITED",
        65,
        None,
        |row| row.limited,
        |row| {
            if row.blocked {
                ("blocked".to_owned(), Some(Color::Red))
            } else {
                (count(row.rejected), (row.rejected > 0).then_some(Color::Yellow))
            }
        },
    ),
    figures("FAULTS", 75, None, always, |row| {
        (row.faults.to_string(), (row.faults > 0).then_some(Color::Yellow))
    }),
    figures(
        "ESCAPED",
        94,
        None,
        |row| row.unguarded > 0,
        |row| (count(row.unguarded as u64), (row.unguarded > 0).then_some(Color::Red)),
    ),
];
