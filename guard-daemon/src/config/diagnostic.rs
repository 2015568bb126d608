//! What is wrong with a file: one [`Diagnostic`] for each finding, for people (rendered with the
//! piece of the file) and for scripts (`--json`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::source::Source;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but not everything in it does what it seems to.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Path of the file, as given.
    pub file: String,
    /// Line, from 1; absent if it is about the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Path of the key (`bulkheads.research.cgroup`); empty if it is not about one.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right; empty if that is not known.
    pub help: String,
    /// Other places that belong to it, such as the first of two duplicates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// A few words to put under the place.
    #[serde(skip)]
    pub(crate) label: String,
    /// The place: bytes of one line.
    #[serde(skip)]
    pub(crate) span: Option<Range<usize>>,
    #[serde(skip)]
    pub(crate) source: Arc<Source>,
}

/// Another place of a [`Diagnostic`].
#[derive(Clone, Debug, Serialize)]
pub struct Related {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is there.
    pub message: String,
    #[serde(skip)]
    pub(crate) span: Range<usize>,
}

impl Diagnostic {
    /// A finding about a place of the file (`None`: about all of it).
    pub(crate) fn new(
        source: &Arc<Source>,
        severity: Severity,
        span: Option<Range<usize>>,
        key: &str,
        message: impl Into<String>,
    ) -> Self {
        let span = span.map(|s| source.clip(&s));
        let position = span.as_ref().map(|s| source.position(s.start));
        Self {
            severity,
            file: source.name.clone(),
            line: position.map(|p| p.line),
            column: position.map(|p| p.column),
            key: key.to_owned(),
            message: message.into(),
            help: String::new(),
            related: Vec::new(),
            label: String::new(),
            span,
            source: Arc::clone(source),
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn related(mut self, span: &Range<usize>, message: impl Into<String>) -> Self {
        let span = self.source.clip(span);
        let at = self.source.position(span.start);
        let message = message.into();
        self.related.push(Related { line: at.line, column: at.column, message, span });
        self
    }

    /// The finding with the piece of the file that it is about. With `color`: Unicode and ANSI
    /// colours; without: plain ASCII (but for what the file itself holds).
    pub fn render(&self, color: bool) -> String {
        super::render::diagnostic(self, color)
    }
}

/// `FILE:LINE:COLUMN: error: MESSAGE; help: HELP` on one line, for logs.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {word}: {}", self.message)?;
        if !self.help.is_empty() {
            write!(f, "; help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a file, at least one error, in the order of the file; the
/// warnings are in it too.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigErrors {
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    /// Number of errors (the other diagnostics are warnings).
    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Every finding with its piece of the file, then a line that counts them. See
    /// [`Diagnostic::render`] for `color`.
    pub fn render(&self, color: bool) -> String {
        super::render::all(&self.diagnostics, color)
    }
}

/// One line for each finding, as for logs.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
