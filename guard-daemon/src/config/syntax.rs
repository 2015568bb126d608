//! Errors of the TOML syntax itself, in words that help. It gives back the text that is worth
//! reading on, so that the other errors of the file are reported in the same run.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, Error};

use super::diagnostic::Severity;
use super::sink::Sink;
use super::source::Source;
use super::text::shown;

const DUPLICATE: &str = "duplicate key";
/// How far back the first of two duplicates is looked for.
const MOST_LINES_BACK: usize = 10_000;

/// Reports the syntax errors of `text` and gives back what to read: the text; or, where errors
/// stay within their lines, the text with those lines blanked.
pub(super) fn check<'t>(text: &'t str, sink: &mut Sink) -> Cow<'t, str> {
    let (_, mut errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Cow::Borrowed(text);
    }
    errors.sort_by_key(|e| e.span().map(|s| s.start));
    let source = Arc::clone(sink.source());
    let place = |error: &Error| error.span().unwrap_or(text.len()..text.len());
    let line = |error: &Error| source.line_index(source.clip(&place(error)).start);
    let (duplicates, mut broken): (Vec<Error>, Vec<Error>) =
        errors.into_iter().partition(|e| e.message() == DUPLICATE);
    // What follows an error on the same line is mostly its consequence.
    broken.dedup_by_key(|e| line(e));
    let lines: Vec<usize> = broken.iter().map(line).collect();
    let repaired = if lines.is_empty() { None } else { blank(text, &source, &lines) };
    if repaired.is_none() {
        // So is, where an error goes beyond its line, the same complaint about later ones.
        let mut said = HashSet::new();
        broken.retain(|e| said.insert(e.message().to_owned()));
    }
    for error in duplicates.iter().chain(&broken) {
        if sink.is_full() {
            sink.count_error();
        } else if error.message() == DUPLICATE {
            duplicate(&source, &place(error), sink);
        } else {
            let message = format!("not valid TOML: {}", plainly(error.message()));
            let help = hint(&source, line(error), error.message());
            sink.error(&place(error), "", message, "here", help);
        }
    }
    match (repaired, lines.first()) {
        (Some(repaired), _) => {
            sink.set_incomplete();
            Cow::Owned(repaired)
        }
        (None, Some(first)) => {
            sink.set_broken(source.line_range(*first).start);
            Cow::Borrowed(text)
        }
        (None, None) => Cow::Borrowed(text),
    }
}

/// The parser's words, where they would mislead.
fn plainly(message: &str) -> &str {
    match message {
        "string values must be quoted, expected literal string" => "this value needs quotes",
        other => other,
    }
}

/// The text without the broken lines, at the same offsets, if it makes sense so.
fn blank(text: &str, source: &Source, lines: &[usize]) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    for line in lines {
        let range = source.line_range(*line);
        let content = text.get(range.clone())?;
        // Without its header, a table's keys would be taken for those of the table before.
        if content.trim_start().starts_with('[') {
            return None;
        }
        bytes.get_mut(range)?.fill(b' ');
    }
    let repaired = String::from_utf8(bytes).ok()?;
    let (_, errors) = DeTable::parse_recoverable(&repaired);
    errors.iter().all(|e| e.message() == DUPLICATE).then_some(repaired)
}

fn hint(source: &Source, line: usize, message: &str) -> String {
    if message.contains("array") {
        return "put a comma between the values of a list, and close it with `]`; is the list before \
                this closed?"
            .into();
    }
    let text = source.text.get(source.line_range(line)).unwrap_or_default();
    let value = text.split_once('=').map(|(_, v)| v.split('#').next().unwrap_or_default().trim());
    let Some(value) = value.filter(|_| !text.trim_start().starts_with('[')) else {
        return "a line is `key = value`, `[table]` or `# comment`".into();
    };
    let bare = value.starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '.');
    if bare && !value.contains(['"', '\'']) {
        return format!(
            "put quotes around words, durations, sizes and paths: \"{}\"",
            shown(value)
        );
    }
    if value.is_empty() {
        return "the value is missing".into();
    }
    if message.contains("string") {
        return "a text starts and ends with `\"`, on one line".into();
    }
    String::new()
}

fn duplicate(source: &Source, span: &Range<usize>, sink: &mut Sink) {
    let line = source.line_index(span.start);
    let text = source.text.get(source.line_range(line)).unwrap_or_default().trim();
    let word = source.text.get(source.clip(span)).unwrap_or_default();
    let header = header(text);
    let message = match header {
        Some(header) => format!("table `[{}]` is defined twice", shown(header)),
        None => format!("key `{}` is set twice in the same table", shown(word)),
    };
    let key = header.unwrap_or(word);
    let help = match header {
        Some(_) => "put all keys of the table below one header",
        None => "remove one of the two",
    };
    let mut found =
        sink.make(Severity::Error, span, &shown(key), message).label("again").help(help);
    if let Some(first) = first_place(source, span, line, header) {
        found = found.related(&first, "first here");
    }
    sink.push(found);
}

/// `a.b` of `[a.b]` or `[[a.b]]`.
fn header(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('[')?.trim_start_matches('[');
    Some(inside.split(']').next()?.trim())
}

/// Where the thing was defined before: the parser does not tell, so the lines above are searched.
fn first_place(
    source: &Source,
    span: &Range<usize>,
    line: usize,
    wanted: Option<&str>,
) -> Option<Range<usize>> {
    let mut word = source.text.get(span.clone())?;
    let here = source.line_range(line);
    if wanted.is_none() {
        let before = source.text.get(here.start..span.start)?;
        if let Some(at) = before.rfind(word) {
            return Some(here.start + at..here.start + at + word.len());
        }
        // `a.b` of `a.b = 1`, unless it is inside a value.
        if !before.contains('=') {
            word = source.text.get(here.start..span.end)?.trim_start();
        }
    }
    for index in (line.saturating_sub(MOST_LINES_BACK)..line).rev() {
        let range = source.line_range(index);
        let text = source.text.get(range.clone())?;
        let trimmed = text.trim_start();
        let start = range.start + (text.len() - trimmed.len());
        let found = match (wanted, header(trimmed)) {
            (Some(wanted), Some(there)) => there == wanted,
            (None, Some(_)) => return None,
            _ => trimmed
                .strip_prefix(word)
                .is_some_and(|rest| rest.starts_with([' ', '\t', '=', '.'])),
        };
        if found {
            return Some(start..start + trimmed.trim_end().len());
        }
    }
    None
}
