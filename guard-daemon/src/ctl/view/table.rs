//! Columns of text, two spaces apart, without lines. Rows are never wrapped: where they are too
//! wide, the widest columns of words are cut, figures never.

use super::look::{Look, Tone};
use super::text::{clean, cut};

/// A column of words is not cut below this.
const WORDS_MIN_WIDTH: usize = 8;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Left; may be cut.
    Words(&'static str),
    /// Left; never cut.
    Whole(&'static str),
    /// Right; never cut.
    Figures(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Words(title) | Self::Whole(title) | Self::Figures(title) => title,
        }
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// With a tone.
    pub(crate) fn toned(tone: Tone, text: &str) -> Self {
        Self { text: clean(text), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(Tone::Plain, &text)
    }
}

/// Rows of cells.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows; titles that are all empty are not shown.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row, with one cell per column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "cells of a row");
        self.rows.push(cells);
    }

    /// The rows as lines, in a row of titles first; no line ends in a space.
    pub(crate) fn lines(&self, look: &Look) -> Vec<String> {
        let widths = self.widths(look.width);
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if self.columns.iter().any(|column| !column.title().is_empty()) {
            let titles: Vec<Cell> =
                self.columns.iter().map(|c| Cell::toned(Tone::Title, c.title())).collect();
            lines.push(self.line(&titles, &widths, look));
        }
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths, look)));
        lines
    }

    /// The lines, each with its end.
    pub(crate) fn render(&self, look: &Look) -> String {
        self.lines(look).iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn widths(&self, limit: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.title().len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let widest = (0..widths.len())
                .filter(|at| matches!(self.columns[*at], Column::Words(_)))
                .filter(|at| widths[*at] > WORDS_MIN_WIDTH)
                .max_by_key(|at| widths[*at]);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize], look: &Look) -> String {
        let mut line = String::new();
        let last = cells.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
        for (at, cell) in cells.iter().enumerate().take(last + 1) {
            let (column, width) = (self.columns[at], widths[at]);
            let text = match column {
                Column::Words(_) => cut(&cell.text, width),
                Column::Whole(_) | Column::Figures(_) => cell.text.clone(),
            };
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            let painted = if text.is_empty() { text } else { look.paint(cell.tone, &text) };
            if at > 0 {
                line.push_str("  ");
            }
            match column {
                Column::Figures(_) => line.extend([padding, painted]),
                _ if at == last => line.push_str(&painted),
                _ => line.extend([painted, padding]),
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    fn table() -> Table {
        let columns = [Column::Words("NAME"), Column::Figures("N"), Column::Words("WHY")];
        let mut table = Table::new(&columns);
        table.row(vec!["short".into(), "1".into(), "x".into()]);
        table.row(vec!["a name that is long".into(), "1 204".into(), "".into()]);
        table
    }

    #[test]
    fn columns_line_up_without_spaces_at_the_end() {
        let expected = "\
NAME                     N  WHY
short                    1  x
a name that is long  1 204
";
        assert_eq!(table().render(&plain()), expected);
    }

    #[test]
    fn words_are_cut_and_figures_are_not() {
        let narrow = Look { width: 24, ..plain() };
        let expected = "\
NAME              N  WHY
short             1  x
a name th...  1 204
";
        assert_eq!(table().render(&narrow), expected);
    }

    #[test]
    fn colour_does_not_move_columns() {
        let colored = Look { color: true, ..plain() };
        let mut table = Table::new(&[Column::Words(""), Column::Figures("")]);
        table.row(vec![Cell::toned(Tone::Bad, "no"), "1".into()]);
        table.row(vec!["fine".into(), "2".into()]);
        assert_eq!(table.render(&colored), "\u{1b}[31;1mno\u{1b}[0m    1\nfine  2\n");
    }
}
