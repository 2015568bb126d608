//! Replaces a file as a whole.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes `name` in `directory` so that whoever reads it, be it after a crash, finds the old or the
/// new one. The new one is on the disk afterwards.
///
/// # Errors
/// If it cannot be written; the old one is there then.
pub fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.part"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}
