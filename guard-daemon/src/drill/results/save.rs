//! Puts files where they belong: whole or not at all. It never replaces a file of another run.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::ResultsError;

/// Mode of a run's directory, before the umask.
const DIRECTORY_MODE: u32 = 0o755;

/// Whether results can be written into a directory, which is made if need be.
pub(super) fn try_directory(parent: &Path) -> Result<(), ResultsError> {
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    let attempt = parent.join(format!(".guard-{}.part", std::process::id()));
    DirBuilder::new()
        .mode(DIRECTORY_MODE)
        .create(&attempt)
        .map_err(failed("write into", parent))?;
    fs::remove_dir(&attempt).map_err(failed("write into", parent))
}

/// Makes the directory of a run, which must not be there yet.
pub(super) fn make_directory(parent: &Path, run_id: &str) -> Result<PathBuf, ResultsError> {
    let is_fit = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if run_id.is_empty() || !run_id.chars().all(is_fit) {
        return Err(ResultsError::RunId { run_id: run_id.to_owned() });
    }
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    let path = parent.join(run_id);
    match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ResultsError::Exists { path })
        }
        Err(error) => Err(failed("create", &path)(error)),
    }
}

/// Writes a file under another name, then gives it its own: a reader finds it whole.
pub(super) fn file(directory: &Path, name: &str, text: &str) -> Result<(), ResultsError> {
    let temporary = directory.join(format!(".{name}.part"));
    let path = directory.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(failed("write", &path))
        .and_then(|()| fs::rename(&temporary, &path).map_err(failed("rename", &path)));
    if written.is_err() && fs::remove_file(&temporary).is_err() {
        // It was not made, or the disk is beyond help; the error that is returned says more.
    }
    written
}

/// Makes the new names last over a loss of power.
pub(super) fn sync(directory: &Path) -> Result<(), ResultsError> {
    File::open(directory).and_then(|it| it.sync_all()).map_err(failed("synchronise", directory))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::Io { action, path, source }
}
