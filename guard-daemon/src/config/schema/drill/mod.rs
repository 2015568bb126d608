//! Keys of a drill: a file of its own, read by guardctl at each run and never by guardd.

use std::time::Duration;

use super::{Absent, Key, Kind};

mod fault;
mod steady_state;

use fault::FAULT;
use steady_state::STEADY_STATE;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Most characters of a drill's purpose and of a steady state's name.
const LONGEST_LINE: usize = 200;

/// A key of a drill, without an example.
const fn table(name: &'static str, kind: Kind, default: Absent, doc: &'static str) -> Key {
    Key::new(name, kind, default, doc).each_run()
}

/// A key of a drill.
const fn key(
    name: &'static str,
    kind: Kind,
    default: Absent,
    doc: &'static str,
    example: &'static str,
) -> Key {
    table(name, kind, default, doc).example(example)
}

/// What the paths of a drill's keys begin with in `guardctl explain`; in no file.
pub(super) static DRILL_ROOT: &[Key] = &[table(
    "drill",
    Kind::Table(DRILL),
    Absent::Words("no drill"),
    "A drill: a file of its own that says which faults to inject, for how long, and what must hold \
     before, during and after them. Its keys are at the top of the file. `guardctl check FILE` reads \
     it and changes nothing.",
)];

/// The document.
pub static DRILL: &[Key] = &[
    key(
        "name",
        Kind::Name,
        Absent::Required,
        "Name of the drill, in results and in their file names.",
        "\"github-brownout\"",
    ),
    key(
        "purpose",
        Kind::Line { min: 0, max: LONGEST_LINE },
        Absent::Value("\"\""),
        "Why the drill is run, in one line, for those who read its results.",
        "\"research goes on when github is slow\"",
    ),
    key(
        "before",
        Kind::Duration { min: Duration::ZERO, max: HOUR },
        Absent::Value("\"5s\""),
        "How long the steady state is watched before the faults. What is missed then keeps them from \
         being injected. With \"0s\" it is not watched.",
        "\"5s\"",
    ),
    key(
        "duration",
        Kind::Duration { min: SECOND, max: DAY },
        Absent::Required,
        "How long the time of the faults lasts. No fault starts or ends later.",
        "\"60s\"",
    ),
    key(
        "after",
        Kind::Duration { min: Duration::ZERO, max: HOUR },
        Absent::Value("\"15s\""),
        "How long the steady state may take to come back after the faults. With \"0s\" it is not \
         watched.",
        "\"15s\"",
    ),
    key(
        "seed",
        Kind::Integer { min: 0, max: i64::MAX as u64 },
        Absent::Words("drawn at each run, and reported with the results"),
        "Seed of all random decisions: which packets are lost, which connects refused.",
        "42",
    ),
    table(
        "fault",
        Kind::List(FAULT),
        Absent::Required,
        "What is injected: one bulkhead, one service, and one or more effects at the same time. At \
         least one.",
    ),
    table(
        "steady_state",
        Kind::List(STEADY_STATE),
        Absent::Required,
        "What must hold: one probe each, with its tolerance. At least one.",
    ),
    table(
        "abort",
        Kind::List(ABORT),
        Absent::Words("none: the drill runs to its end"),
        "What ends the faults early, so that a drill does no more harm than was meant.",
    ),
];

static ABORT: &[Key] = &[
    key("bulkhead", Kind::Name, Absent::Required, "Whose calls are watched.", "\"writing\""),
    key(
        "service",
        Kind::Name,
        Absent::Words("every service"),
        "Calls to what; \"other\" is what no service's endpoint matches.",
        "\"github\"",
    ),
    key(
        "success_rate_below",
        Kind::Number { min: 0.001, max: 1.0 },
        Absent::Required,
        "Share of successful calls below which the faults end.",
        "0.5",
    ),
    key(
        "for",
        Kind::Duration { min: SECOND, max: HOUR },
        Absent::Value("\"10s\""),
        "How long it must last; also the window in which calls are counted.",
        "\"10s\"",
    ),
    key(
        "min_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("5"),
        "Calls in the window below which the success rate says nothing.",
        "5",
    ),
];
