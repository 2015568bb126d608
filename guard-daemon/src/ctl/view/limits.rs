//! The part of `guardctl status` about limits: only where something is limited.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{count, duration};
use crate::control::api::{LimitStatus, Status};

/// The table, with an empty line before it; nothing without limits.
pub(in crate::ctl) fn limits(status: &Status, look: &Look) -> String {
    let rows: Vec<_> = status
        .bulkheads
        .iter()
        .flat_map(|b| b.limits.iter().map(move |limit| (b.name.as_str(), limit)))
        .filter(|(_, limit)| limit.says_something())
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::Words("BULKHEAD"),
        Column::Words("SERVICE"),
        Column::Figures("CONNS"),
        Column::Figures("RETRIES"),
        Column::Words("WINDOW"),
        Column::Figures("CALLS/S"),
        Column::Figures("PACED"),
        Column::Words("REJECTED"),
    ]);
    let mut last = "";
    for (bulkhead, limit) in rows {
        let name = if bulkhead == last { "" } else { bulkhead };
        last = bulkhead;
        table.row(vec![
            name.into(),
            limit.service.as_deref().unwrap_or("(all)").into(),
            used(limit.connections, limit.max_connections),
            used(u64::from(limit.retries), limit.max_retries),
            if limit.max_retries.is_some() {
                duration(limit.retry_window_seconds).into()
            } else {
                "-".into()
            },
            limit
                .max_calls_per_second
                .map_or_else(|| "-".into(), |rate| rate.to_string().as_str().into()),
            paced(limit),
            rejected(limit),
        ]);
    }
    format!("\n{}\n{}", look.paint(Tone::Title, "LIMITS"), table.render(look))
}

/// `3/64`, odd when there is no more.
fn used(used: u64, most: Option<u32>) -> Cell {
    let Some(most) = most else { return count(used).into() };
    let text = format!("{}/{}", count(used), count(u64::from(most)));
    if used >= u64::from(most) { Cell::toned(Tone::Odd, &text) } else { text.into() }
}

/// `12, 4.5s each`, odd where calls passed because they would have waited too long.
fn paced(limit: &LimitStatus) -> Cell {
    if limit.paced + limit.pacing_over == 0 {
        return "-".into();
    }
    let mean = limit.pacing_delay_seconds / limit.paced.max(1) as f64;
    let text = format!("{}, {} each", count(limit.paced), duration(mean));
    match limit.pacing_over {
        0 => text.as_str().into(),
        over => Cell::toned(Tone::Odd, &format!("{text}, {} too long", count(over))),
    }
}

fn rejected(limit: &LimitStatus) -> Cell {
    let mut words: Vec<String> =
        limit.rejected.iter().map(|(why, n)| format!("{why} {}", count(*n))).collect();
    if limit.would_have > 0 {
        words.push(format!("would have {}", count(limit.would_have)));
    }
    if limit.blocked {
        words.insert(0, "BLOCKED".to_owned());
    }
    if words.is_empty() { "-".into() } else { Cell::toned(Tone::Odd, &words.join(", ")) }
}
