//! `guardctl cleanup`: removes what a dead guardd left on the host. Never while a guardd
//! answers: it would lose what it stands on.

use std::path::Path;

use super::client::{Client, ClientError};
use super::output::Output;
use super::view::{self, Cleaned};
use crate::control;
use crate::control::api::{ErrorBody, Status};
use crate::daemon::{self, CleanupReport, DaemonError};
use crate::journal::LogError;

/// 0 if nothing is left, 3 if something is; an error (2) while a guardd runs.
pub(super) async fn run(
    client: &Client,
    state_dir: &Path,
    output: &Output,
) -> Result<u8, ErrorBody> {
    match client.get::<Status>("/v1/status").await {
        Err(ClientError::NoDaemon { .. }) => {}
        Ok(status) => {
            return Err(alive(&format!("guardd {} (pid {}) runs", status.version, status.pid)));
        }
        // Something has the socket open and cannot be asked: as good as a guardd that runs.
        Err(error) => return Err(alive(&format!("cannot rule out that a guardd runs: {error}"))),
    }
    let mut cleaned = remove_leftovers(state_dir)?;
    // Its owner is dead: nobody listens.
    match control::remove_dead(client.path()) {
        Ok(true) => cleaned.removed.push(format!("control socket {}", client.path().display())),
        Ok(false) => {}
        Err(error) => cleaned.left.push(error.to_string()),
    }
    let exit_code = if cleaned.left.is_empty() { 0 } else { 3 };
    output.answer(&cleaned, |look| view::cleaned(&cleaned, exit_code, look))?;
    Ok(exit_code)
}

fn alive(what: &str) -> ErrorBody {
    ErrorBody {
        error: format!("{what}; nothing was removed"),
        help: "stop it first: systemctl stop guardd. To end faults only: guardctl halt REASON"
            .into(),
        exit_code: 2,
    }
}

/// Plays the undo log of `state_dir`, unless a guardd has it open (on whatever socket).
fn remove_leftovers(state_dir: &Path) -> Result<Cleaned, ErrorBody> {
    let report = daemon::cleanup(state_dir).map_err(|error| match &error {
        DaemonError::State { source, .. } if matches!(**source, LogError::InUse { .. }) => {
            alive(&error.to_string())
        }
        _ => error.into(),
    })?;
    let CleanupReport { removed, left } = report;
    Ok(Cleaned { schema: "guard.cleanup/1".into(), removed, left })
}
