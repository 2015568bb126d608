//! One line per pair: the share of calls that succeeded, and the 95th percentile of latency.

use plotters::element::Circle;

use super::canvas::{Drawn, sheet};
use super::frame::{Chart, Frame, is_shaded};
use super::style::{Line, Pixels};
use crate::drill::Record;
use crate::drill::record::PairSample;
use crate::drill::results::times::{history, pairs};
use crate::drill::results::words::target;

/// Pixels.
const HEIGHT: u32 = 400;
/// Latencies that differ by more than this factor get a scale of powers of ten.
const LINEAR_UP_TO: f64 = 20.0;

/// One pair over time: pieces without a gap, each of (seconds, value).
struct Series {
    name: String,
    line: Line,
    pieces: Vec<Vec<(f64, f64)>>,
}

/// `success.svg`.
pub(in crate::drill::results) fn success(record: &Record) -> Result<String, String> {
    let share = |pair: &PairSample| {
        // Sums of counts from outside may not overflow.
        let (good, failed, rejected) = (pair.good as f64, pair.failed as f64, pair.rejected as f64);
        let all = good + failed + rejected;
        (all > 0.0).then_some(100.0 * good / all)
    };
    let frame = Frame {
        title: "Calls that succeeded",
        values: "share of calls, %",
        // So that the line of a service that never fails is seen below the edge.
        range: 0.0..103.0,
        label: &|value| format!("{value:.0}"),
        labels: 11,
        label_width: 60,
    };
    draw(record, &frame, &series(record, share))
}

/// `latency.svg`.
pub(in crate::drill::results) fn latency(record: &Record) -> Result<String, String> {
    let milliseconds = |pair: &PairSample| {
        pair.p95_seconds.map(|p95| p95 * 1e3).filter(|p95| p95.is_finite() && *p95 > 0.0)
    };
    let mut all = series(record, milliseconds);
    let values = || all.iter().flat_map(|series| series.pieces.iter().flatten()).map(|(_, v)| *v);
    let highest = values().reduce(f64::max).unwrap_or(1.0);
    let lowest = values().reduce(f64::min).unwrap_or(1.0);
    let frame = Frame {
        title: "Time to the first byte, 95th percentile",
        values: "milliseconds",
        range: 0.0..highest * 1.1,
        label: &|value| short(*value),
        labels: 10,
        label_width: 70,
    };
    if highest / lowest <= LINEAR_UP_TO {
        return draw(record, &frame, &all);
    }
    let points = all.iter_mut().flat_map(|series| series.pieces.iter_mut().flatten());
    points.for_each(|(_, value)| *value = value.log10());
    let frame = Frame {
        values: "milliseconds (logarithmic)",
        range: lowest.log10().floor()..highest.log10().ceil().max(lowest.log10().floor() + 1.0),
        label: &|exponent| short(10_f64.powf(*exponent)),
        ..frame
    };
    draw(record, &frame, &all)
}

/// Without digits that say nothing: `1000`, `31.6`, `0.05`.
fn short(value: f64) -> String {
    let text = match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn series(record: &Record, value: impl Fn(&PairSample) -> Option<f64>) -> Vec<Series> {
    let of = |(index, (bulkhead, service)): (usize, (&str, &str))| {
        let mut pieces = vec![Vec::new()];
        for (seconds, pair) in history(record, bulkhead, service) {
            match (value(pair).filter(|_| seconds.is_finite()), pieces.last_mut()) {
                (Some(value), Some(piece)) => piece.push((seconds, value)),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        Series { name: target(bulkhead, service), line: Line::of(index), pieces }
    };
    let all = pairs(record).into_iter().enumerate().map(of);
    all.filter(|series| !series.pieces.is_empty()).collect()
}

fn draw(record: &Record, frame: &Frame<'_>, all: &[Series]) -> Result<String, String> {
    let legend: Vec<_> = all.iter().map(|series| (series.name.clone(), series.line)).collect();
    let plot = |area: &Pixels<'_>| -> Drawn {
        let chart = frame.draw(area, record)?;
        if all.is_empty() {
            frame.remark(&chart, record, "no calls were seen")?;
        }
        all.iter().try_for_each(|series| draw_series(&chart, series))
    };
    sheet(HEIGHT, &legend, is_shaded(record), plot)
}

fn draw_series(chart: &Chart<'_, '_>, series: &Series) -> Drawn {
    for piece in &series.pieces {
        match piece.as_slice() {
            [alone] => chart.plotting_area().draw(&Circle::new(*alone, 2, series.line.dot()))?,
            _ => series.line.draw(chart.plotting_area(), piece.clone())?,
        }
    }
    Ok(())
}
