//! Text for people: one file per command, each a pure function from an answer to a string.
//! Never prints, never asks; whatever comes from outside (names of processes, messages) loses
//! its control characters here, so that no agent can write to the operator's terminal.

mod agent;
mod breaker;
mod budget;
mod detached;
mod doctor;
mod drill;
mod event;
mod fault;
mod limits;
pub(crate) mod look;
mod operate;
mod recovery;
mod schedule;
mod status;
pub(crate) mod table;
pub(crate) mod text;
mod waits;

pub(super) use agent::{agents, checkpoints};
pub(super) use breaker::breakers;
pub(super) use budget::budgets;
pub(super) use detached::drill_detached;
pub(super) use doctor::doctor;
pub(super) use drill::{DrillProgress, drill_begins, drill_plan, drills, drills_aborted};
pub(super) use event::{event, events};
pub(super) use fault::{fault_ended, fault_list, fault_started, faults_cleared, halted};
pub(crate) use look::{Look, Tone};
pub(super) use operate::{Cleaned, cleaned, done, joined, reloaded};
pub(super) use recovery::{incident, incidents, policies, recovered};
pub(super) use status::status;
pub(super) use waits::waits;

#[cfg(test)]
pub(super) fn plain() -> Look {
    Look { color: false, ascii: true, width: 96 }
}
