//! Keys of a drill: a file of its own, read by guardctl at each run and never by guardd.

use std::time::Duration;

use super::{Absent, Key, Kind};

mod abort;
mod fault;
mod steady_state;

use abort::ABORT;
use fault::FAULT;
use steady_state::STEADY_STATE;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Most characters of a drill's purpose and of a steady state's name.
const LONGEST_LINE: usize = 200;
/// Most characters of a PromQL expression: it travels in the request's line.
const LONGEST_QUERY: usize = 2000;
/// Largest number that a PromQL expression may be compared with, either side of zero.
const FAR: f64 = 1e15;
/// Longest time that a request or a command of a probe may take.
const LONGEST_TRY: Duration = Duration::from_mins(1);
/// Where Prometheus listens if nobody has changed it.
const PROMETHEUS: Absent = Absent::Value("\"http://127.0.0.1:9090\"");
/// What `prometheus` means, for probes and for abort conditions.
const PROMETHEUS_DOC: &str = "The Prometheus server that is asked; a path in front of its `/api/v1` is \
                              kept. It is asked in clear text and without a password.";

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
