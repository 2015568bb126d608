//! Collects findings, so that all of a file are reported at once. It keeps them bounded: a file of
//! nonsense must not fill the memory.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::{ConfigErrors, Diagnostic, Severity};
use super::source::Source;
use super::text::Problem;

/// Most errors, and most warnings, that are kept.
const MOST: usize = 1000;

/// The findings of one file.
#[derive(Debug)]
pub(crate) struct Sink {
    source: Arc<Source>,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// Where the file stops making sense: what is said about later places would mostly be a
    /// consequence of the first error, so it is left out.
    broken_at: Option<usize>,
    /// Whether parts of the file could not be read, so that nothing can be said to be missing.
    incomplete: bool,
}

impl Sink {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        let diagnostics = Vec::new();
        Self { source, diagnostics, errors: 0, warnings: 0, broken_at: None, incomplete: false }
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// From here on, findings at or after this offset are left out.
    pub(crate) fn set_broken(&mut self, offset: usize) {
        self.broken_at = Some(offset);
        self.incomplete = true;
    }

    /// Parts of the file could not be read.
    pub(crate) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether all of the file was read: only then can something be said to be missing.
    pub(crate) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Whether further errors are only counted: their words need not be made.
    pub(crate) fn is_full(&self) -> bool {
        self.errors >= MOST
    }

    /// Counts an error whose words were not made.
    pub(crate) fn count_error(&mut self) {
        self.errors += 1;
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let mut places = diagnostic.span.iter().chain(diagnostic.related.iter().map(|r| &r.span));
        if self.broken_at.is_some_and(|broken| places.any(|s| s.start >= broken)) {
            return;
        }
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MOST {
            self.diagnostics.push(diagnostic);
        }
    }

    pub(crate) fn error(
        &mut self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = self.make(Severity::Error, span, key, message).label(label).help(help);
        self.push(diagnostic);
    }

    pub(crate) fn warning(
        &mut self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = self.make(Severity::Warning, span, key, message).label(label).help(help);
        self.push(diagnostic);
    }

    /// A [`Problem`] of the value of a key.
    pub(crate) fn problem(&mut self, span: &Range<usize>, key: &str, problem: Problem) {
        let message = format!("`{key}` {}", problem.what);
        self.error(span, key, message, problem.label, problem.help);
    }

    /// A finding to be completed and pushed by the caller.
    pub(crate) fn make(
        &self,
        severity: Severity,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(&self.source, severity, Some(span.clone()), key, message)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The warnings, if there is no error; else errors and warnings. In the order of the file.
    pub(crate) fn warnings(self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        let has_errors = self.has_errors();
        let diagnostics = self.finish();
        if has_errors { Err(ConfigErrors { diagnostics }) } else { Ok(diagnostics) }
    }

    /// Everything found, in the order of the file.
    fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|d| (d.span.as_ref().map(|s| (s.start, s.end)), d.severity));
        let dropped = [(Severity::Error, self.errors), (Severity::Warning, self.warnings)];
        for (severity, count) in dropped.into_iter().filter(|(_, count)| *count > MOST) {
            let message = format!("{} more like these are not shown", count - MOST);
            let last = Diagnostic::new(&self.source, severity, None, "", message);
            self.diagnostics.push(last.help("correct those shown first, then check again"));
        }
        self.diagnostics
    }
}
