//! The text of a drill file: a [`Drill`] and warnings out of it, or every error of the file at once,
//! each with its place, the key, what is wrong and what would be right. It asks no daemon, so it
//! never knows whether a bulkhead or a service exists; it never changes anything on the host.
//!
//! The keys, their types and ranges are in `config::schema`; this module has what needs more than
//! one key.

use std::path::Path;

use super::spec::{Drill, Pairs};
use crate::config::schema::{DRILL, Key, ROOT};
use crate::config::{self, ConfigErrors, Diagnostic, Node};

mod aborts;
mod effects;
mod faults;
mod limits;
mod names;
mod overlaps;
mod probes;
mod promql;
mod steady;

/// What to do when there is no such file.
const IF_MISSING: &str = "name a drill file, or start from one of configs/drills";

/// A drill file without errors.
#[derive(Clone, Debug)]
pub struct LoadedDrill {
    /// What it says.
    pub drill: Drill,
    /// Its text.
    pub text: String,
    /// What the user should know, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl LoadedDrill {
    /// The warnings with their pieces of the file, and a line that counts them; empty if there are
    /// none. See [`Diagnostic::render`] for `color`.
    pub fn render_warnings(&self, color: bool) -> String {
        config::render_warnings(&self.warnings, color)
    }
}

/// Reads a drill file. Errors: the file cannot be read, is longer than
/// [`MAX_FILE_BYTES`](config::MAX_FILE_BYTES), is not UTF-8, or says something that is wrong.
pub fn load(path: &Path) -> Result<LoadedDrill, ConfigErrors> {
    let text = config::read_text(path, IF_MISSING)?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a drill; `name` is the file's name in messages.
pub fn parse(name: &str, text: &str) -> Result<LoadedDrill, ConfigErrors> {
    let (root, mut sink) = config::read(name, text, DRILL)?;
    let faults = faults::read(&root, &mut sink);
    let steady_state = steady::read(&root, &mut sink);
    let abort = aborts::read(&root, &mut sink);
    // An error is a hole in what was read; what is made of it is thrown away.
    let warnings = sink.warnings()?;
    let text_of = |key| root.text(key).unwrap_or_default().to_owned();
    let duration_of = |key| root.duration(key).unwrap_or_default();
    let drill = Drill {
        name: text_of("name"),
        purpose: text_of("purpose"),
        before: duration_of("before"),
        duration: duration_of("duration"),
        after: duration_of("after"),
        seed: root.integer("seed"),
        faults,
        steady_state,
        abort,
    };
    Ok(LoadedDrill { drill, text: text.to_owned(), warnings })
}

/// Whether a text is meant as a drill: it has a key of a drill at its top, and none of the
/// configuration of guardd.
pub fn is_drill(text: &str) -> bool {
    let top = config::top_keys(text);
    let has = |keys: &[Key]| top.iter().any(|name| keys.iter().any(|key| key.name == name));
    has(DRILL) && !has(ROOT)
}

/// `bulkhead` and `service` of a table; `None` after an error was reported.
fn pairs(node: &Node) -> Option<Pairs> {
    let service = node.text("service").map(str::to_owned);
    Some(Pairs { bulkhead: node.text("bulkhead")?.to_owned(), service })
}

#[cfg(test)]
mod tests;
