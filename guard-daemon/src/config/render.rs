//! Findings as people read them in a terminal or a log: message, place, piece of the file, help.
//! The drawing is miette's; this module only feeds it. It decides nothing about what is wrong.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

use super::diagnostic::{Diagnostic, Severity};
use super::source::Source;

/// Columns of a terminal.
const WIDTH: usize = 96;
/// A line longer than this is not drawn: the position says where to look.
const LONGEST_LINE_BYTES: usize = 1000;

/// All findings, and a line that counts them.
pub(super) fn all(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut out = String::new();
    for one in diagnostics {
        out.push_str(&diagnostic(one, color));
        out.push('\n');
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let file = diagnostics.first().map_or("", |d| d.file.as_str());
    out + &format!("{}, {} in {file}\n", many(errors, "error"), many(warnings, "warning"))
}

fn many(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// One finding.
pub(super) fn diagnostic(diagnostic: &Diagnostic, color: bool) -> String {
    let mut theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    theme.characters.error = "error:".into();
    theme.characters.warning = "warning:".into();
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        // Lines of a log are searched: one message, one line.
        .with_wrap_lines(color)
        .with_links(false)
        .with_break_words(false)
        .without_syntax_highlighting();
    let mut out = String::new();
    match handler.render_report(&mut out, &Report::new(diagnostic)) {
        Ok(()) => out,
        // Drawing failed: the plain line says the same.
        Err(fmt::Error) => format!("{diagnostic}\n"),
    }
}

/// A finding in miette's terms.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    snippet: Option<Snippet<'a>>,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        let spans = diagnostic.span.iter().chain(diagnostic.related.iter().map(|r| &r.span));
        let source = &diagnostic.source;
        let drawable = spans.clone().next().is_some()
            && spans
                .clone()
                .all(|s| source.line_range(source.line_index(s.start)).len() <= LONGEST_LINE_BYTES);
        Self { diagnostic, snippet: drawable.then_some(Snippet(source)) }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.diagnostic;
        match (&self.snippet, d.line, d.column) {
            (None, Some(line), Some(column)) => {
                write!(f, "{}:{line}:{column}: {}", d.file, d.message)
            }
            (None, ..) => write!(f, "{}: {}", d.file, d.message),
            (Some(_), ..) => write!(f, "{}", d.message),
        }
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let help = self.diagnostic.help.as_str();
        (!help.is_empty()).then(|| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.snippet.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.snippet.as_ref()?;
        let d = self.diagnostic;
        let label = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let main = d.span.clone().map(|s| LabeledSpan::new_primary_with_span(label(&d.label), s));
        let related = d
            .related
            .iter()
            .map(move |r| LabeledSpan::new_with_span(label(&r.message), r.span.clone()));
        Some(Box::new(main.into_iter().chain(related)))
    }
}

/// The lines around a place. miette's own implementation for strings reads the whole file for each
/// place; this one looks the lines up.
#[derive(Debug)]
struct Snippet<'a>(&'a Source);

impl SourceCode for Snippet<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let source = self.0;
        let first_hit = source.line_index(span.offset());
        let last_hit = source.line_index(span.offset() + span.len());
        let alone = lines_before == 0 && lines_after == 0;
        let drawable = |index: usize| source.line_range(index).len() <= LONGEST_LINE_BYTES;
        let before = first_hit.saturating_sub(lines_before);
        let first = (before..first_hit).rev().take_while(|i| drawable(*i)).last();
        let after = (last_hit + lines_after).min(source.line_count().saturating_sub(1));
        let last = (last_hit + 1..=after).take_while(|i| drawable(*i)).last();
        let (first, last) = (first.unwrap_or(first_hit), last.unwrap_or(last_hit));
        let lines = source.line_range(first).start..source.line_range(last).end;
        let range = if alone { span.offset()..span.offset() + span.len() } else { lines.clone() };
        let data = source.text.as_bytes().get(range.clone()).ok_or(MietteError::OutOfBounds)?;
        let column = if alone { source.position(range.start).column - 1 } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            source.name.clone(),
            data,
            (range.start, range.len()).into(),
            first,
            column,
            last - first + 1,
        )))
    }
}
