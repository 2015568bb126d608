//! How the lines of a chart differ, so that none is told from another by colour alone.

use plotters::coord::{CoordTranslate, Shift};
use plotters::drawing::DrawingArea;
use plotters::element::{DashedPathElement, PathElement};
use plotters::style::{Color as _, RGBColor, ShapeStyle};

use super::canvas::{Drawn, Svg};

/// Okabe and Ito's colours without yellow, which is hard to see on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Pixels drawn and left out. As 4 and 7 have no common factor, 28 lines differ.
const DASHES: [Option<(i32, i32)>; 4] = [None, Some((9, 4)), Some((3, 3)), Some((16, 6))];

/// Pixels.
const WIDTH: u32 = 2;

/// The look of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    colour: RGBColor,
    dash: Option<(i32, i32)>,
}

impl Line {
    /// Of the n-th pair of a run: the same in each of its charts.
    pub(super) fn of(index: usize) -> Self {
        Self { colour: COLOURS[index % COLOURS.len()], dash: DASHES[index % DASHES.len()] }
    }

    /// Draws it through the points; two or more.
    pub(super) fn draw<C: CoordTranslate>(
        self,
        area: &DrawingArea<Svg<'_>, C>,
        points: Vec<C::From>,
    ) -> Drawn
    where
        C::From: Clone,
    {
        let style: ShapeStyle = self.colour.stroke_width(WIDTH);
        match self.dash {
            None => area.draw(&PathElement::new(points, style)),
            Some((on, off)) => area.draw(&DashedPathElement::new(points, on, off, style)),
        }
    }

    /// A sample that has none beside it.
    pub(super) fn dot(self) -> ShapeStyle {
        self.colour.filled()
    }
}

/// A plain area: pixels.
pub(super) type Pixels<'a> = DrawingArea<Svg<'a>, Shift>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_eight_lines_differ() {
        let lines: Vec<Line> = (0..28).map(Line::of).collect();
        for (at, line) in lines.iter().enumerate() {
            assert!(!lines[..at].contains(line), "{at}");
        }
    }
}
