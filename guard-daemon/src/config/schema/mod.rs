//! The one table of all keys, of the configuration and of drills: the reader takes allowed keys,
//! types, ranges and defaults from it, `guardctl explain` its words, so that they cannot disagree.
//! It never reads a file and holds no value of an installation.

use std::time::Duration;

mod agents;
mod breaker;
mod bulkheads;
mod daemon;
mod drill;
mod find;
mod hygiene;
mod kind;
mod limits;
mod recovery;
mod resources;
mod schedule;
mod services;

pub use drill::DRILL;
pub(crate) use find::Match;
pub(crate) use find::entries_of;
pub use find::{Entry, drill_entries, entries};
pub use kind::Kind;
pub(crate) use kind::quoted;

use agents::AGENT;
use bulkheads::BULKHEAD;
use daemon::DAEMON;
pub(in crate::config) use recovery::BESIDE_STEPS;
use recovery::{RECOVERY, RETRY_POLICY};
use schedule::SCHEDULE;
use services::SERVICE;

/// Placeholder of a user-given name in a key path.
pub const NAME: &str = "NAME";
/// Most services that one configuration may have.
pub const MAX_SERVICES: usize = 4096;
/// Most bulkheads that one configuration may have.
pub const MAX_BULKHEADS: usize = 4096;
/// Most recovery rules or retry policies that one configuration may have.
pub const MAX_RULES: usize = 4096;

const YEAR: Duration = Duration::from_hours(365 * 24);

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// Last component of its path.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// What holds when it is absent.
    pub default: Absent,
    /// What a changed value needs to take effect.
    pub reload: Reload,
    /// Whether this version acts on it; if not, it is checked and a warning says so.
    pub enforced: bool,
    /// One paragraph on what it means.
    pub doc: &'static str,
    /// A value as written in TOML; empty for tables that are explained by their keys.
    pub example: &'static str,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// This value, as written in TOML.
    Value(&'static str),
    /// No value; the words say what that means.
    Words(&'static str),
    /// It must be given.
    Required,
}

/// What a changed value needs to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// `guardctl reload` applies it.
    Live,
    /// guardd has to be started again.
    Restart,
    /// It is a key of a drill, which is read anew at each run.
    EachRun,
}

/// Whose names the entries of a `[x.NAME]` table are, and what names are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Services; `other` is built in and cannot be defined.
    Service,
    /// Bulkheads.
    Bulkhead,
    /// Services defined elsewhere in the file, or `other`.
    ServiceRef,
    /// Retry policies.
    Policy,
    /// Agents.
    Agent,
}

impl Key {
    /// A key that a reload applies and that this version enforces.
    const fn new(name: &'static str, kind: Kind, default: Absent, doc: &'static str) -> Self {
        Self { name, kind, default, reload: Reload::Live, enforced: true, doc, example: "" }
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn restart(mut self) -> Self {
        self.reload = Reload::Restart;
        self
    }

    const fn each_run(mut self) -> Self {
        self.reload = Reload::EachRun;
        self
    }

    /// Checked, but without effect in this version.
    const fn inert(mut self) -> Self {
        self.enforced = false;
        self
    }

    /// Keys below it; empty unless it is a table.
    pub fn children(&self) -> &'static [Self] {
        match self.kind {
            Kind::Table(keys) | Kind::List(keys) | Kind::Steps(keys) | Kind::Named { keys, .. } => {
                keys
            }
            _ => &[],
        }
    }
}

/// The document.
pub static ROOT: &[Key] = &[
    Key::new(
        "daemon",
        Kind::Table(DAEMON),
        Absent::Words("every key has a default"),
        "The daemon itself: where it keeps its state, who may talk to it, what it must never touch.",
    ),
    Key::new(
        "services",
        Kind::Named { keys: SERVICE, names: Names::Service, max: MAX_SERVICES },
        Absent::Words("none: every destination belongs to the built-in service `other`"),
        "The peers that agents call, each a named set of endpoints. A destination belongs to the \
         service with the longest matching prefix; of two as long, to the one that names the port. \
         What no endpoint matches is the built-in service `other`.",
    ),
    Key::new(
        "defaults",
        Kind::Table(DEFAULTS),
        Absent::Words("none"),
        "Settings for every bulkhead or service that does not set its own.",
    ),
    Key::new(
        "bulkheads",
        Kind::Named { keys: BULKHEAD, names: Names::Bulkhead, max: MAX_BULKHEADS },
        Absent::Words("none: nothing is guarded"),
        "The compartments: one cgroup v2 subtree for each agent or class of agents. Only processes \
         inside them are seen or touched by guard.",
    ),
    Key::new(
        "agents",
        Kind::Named { keys: AGENT, names: Names::Agent, max: MAX_RULES },
        Absent::Words("none: agents are run by others"),
        "Agents that guardd runs, each inside a bulkhead, under a supervisor that starts it again \
         when it has crashed, and goes on when guardd does not.",
    ),
    Key::new(
        "recovery",
        Kind::List(RECOVERY),
        Absent::Words("none"),
        "Recovery rules: when a detector fires, the steps are tried from mild to severe, and each \
         is followed by a verification.",
    ),
    Key::new(
        "notify",
        Kind::Table(recovery::NOTIFY),
        Absent::Words("log and event only"),
        "How a person is called when healing does not help.",
    ),
    Key::new(
        "retry_policies",
        Kind::Named { keys: RETRY_POLICY, names: Names::Policy, max: MAX_RULES },
        Absent::Words("none"),
        "How often and how fast guard's own actions are tried again, by type of error. There are \
         `network_error` (5 times, 1 s doubling to 30 s), `rate_limit_429` (3 times, 60 s) and \
         `validation_error` (never); the file may change these and add others, for agents to follow.",
    ),
    Key::new(
        "schedule",
        Kind::List(SCHEDULE),
        Absent::Words("none: drills run when somebody runs them"),
        "Drills that guardd runs by itself, at the times of a calendar, one at a time.",
    ),
];

static DEFAULTS: &[Key] = &[
    Key::new(
        "breaker",
        Kind::Table(breaker::BREAKER),
        Absent::Words("the defaults of its keys"),
        "Breaker settings for every (bulkhead, service) that does not set its own.",
    ),
    Key::new(
        "retry_budget",
        Kind::Table(limits::RETRY_BUDGET),
        Absent::Words("the defaults of its keys"),
        "How many retries the whole host may make: without it, the limits of many bulkheads would \
         add up to a storm.",
    ),
    Key::new(
        "storms",
        Kind::Table(limits::STORMS),
        Absent::Words("the defaults of its keys: it is on"),
        "What counts as a storm of calls.",
    ),
    Key::new(
        "hygiene",
        Kind::Table(hygiene::HYGIENE),
        Absent::Words("the defaults of its keys: it is on"),
        "Connection hygiene for every service that does not set its own, and for `other`.",
    ),
    Key::new(
        "recovery",
        Kind::Table(recovery::DEFAULTS),
        Absent::Words("the defaults of its keys: it is on"),
        "Healing without a rule, and how much of it at a time.",
    ),
];

#[cfg(test)]
mod tests;
