//! Runs hooks, each in a cgroup of its own: what calls setsid or forks away is ended with it. The cgroup
//! is in the undo log before it is made; where it cannot be made, the process group must do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Guard;
use crate::cgroup::{Bulkhead, HOOKS, end_hook};
use crate::journal::{self, Entry, Ticket, Undo};
use crate::recovery::{ActionResult, Outcome};

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

impl Guard {
    /// Runs something that may start processes in the cgroup that it is given, and ends them all.
    pub(super) fn in_cgroup(&self, run: impl FnOnce(Option<&Path>) -> Outcome) -> Outcome {
        let place = match self.make_hook_cgroup() {
            Ok(place) => Some(place),
            Err(_) if self.lock().hooks_ended => {
                let (result, took) = (ActionResult::Skipped, Duration::ZERO);
                return Outcome { result, message: "guardd stops".into(), took };
            }
            Err(error) => {
                tracing::warn!(error, "a hook runs without a cgroup of its own: setsid escapes it");
                None
            }
        };
        let mut outcome = run(place.as_ref().map(|(path, _)| path.as_path()));
        let Some((path, ticket)) = place else { return outcome };
        match end_hook(&path, PATIENCE) {
            Ok(left) => {
                if left > 0 {
                    let message = &outcome.message;
                    outcome.message =
                        format!("{message}; processes that it left were ended: {left}");
                }
                let mut state = self.lock();
                // At guardd's stop somebody else may have been faster.
                if let Err(error) = state.undo.done(ticket) {
                    tracing::debug!(%error, "a hook's cgroup is gone, but the undo log was not told");
                }
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "the cgroup of a hook stays, until guardd's stop or next start");
                outcome.message += "; a process that it left cannot be ended yet";
            }
        }
        outcome
    }

    fn make_hook_cgroup(&self) -> Result<(PathBuf, Ticket), String> {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        // Never that of an earlier guardd.
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let relative = Path::new(HOOKS).join(format!("hook-{}-{number}", std::process::id()));
        let mut state = self.lock();
        let state = &mut *state;
        if state.hooks_ended {
            return Err("guardd stops".into());
        }
        let (mut own, mut above) = (None, Vec::new());
        let (root, undo) = (&state.root, &mut state.undo);
        let opened = Bulkhead::make_or_adopt(root, &relative, &mut |path| {
            let path = path.to_owned();
            let is_own = path.ends_with(&relative);
            let entry = if is_own {
                Undo::HookCgroup { path: path.clone() }
            } else {
                Undo::CgroupMade { path: path.clone() }
            };
            let ticket = undo.intend(entry).map_err(|error| error.to_string())?;
            if is_own {
                own = Some((path, ticket));
            } else {
                above.push((path, ticket));
            }
            Ok(())
        });
        match (opened, own) {
            (Ok(_), Some(own)) => {
                // Removed at the stop.
                state.left_cgroups.extend(above);
                Ok(own)
            }
            (opened, own) => {
                state.settle(above.into_iter().chain(own).collect());
                Err(opened.err().map_or("it is there already".into(), |error| error.to_string()))
            }
        }
    }

    /// Ends the hooks that run, and lets none begin any more: guardd stops.
    pub(in crate::daemon) fn end_hooks(&self) {
        let is_hook = |entry: &Entry| matches!(entry.what, Undo::HookCgroup { .. });
        let mut state = self.lock();
        state.hooks_ended = true;
        let hooks: Vec<Entry> = state.undo.open_entries().into_iter().filter(is_hook).collect();
        drop(state);
        for entry in hooks {
            match journal::undo(&entry) {
                Ok(journal::UndoResult::LeftOver(why)) => tracing::error!("a hook stays: {why}"),
                Err(error) => tracing::error!(%error, "a hook stays"),
                Ok(_) => {
                    if let Err(error) = self.lock().undo.done(entry.ticket) {
                        tracing::debug!(%error, "a hook has ended by itself meanwhile");
                    }
                }
            }
        }
    }
}
