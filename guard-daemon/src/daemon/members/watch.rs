//! The thread that follows members: it is woken when cgroups appear or vanish where a pattern looks,
//! and looks at runs now and then. It holds the state only while it looks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cgroup::Watcher;
use crate::daemon::state::Guard;

/// Between two looks at runs, and at whether the patterns are still the same.
const LOOK: Duration = Duration::from_millis(500);
/// How long the thread waits before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(250);
/// Between two tries to watch, or to find a user.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Follows members until the stop.
pub(in crate::daemon) fn watch(guard: &Guard, stop: &AtomicBool) {
    let mut watching: Option<(Vec<String>, Watcher)> = None;
    let mut try_at = Instant::now();
    let mut look_at = Instant::now();
    let mut owners_at = Instant::now() + TRY_AGAIN;
    while !stop.load(Ordering::Relaxed) {
        let woken = match &watching {
            Some((patterns, watcher)) if !patterns.is_empty() => watcher.wait(WAIT),
            _ => {
                std::thread::park_timeout(WAIT);
                false
            }
        };
        let now = Instant::now();
        if woken {
            refresh(guard, watching.as_ref().map(|(_, watcher)| watcher));
        }
        if now < look_at {
            continue;
        }
        look_at = now + LOOK;
        let patterns = guard.lock().patterns();
        let same = watching.as_ref().is_some_and(|(known, _)| *known == patterns);
        if !same && now >= try_at {
            watching = match Watcher::new() {
                Ok(watcher) => {
                    if !patterns.is_empty() {
                        refresh(guard, Some(&watcher));
                    }
                    Some((patterns, watcher))
                }
                Err(error) => {
                    tracing::error!(%error, "cgroups that appear are not noticed");
                    try_at = now + TRY_AGAIN;
                    None
                }
            };
        }
        guard.look_at_runs(now);
        if now >= owners_at {
            owners_at = now + TRY_AGAIN;
            guard.look_up_owners_again();
        }
    }
}

/// Looks at the tree, with every directory watched before it is looked at: one that has just
/// appeared may have got children already.
fn refresh(guard: &Guard, watcher: Option<&Watcher>) {
    let mut watched = std::collections::BTreeSet::new();
    loop {
        let parents = guard.refresh_matches(&mut guard.lock());
        if parents.is_subset(&watched) {
            return;
        }
        if let Some(Err(error)) = watcher.map(|watcher| watcher.watch(&parents)) {
            tracing::error!(%error, "some cgroups that appear are not noticed");
            return;
        }
        watched = parents;
    }
}
