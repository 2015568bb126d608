//! The text of one file, and where its lines start.

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A file's name and text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// The text with each control character replaced by `?` bytes, at the same offsets: it is shown
    /// in terminals, which must not obey what a file says.
    pub(crate) text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text: harmless(text), line_starts }
    }

    /// Index of the line (from 0) that holds the byte at `offset`.
    pub(crate) fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Where a line (from 0) starts, and where its text ends (without the line break).
    pub(crate) fn line_range(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.line_starts.get(index).copied().unwrap_or(self.text.len());
        let next = self.line_starts.get(index + 1).copied();
        let mut end = next.map_or(self.text.len(), |next| next - 1);
        if next.is_some() && end > start && self.text.as_bytes().get(end - 1) == Some(&b'\r') {
            end -= 1;
        }
        start..end
    }

    pub(crate) fn line_count(&self) -> usize {
        self.line_starts.len()
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let line = self.line_index(offset);
        let start = self.line_range(line).start;
        let column = self.text.get(start..offset).map_or(0, |t| t.chars().count());
        Position { line: line + 1, column: column + 1 }
    }

    /// The nearest character boundary at or before `offset`, inside the text.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// A span clipped to the text and to the line that it starts on.
    pub(crate) fn clip(&self, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let start = self.boundary(span.start);
        let line = self.line_range(self.line_index(start));
        // At the line break itself (an error "at the end of the line").
        let start = start.min(line.end);
        let end = self.boundary(span.end).clamp(start, line.end);
        start..end
    }
}

fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\r' | '\t') {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}
