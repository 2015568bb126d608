//! The configuration file: text in, a [`Plan`] and warnings out, or every error of the file at
//! once, each with its place, the key, what is wrong and what would be right. It never changes
//! anything on the host and never resolves a name.
//!
//! The way: `syntax` (TOML) → `read` (types and ranges, along the table in `schema`) → `check`
//! (what needs more than one key) → `build` (the plan). `explain` turns the same table, and the
//! words of guard, into answers for people.

use std::path::Path;

use crate::plan::Plan;

mod build;
mod check;
mod diagnostic;
pub mod explain;
mod file;
mod read;
mod render;
pub mod schema;
mod sink;
mod source;
mod syntax;
pub(crate) mod text;

pub use diagnostic::{ConfigErrors, Diagnostic, Related, Severity};
pub use explain::explain;
pub use file::MAX_FILE_BYTES;

// What the readers of other kinds of files need.
pub(crate) use file::{read, read_text, top_keys};
pub(crate) use read::{Field, Node};
pub(crate) use sink::Sink;

/// What to do when there is no such file.
pub(crate) const IF_MISSING: &str = "give the path with --config, or start from configs/guard.toml";

/// A data rate as files and the command line have it (`1Mbit`), in bits per second; what is wrong
/// with it otherwise.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    text::rate::parse(text).map_err(|problem| format!("{}; {}", problem.what, problem.help))
}

/// A file without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What guardd shall do.
    pub plan: Plan,
    /// What the user should know, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// The warnings with their pieces of the file, and a line that counts them; empty if there are
    /// none. See [`Diagnostic::render`] for `color`.
    pub fn render_warnings(&self, color: bool) -> String {
        render_warnings(&self.warnings, color)
    }
}

/// Warnings with their pieces of the file, and a line that counts them; empty without any.
pub(crate) fn render_warnings(warnings: &[Diagnostic], color: bool) -> String {
    if warnings.is_empty() { String::new() } else { render::all(warnings, color) }
}

/// Reads a configuration file. Errors: the file cannot be read, is longer than
/// [`MAX_FILE_BYTES`], is not UTF-8, or says something that is wrong.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let text = read_text(path, IF_MISSING)?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a configuration; `name` is the file's name in messages.
pub fn parse(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    let (root, mut sink) = read(name, text, schema::ROOT)?;
    check::all(&root, &mut sink);
    let plan = build::plan(&root);
    Ok(Loaded { plan, warnings: sink.warnings()? })
}

#[cfg(test)]
mod tests;
