//! Axes with their units and titles, and the grey of the faults: the same in each chart.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Rectangle, Text};

use super::canvas::{Drawn, Svg, shade, small};
use super::style::Pixels;
use crate::ctl::view::text::cut;
use crate::drill::Record;
use crate::drill::results::phases::Phases;
use crate::drill::results::words::{finite, one_line};

/// Letters of a name in a title; more would be wider than the sheet.
const NAME_LENGTH: usize = 24;

/// A chart over seconds since the start of the drill.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, Svg<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What is drawn before the lines.
pub(super) struct Frame<'a> {
    /// What the chart shows.
    pub(super) title: &'a str,
    /// What the values are, with their unit.
    pub(super) values: &'a str,
    /// From the lowest to the highest value.
    pub(super) range: Range<f64>,
    /// How a value is written at the axis.
    pub(super) label: &'a dyn Fn(&f64) -> String,
    /// How many values are written there at most.
    pub(super) labels: usize,
    /// Pixels for them.
    pub(super) label_width: u32,
}

impl Frame<'_> {
    /// Draws it.
    pub(super) fn draw<'a, 'b>(&self, area: &Pixels<'b>, record: &Record) -> Drawn<Chart<'a, 'b>> {
        let title = format!("{}: {}", self.title, subject(record));
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(title, ("sans-serif", 18))
            .x_label_area_size(40)
            .y_label_area_size(self.label_width)
            .build_cartesian_2d(0.0..length(record), self.range.clone())?;
        for (start, end) in Phases::of(record).acting(record) {
            let corners = [(start, self.range.start), (end, self.range.end)];
            chart.plotting_area().draw(&Rectangle::new(corners, shade()))?;
        }
        let decimals = usize::from(length(record) < 12.0);
        chart
            .configure_mesh()
            .x_desc("seconds since the start")
            .y_desc(self.values)
            .x_label_formatter(&|value| format!("{value:.decimals$}"))
            .y_label_formatter(self.label)
            .x_labels(12)
            .y_labels(self.labels)
            .x_max_light_lines(1)
            .y_max_light_lines(1)
            .draw()?;
        Ok(chart)
    }

    /// Says why there are no lines.
    pub(super) fn remark(&self, chart: &Chart<'_, '_>, record: &Record, text: &str) -> Drawn {
        let middle = f64::midpoint(self.range.start, self.range.end);
        let at = (length(record) * 0.4, middle);
        chart.plotting_area().draw(&Text::new(text, at, small()))
    }
}

fn subject(record: &Record) -> String {
    let name = cut(&one_line(&record.drill.name), NAME_LENGTH);
    format!("{name}, run {}", cut(&one_line(&record.run_id), NAME_LENGTH))
}

/// Whether there is any grey.
pub(super) fn is_shaded(record: &Record) -> bool {
    !Phases::of(record).acting(record).is_empty()
}

/// Seconds of the time axis; above 0.
pub(super) fn length(record: &Record) -> f64 {
    let samples = record.samples.iter().map(|sample| finite(sample.seconds));
    samples.fold(finite(record.seconds).max(1.0), f64::max)
}
