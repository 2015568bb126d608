//! The text of a file, and the text read along a table of keys: what every kind of file that
//! people write for guard has in common. It never changes the file and never reads past
//! [`MAX_FILE_BYTES`].

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::diagnostic::{ConfigErrors, Diagnostic, Severity};
use super::read::{Node, Reader};
use super::schema::Key;
use super::sink::Sink;
use super::source::Source;
use super::syntax;

/// Longest file that is read, bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

/// The text of a file. `if_missing`: the cure where there is no such file.
pub(crate) fn read_text(path: &Path, if_missing: &str) -> Result<String, ConfigErrors> {
    let name = path.display().to_string();
    let bytes = read_bytes(path, if_missing)
        .map_err(|(message, help)| unreadable(&name, "", message, help))?;
    String::from_utf8(bytes).map_err(|error| {
        let good_bytes = error.utf8_error().valid_up_to();
        let good = String::from_utf8_lossy(error.as_bytes().get(..good_bytes).unwrap_or_default());
        let message = format!("not UTF-8: a bad byte after {good_bytes} good ones");
        unreadable(&name, &good, message, "save the file as UTF-8".into())
    })
}

/// Reads a text along a table of keys. What is wrong is in the sink; an error only if the text is
/// too long to be read. `name` is the file's name in messages.
pub(crate) fn read(
    name: &str,
    text: &str,
    keys: &'static [Key],
) -> Result<(Node, Sink), ConfigErrors> {
    if text.len() as u64 > MAX_FILE_BYTES {
        let (message, help) = too_long();
        return Err(unreadable(name, "", message, help));
    }
    let mut sink = Sink::new(Arc::new(Source::new(name, text)));
    let readable = syntax::check(text, &mut sink);
    // Its errors were reported just now, from the whole text.
    let (tree, _) = DeTable::parse_recoverable(&readable);
    let root = Reader::new(&mut sink, keys).document(tree.get_ref());
    Ok((root, sink))
}

/// The names of the keys at the top of a text, as far as it is valid TOML.
pub(crate) fn top_keys(text: &str) -> Vec<String> {
    if text.len() as u64 > MAX_FILE_BYTES {
        return Vec::new();
    }
    let (tree, _) = DeTable::parse_recoverable(text);
    tree.get_ref().iter().map(|(name, _)| name.get_ref().to_string()).collect()
}

/// The bytes of the file, or a message and a cure.
fn read_bytes(path: &Path, if_missing: &str) -> Result<Vec<u8>, (String, String)> {
    let failed = |what: &str, error: &std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => if_missing,
            std::io::ErrorKind::PermissionDenied => "run as a user who may read it, such as root",
            _ => "",
        };
        (format!("cannot {what} the file: {error}"), help.to_owned())
    };
    let metadata = std::fs::metadata(path).map_err(|e| failed("look at", &e))?;
    if metadata.is_dir() {
        return Err(("is a directory".into(), "name a file in it, such as guard.toml".into()));
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
