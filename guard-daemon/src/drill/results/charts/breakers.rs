//! The state of each breaker over time as steps, one row per breaker, so that none hides another.

use plotters::element::Text;

use super::canvas::{Drawn, sheet, small};
use super::frame::{Frame, is_shaded, length};
use super::style::{Line, Pixels};
use crate::drill::Record;
use crate::drill::results::times::{history, pairs};
use crate::drill::results::words::target;

/// Pixels of a sheet without rows, and of a row.
const HEIGHT: u32 = 110;
const ROW_HEIGHT: u32 = 90;
/// A row is so high, in units of the axis: three states and room for the name.
const ROW: f64 = 4.0;
/// The states from below.
const STATES: [&str; 3] = ["closed", "half_open", "open"];

/// One breaker over time: steps without a gap.
struct Row {
    name: String,
    line: Line,
    pieces: Vec<Vec<(f64, f64)>>,
}

/// `breakers.svg`.
pub(in crate::drill::results) fn text(record: &Record) -> Result<String, String> {
    let rows = rows(record);
    let count = rows.len().max(1);
    let frame = Frame {
        title: "Breakers",
        values: "state",
        range: -0.5..ROW.mul_add(count as f64, -0.5),
        label: &|value| state(*value),
        labels: count * ROW as usize + 1,
        label_width: 90,
    };
    let legend: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.line)).collect();
    let plot = |area: &Pixels<'_>| -> Drawn {
        let chart = frame.draw(area, record)?;
        if rows.is_empty() {
            frame.remark(&chart, record, "no breaker was seen")?;
        }
        for (at, row) in rows.iter().enumerate() {
            // The first breaker is on top.
            let base = (count - 1 - at) as f64 * ROW;
            let area = chart.plotting_area();
            area.draw(&Text::new(row.name.clone(), (0.01 * length(record), base + 2.9), small()))?;
            for piece in &row.pieces {
                let lifted = piece.iter().map(|(seconds, level)| (*seconds, base + level));
                row.line.draw(area, lifted.collect())?;
            }
        }
        Ok(())
    };
    let height = HEIGHT + ROW_HEIGHT * count as u32;
    sheet(height, &legend, is_shaded(record), plot)
}

/// The name of a level; none between two of them.
fn state(value: f64) -> String {
    let level = value.rem_euclid(ROW);
    let nearest = level.round();
    if (level - nearest).abs() > 0.01 {
        return String::new();
    }
    STATES.get(nearest as usize).map(|name| name.replace('_', " ")).unwrap_or_default()
}

fn rows(record: &Record) -> Vec<Row> {
    let of = |(index, (bulkhead, service)): (usize, (&str, &str))| {
        let levels: Vec<(f64, Option<f64>)> = history(record, bulkhead, service)
            .iter()
            .filter(|(seconds, _)| seconds.is_finite())
            .map(|(seconds, pair)| {
                let level = STATES.iter().position(|state| *state == pair.breaker);
                (*seconds, level.map(|level| level as f64))
            })
            .collect();
        let pieces = steps(&levels, length(record));
        Row { name: target(bulkhead, service), line: Line::of(index), pieces }
    };
    let rows = pairs(record).into_iter().enumerate().map(of);
    rows.filter(|row| !row.pieces.is_empty()).collect()
}

/// A state lasts until the next look; the last until the end.
fn steps(levels: &[(f64, Option<f64>)], end: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (at, (seconds, level)) in levels.iter().enumerate() {
        let until = levels.get(at + 1).map_or(end, |(next, _)| *next);
        match (level, pieces.last_mut()) {
            (Some(level), Some(piece)) => piece.extend([(*seconds, *level), (until, *level)]),
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_the_next_look() {
        let levels = [(1.0, Some(0.0)), (2.0, Some(2.0)), (3.0, None), (4.0, Some(1.0))];
        let first = vec![(1.0, 0.0), (2.0, 0.0), (2.0, 2.0), (3.0, 2.0)];
        assert_eq!(steps(&levels, 5.0), [first, vec![(4.0, 1.0), (5.0, 1.0)]]);
    }

    #[test]
    fn only_levels_have_names() {
        let names = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0].map(state);
        assert_eq!(names, ["closed", "", "half open", "open", "", "closed", "open"]);
    }
}
