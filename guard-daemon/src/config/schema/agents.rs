//! Keys of `[agents.NAME]`.

use std::time::Duration;

use super::{Absent, Key, Kind, YEAR};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const TIB: u64 = 1 << 40;

const fn duration(min: Duration) -> Kind {
    Kind::Duration { min, max: YEAR }
}

/// `[agents.NAME]`.
pub(super) static AGENT: &[Key] = &[
    Key::new("bulkhead", Kind::BulkheadRef, Absent::Words("the bulkhead of the agent's name"), "Where it runs.")
        .example("\"research\""),
    Key::new("command", Kind::Argv, Absent::Required, "The program, and its arguments.")
        .example("[\"/usr/local/bin/agent\", \"--serve\"]"),
    Key::new("directory", Kind::AbsolutePath, Absent::Words("/"), "Its working directory.")
        .example("\"/var/lib/agent\""),
    Key::new(
        "user",
        Kind::Line { min: 1, max: 128 },
        Absent::Words("that of guardd"),
        "As whom it runs: USER, USER:GROUP, or numbers.",
    )
    .example("\"agent\""),
    Key::new(
        "restart",
        Kind::Choice(&["always", "on_failure", "never"]),
        Absent::Value("\"on_failure\""),
        "When it is started again. \"on_failure\": when it ends by a signal or with another code than 0.",
    )
    .example("\"always\""),
    Key::new(
        "restart_delay",
        duration(MILLISECOND),
        Absent::Value("\"1s\""),
        "Pause before the first restart; it doubles each time, with jitter.",
    )
    .example("\"1s\""),
    Key::new(
        "max_restart_delay",
        duration(MILLISECOND),
        Absent::Value("\"1m\""),
        "Longest pause.",
    )
    .example("\"1m\""),
    Key::new(
        "start_limit",
        Kind::Integer { min: 1, max: 1000 },
        Absent::Value("5"),
        "Restarts within `start_limit_window` after which it stays down, a person is called, and \
         `guardctl agent start` is needed.",
    )
    .example("5"),
    Key::new(
        "start_limit_window",
        duration(SECOND),
        Absent::Value("\"10m\""),
        "Time over which restarts are counted.",
    )
    .example("\"10m\""),
    Key::new(
        "reset_after",
        duration(SECOND),
        Absent::Value("\"10m\""),
        "Running for so long, it is well again: pauses and count begin anew.",
    )
    .example("\"10m\""),
    Key::new(
        "stop_signal",
        Kind::Signal,
        Absent::Value("\"SIGTERM\""),
        "What asks it to stop.",
    )
    .example("\"SIGINT\""),
    Key::new(
        "stop_timeout",
        duration(SECOND),
        Absent::Value("\"10s\""),
        "After which all of it is killed.",
    )
    .example("\"10s\""),
    Key::new(
        "after",
        Kind::Names,
        Absent::Words("none"),
        "Agents that are started before it, and stopped after it when all are stopped.",
    )
    .example("[\"db-proxy\"]"),
    Key::new(
        "health",
        Kind::Table(HEALTH),
        Absent::Words("running is well"),
        "A command that says whether it is well.",
    ),
    Key::new(
        "checkpoint",
        Kind::Table(CHECKPOINT),
        Absent::Words("nothing is kept"),
        "What is kept of its state, so that it goes on where it was.",
    ),
];

static HEALTH: &[Key] = &[
    Key::new(
        "command",
        Kind::Argv,
        Absent::Required,
        "Exit code 0 = it is well. Runs outside the bulkhead.",
    )
    .example("[\"/usr/local/bin/is-well\"]"),
    Key::new("every", duration(SECOND), Absent::Value("\"30s\""), "From one question to the next.")
        .example("\"30s\""),
    Key::new(
        "timeout",
        duration(MILLISECOND),
        Absent::Value("\"5s\""),
        "Longest time for an answer.",
    )
    .example("\"5s\""),
    Key::new(
        "failures",
        Kind::Integer { min: 1, max: 1000 },
        Absent::Value("3"),
        "Bad answers in a row after which it is started again.",
    )
    .example("3"),
    Key::new(
        "start_grace",
        duration(Duration::ZERO),
        Absent::Value("\"10s\""),
        "Time after a start in which bad answers count for nothing.",
    )
    .example("\"10s\""),
];

static CHECKPOINT: &[Key] = &[
    Key::new(
        "paths",
        Kind::AbsolutePaths,
        Absent::Required,
        "Files and directories that are its state. Symbolic links in them are kept as links; none on the \
         way to them is followed.",
    )
    .example("[\"/var/lib/agent\"]"),
    Key::new("every", duration(SECOND), Absent::Words("only when somebody asks"), "From one to the next.")
        .example("\"5m\""),
    Key::new("keep", Kind::Integer { min: 1, max: 1000 }, Absent::Value("5"), "How many are kept.")
        .example("5"),
    Key::new(
        "max_freeze",
        Kind::Duration { min: MILLISECOND, max: Duration::from_mins(1) },
        Absent::Value("\"500ms\""),
        "Longest time for which the bulkhead may stand still; a checkpoint that needs more is given up.",
    )
    .example("\"500ms\""),
    Key::new(
        "max_size",
        Kind::Size { min: 1, max: TIB },
        Absent::Value("\"1GiB\""),
        "Most that one checkpoint may hold; a larger state is not kept, and that is told.",
    )
    .example("\"1GiB\""),
    Key::new(
        "restore_on_crash",
        Kind::Flag,
        Absent::Value("true"),
        "Whether the last good one is restored before it is started again after a crash. What it did since \
         then, it may do again.",
    )
    .example("false"),
];
