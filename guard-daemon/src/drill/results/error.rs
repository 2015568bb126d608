//! What can go wrong when results are written. Never a verdict: that is in the record.

use std::io;
use std::path::PathBuf;

/// The files of a run could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The id is not fit for the name of a directory.
    #[error(
        "cannot name the directory of the results after the run {run_id:?}: only letters, digits, \
         - and _ may be in an id; run the drill again, it draws a new one"
    )]
    RunId {
        /// The id.
        run_id: String,
    },
    /// There are results of this run.
    #[error(
        "{} exists, and results are never written over; \
         choose another directory or move that one away",
        .path.display()
    )]
    Exists {
        /// Directory of the run.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(
        "cannot {action} {}: {source}; make room there, or choose a directory that you may write to",
        .path.display()
    )]
    Io {
        /// `create`, `write`, `write into`, `rename` or `synchronise`.
        action: &'static str,
        /// Of the file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text of a file could not be made.
    #[error(
        "cannot make {}: {why}; the other files of the run are beside it, and record.json has \
         everything that was measured",
        .path.display()
    )]
    Content {
        /// Of the file that is missing.
        path: PathBuf,
        /// Why, one sentence.
        why: String,
    },
}
