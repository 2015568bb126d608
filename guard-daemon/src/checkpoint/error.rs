//! What can go wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint was not made or not restored; nothing half-made counts as one.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A state path, or something on the way to it, is a symbolic link.
    #[error(
        "state path {} has a symbolic link in it, and guard follows none into an agent's state: \
         configure the path that it leads to", .0.display()
    )]
    Link(PathBuf),
    /// None of the state paths is there.
    #[error("none of the state paths is there: {}", shown(.0))]
    NoState(Vec<PathBuf>),
    /// More than a checkpoint may have.
    #[error("the state is too large for a checkpoint: {0}; name smaller paths, or exclude some")]
    TooLarge(String),
    /// The agent could not be stopped or let go.
    #[error("{0}")]
    Freeze(String),
    /// The copy was not done in time; the agent runs again, the checkpoint was thrown away.
    #[error(
        "the copy was not done within max_freeze ({limit_ms} ms), so the agent was let go and the \
         checkpoint thrown away: raise max_freeze, or put state_dir on the file system of the \
         state, if that one can share blocks (btrfs, xfs)"
    )]
    TooSlow {
        /// `max_freeze`, milliseconds.
        limit_ms: u128,
    },
    /// What was read back is not what was written.
    #[error("checkpoint {number} is damaged: {what}")]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong.
        what: String,
    },
    /// Nothing that can be restored.
    #[error("there is no good checkpoint in {}{}", directory.display(), because(skipped))]
    NoGood {
        /// Where it looked.
        directory: PathBuf,
        /// Those that are damaged, and why.
        skipped: Vec<(u64, String)>,
    },
    /// A pattern of `exclude` is none.
    #[error("exclude pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn because(skipped: &[(u64, String)]) -> String {
    let lines = skipped.iter().map(|(number, why)| format!("; {number}: {why}"));
    lines.collect()
}

/// An I/O error with its place.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { action, path, source }
}

/// The same for an error number.
pub(super) fn errno(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(rustix::io::Errno) -> CheckpointError {
    let inner = at(action, path);
    move |errno| inner(errno.into())
}
