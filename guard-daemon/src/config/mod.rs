//! The configuration file: text in, a [`Plan`] and warnings out, or every error of the file at
//! once, each with its place, the key, what is wrong and what would be right. It never changes
//! anything on the host and never resolves a name.
//!
//! The way: `syntax` (TOML) → `read` (types and ranges, along the table in `schema`) → `check`
//! (what needs more than one key) → `build` (the plan). `explain` turns the same table, and the
//! words of guard, into answers for people.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use crate::plan::Plan;

mod build;
mod check;
mod diagnostic;
pub mod explain;
mod read;
mod render;
pub mod schema;
mod sink;
mod source;
mod syntax;
pub(crate) mod text;

pub use diagnostic::{ConfigErrors, Diagnostic, Related, Severity};
pub use explain::explain;

use sink::Sink;
use source::Source;

/// Longest file that is read, bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

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
        if self.warnings.is_empty() { String::new() } else { render::all(&self.warnings, color) }
    }
}

/// Reads a configuration file. Errors: the file cannot be read, is longer than
/// [`MAX_FILE_BYTES`], is not UTF-8, or says something that is wrong.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let bytes = read_file(path).map_err(|(message, help)| unreadable(&name, "", message, help))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        let message = format!("not UTF-8: a bad byte after {} good ones", error.valid_up_to());
        unreadable(&name, &valid, message, "save the file as UTF-8".into())
    })?;
    parse(&name, text)
}

/// Reads the text of a configuration; `name` is the file's name in messages.
pub fn parse(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    if text.len() as u64 > MAX_FILE_BYTES {
        let (message, help) = too_long();
        return Err(unreadable(name, "", message, help));
    }
    let mut sink = Sink::new(Arc::new(Source::new(name, text)));
    let readable = syntax::check(text, &mut sink);
    // Its errors were reported just now, from the whole text.
    let (tree, _) = DeTable::parse_recoverable(&readable);
    let root = read::Reader::new(&mut sink).document(tree.get_ref());
    check::all(&root, &mut sink);
    let plan = build::plan(&root);
    let has_errors = sink.has_errors();
    let diagnostics = sink.finish();
    if has_errors {
        Err(ConfigErrors { diagnostics })
    } else {
        Ok(Loaded { plan, warnings: diagnostics })
    }
}

/// The bytes of the file, or a message and a cure.
fn read_file(path: &Path) -> Result<Vec<u8>, (String, String)> {
    let failed = |what: &str, error: &std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "give the path with --config, or start from configs/guard.toml"
            }
            std::io::ErrorKind::PermissionDenied => "run as a user who may read it, such as root",
            _ => "",
        };
        (format!("cannot {what} the file: {error}"), help.to_owned())
    };
    let metadata = std::fs::metadata(path).map_err(|e| failed("look at", &e))?;
    if metadata.is_dir() {
        return Err(("is a directory".into(), "name a file, such as guard.toml".into()));
    }
    let file = std::fs::File::open(path).map_err(|e| failed("open", &e))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| failed("read", &e))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_long());
    }
    Ok(bytes)
}

fn too_long() -> (String, String) {
    let message =
        format!("the file is longer than {MAX_FILE_BYTES} bytes (8 MiB), the most that is read");
    (message, "is this the right file?".into())
}

/// An error about the file as a whole, or about what follows its readable beginning.
fn unreadable(name: &str, beginning: &str, message: String, help: String) -> ConfigErrors {
    let source = Arc::new(Source::new(name, beginning));
    let span = (!beginning.is_empty()).then_some(beginning.len()..beginning.len());
    let diagnostic = Diagnostic::new(&source, Severity::Error, span, "", message).help(help);
    ConfigErrors { diagnostics: vec![diagnostic] }
}

#[cfg(test)]
mod tests;
