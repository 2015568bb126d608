//! What a rule's steps have put in place for the time of an incident, and how it is taken back: when the
//! incident ends in whatever way, and when the ladder gives up. Healing must never become the outage.
//! What an operator had done by hand (`guardctl recover`) is the operator's to take back.

use super::{Guard, Live, Target};
use crate::cgroup::limits::{self, Setting};
use crate::plan::Action;

/// One thing that is in place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    /// No process of the bulkhead runs.
    Frozen,
    /// The bulkhead's `memory.high`.
    Memory(Setting),
    /// Whether the service's fallback answers was taken out of the breaker's hands.
    Fallback,
}

impl Live {
    /// A step was done, be it in part.
    pub(super) fn hold(&mut self, action: &Action) {
        let held = match action {
            Action::Freeze => Held::Frozen,
            Action::MemoryHigh(bytes) => Held::Memory(limits::throttle(*bytes)),
            Action::Fallback(_) => Held::Fallback,
            Action::Thaw => return self.held.retain(|held| *held != Held::Frozen),
            _ => return,
        };
        if !self.held.contains(&held) {
            self.held.push(held);
        }
    }
}

impl Guard {
    /// Takes back what is in place for a target.
    pub(super) fn take_back(&self, incident: Option<u64>, target: &Target, all: Vec<Held>) {
        for held in all {
            let done = match held {
                Held::Frozen => self.thaw(target),
                Held::Memory(setting) => self.let_go(target, &setting),
                Held::Fallback => {
                    let Some(service) = &target.service else { continue };
                    Ok(self.unswitch_fallback(service).message)
                }
            };
            let message = match done {
                Ok(done) => format!("taken back: {done}"),
                Err((_, why)) => format!("not taken back: {why}"),
            };
            self.tell_note(incident.unwrap_or(0), message);
        }
    }
}
