//! The sheet of a chart: white, with a legend at its right edge. It writes to memory only.

use std::io;

use plotters::backend::SVGBackend;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color as _, IntoFont as _, TextStyle, WHITE};

use super::style::{Line, Pixels};
use crate::ctl::view::text::cut;

/// What draws.
pub(super) type Svg<'a> = SVGBackend<'a>;
/// What drawing gives.
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// Pixels of a sheet.
const WIDTH: u32 = 960;
/// Pixels that are not the legend.
const PLOT_WIDTH: i32 = 720;
/// Pixels above the legend, and between two lines of it.
const LEGEND_TOP: i32 = 50;
const LEGEND_STEP: i32 = 18;
/// Letters of a name.
const NAME_LENGTH: usize = 28;
/// Entries of a legend; what is more is counted.
const MOST_ENTRIES: usize = 28;

/// One sheet of this height in pixels, or higher if the legend needs it.
pub(super) fn sheet(
    height: u32,
    legend: &[(String, Line)],
    is_shaded: bool,
    plot: impl FnOnce(&Pixels<'_>) -> Drawn,
) -> Result<String, String> {
    let entries = legend.len().min(MOST_ENTRIES) as u32 + 2;
    let height = height.max(entries * LEGEND_STEP as u32 + LEGEND_TOP as u32 + 20);
    let mut svg = String::new();
    let drawn = draw(SVGBackend::with_string(&mut svg, (WIDTH, height)), legend, is_shaded, plot);
    drawn.map_err(|error| format!("the chart cannot be drawn: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: Svg<'_>,
    legend: &[(String, Line)],
    is_shaded: bool,
    plot: impl FnOnce(&Pixels<'_>) -> Drawn,
) -> Drawn {
    let area = svg.into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(PLOT_WIDTH);
    plot(&left)?;
    draw_legend(&right, legend, is_shaded)?;
    area.present()
}

fn draw_legend(area: &Pixels<'_>, legend: &[(String, Line)], is_shaded: bool) -> Drawn {
    let style = small();
    let mut y = LEGEND_TOP;
    if is_shaded {
        let corners = [(4, y - 6), (34, y + 6)];
        area.draw(&Rectangle::new(corners, shade()))?;
        area.draw(&Text::new("a fault acts", (42, y), style.clone()))?;
        y += LEGEND_STEP;
    }
    for (name, line) in legend.iter().take(MOST_ENTRIES) {
        line.draw(area, vec![(4, y), (34, y)])?;
        area.draw(&Text::new(cut(name, NAME_LENGTH), (42, y), style.clone()))?;
        y += LEGEND_STEP;
    }
    if legend.len() > MOST_ENTRIES {
        let more = format!("and {} more", legend.len() - MOST_ENTRIES);
        area.draw(&Text::new(more, (42, y), style))?;
    }
    Ok(())
}

/// Where a fault acts.
pub(super) fn shade() -> plotters::style::ShapeStyle {
    BLACK.mix(0.10).filled()
}

/// Small letters, beginning at a point.
pub(super) fn small() -> TextStyle<'static> {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    TextStyle::from(("sans-serif", 14).into_font()).pos(anchor)
}
