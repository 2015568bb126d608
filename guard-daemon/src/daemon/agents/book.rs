//! What guardd remembers of its agents while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Behind a lock of its own: looking after agents must not wait for packets, nor these for it.
#[derive(Debug, Default)]
pub(crate) struct AgentBook {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// The last event of each agent that was passed on.
    pub(super) seen: BTreeMap<String, u64>,
    /// Supervisors that this guardd has started.
    pub(super) children: BTreeMap<String, Child>,
    /// Agents that somebody changes now: they are not looked after meanwhile.
    pub(super) busy: BTreeSet<String>,
    /// When a start that failed may be tried again.
    pub(super) not_before: BTreeMap<String, Instant>,
    /// When the next checkpoint is due.
    pub(super) due: BTreeMap<String, Instant>,
    /// Checkpoints made and failed.
    pub(super) checkpoints: BTreeMap<String, Counts>,
}

/// Checkpoints of one agent since guardd started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) saved: u64,
    pub(crate) failed: u64,
    pub(crate) restored: u64,
    /// How long it stood still for them, together.
    pub(crate) frozen: Duration,
}

impl AgentBook {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else changes the agent until the result is dropped; `None` if somebody does already.
    pub(super) fn take(&self, agent: &str) -> Option<Taken<'_>> {
        let taken = self.lock().busy.insert(agent.to_owned());
        taken.then(|| Taken { book: self, agent: agent.to_owned() })
    }

    /// The same for whoever can wait a moment: a start by guardd itself, or another order, ends soon.
    pub(super) fn take_soon(&self, agent: &str) -> Option<Taken<'_>> {
        const LOOK: Duration = Duration::from_millis(20);
        const LIMIT: Duration = Duration::from_secs(10);
        let until = Instant::now() + LIMIT;
        loop {
            let taken = self.take(agent);
            if taken.is_some() || Instant::now() >= until {
                return taken;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// An agent that is being changed.
pub(super) struct Taken<'a> {
    book: &'a AgentBook,
    agent: String,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.book.lock().busy.remove(&self.agent);
    }
}
