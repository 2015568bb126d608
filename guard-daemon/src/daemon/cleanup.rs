//! `guardctl cleanup`: what a dead guardd left on the host is removed, without a daemon.

use std::path::Path;

use super::error::DaemonError;
use crate::journal::{self, UndoLog, UndoResult};
use crate::net::iptables;

/// What a cleanup did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// What was removed, one line each.
    pub removed: Vec<String>,
    /// What is still there and why, one line each.
    pub left: Vec<String>,
}

/// Plays the undo log of a state directory, then looks for netfilter chains with guard's name that
/// no log knows of. Fails if a guardd has the directory open.
pub fn cleanup(state_dir: &Path) -> Result<CleanupReport, DaemonError> {
    let mut report = CleanupReport::default();
    if state_dir.exists() {
        let (mut undo, leftovers) = UndoLog::open(state_dir).map_err(|source| {
            DaemonError::State { path: state_dir.to_owned(), source: Box::new(source) }
        })?;
        report.left.extend(undo.damage().iter().map(|damage| format!("{damage:?}")));
        for (entry, result) in journal::recover(&mut undo, leftovers) {
            let what = format!("{:?}", entry.what);
            match result {
                Ok(UndoResult::Removed) => report.removed.push(what),
                Ok(UndoResult::Gone) => {}
                Ok(UndoResult::LeftOver(why)) => report.left.push(format!("{what}: {why}")),
                Err(error) => report.left.push(format!("{what}: {error}")),
            }
        }
    }
    match iptables::remove_leftovers() {
        Ok(chains) => report.removed.extend(chains),
        Err(error) => report.left.push(error.to_string()),
    }
    Ok(report)
}
