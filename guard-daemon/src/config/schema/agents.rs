//! Keys of `[agents.NAME]`.

use std::time::Duration;

use super::{Absent, Key, Kind, YEAR};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// `[agents.NAME]`.
pub(super) static AGENT: &[Key] = &[
    Key::new(
        "bulkhead",
        Kind::BulkheadRef,
        Absent::Words("the bulkhead of the agent's own name"),
        "Where it runs, in a cgroup of its own.",
    )
    .example("\"research\""),
    Key::new(
        "command",
        Kind::Argv,
        Absent::Required,
        "What guardd starts, through a supervisor that stays when guardd goes.",
    )
    .example("[\"/usr/bin/python3\", \"/srv/research/agent.py\"]"),
    Key::new("directory", Kind::AbsolutePath, Absent::Words("the root directory"), "Where it starts.")
        .example("\"/srv/research\""),
    Key::new(
        "user",
        Kind::Line { min: 1, max: 128 },
        Absent::Words("root"),
        "As whom it runs: USER, or USER:GROUP.",
    )
    .example("\"agent\""),
    Key::new(
        "environment",
        Kind::Environment,
        Absent::Words(
            "PATH, LANG, LC_ALL and TZ of guardd, GUARD_RETRY_ variables; with `user`, HOME, USER and LOGNAME",
        ),
        "Variables added to its environment.",
    )
    .example("{ MODEL = \"small\" }"),
    Key::new(
        "restart",
        Kind::Choice(&["always", "on_failure", "never"]),
        Absent::Value("\"on_failure\""),
        "After which ends it is started again; a failure is a signal, an exit code other than 0, or \
         failed health checks.",
    )
    .example("\"always\""),
    Key::new(
        "restart_policy",
        Kind::Name,
        Absent::Words("`restart_delay`, `max_restart_delay` and `start_limit` say it"),
        "Name of a retry policy: its delays, and its `max_retries` as `start_limit`.",
    )
    .example("\"network_error\""),
    Key::new(
        "restart_delay",
        Kind::Duration { min: MS, max: HOUR },
        Absent::Value("\"1s\""),
        "Pause before the first restart; it doubles with each, and each is shortened by chance, to \
         half of it at most.",
    )
    .example("\"1s\""),
    Key::new(
        "max_restart_delay",
        Kind::Duration { min: MS, max: HOUR },
        Absent::Value("\"1m\""),
        "Longest pause; not below `restart_delay`.",
    )
    .example("\"1m\""),
    Key::new(
        "start_limit",
        Kind::Integer { min: 0, max: 1000 },
        Absent::Value("5"),
        "Restarts within `start_limit_window` after which the agent is given up: it stays `failed` \
         until `guardctl agent start`.",
    )
    .example("5"),
    Key::new(
        "start_limit_window",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Value("\"10m\""),
        "Over which restarts are counted.",
    )
    .example("\"10m\""),
    Key::new(
        "reset_after",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Value("\"10m\""),
        "An agent that ran for so long was well: the pauses begin anew.",
    )
    .example("\"10m\""),
    Key::new(
        "after",
        Kind::Names,
        Absent::Words("none"),
        "Agents that must run before this one is started; `guardctl agent stop --all` stops it \
         before them.",
    )
    .example("[\"db-proxy\"]"),
    Key::new(
        "health",
        Kind::Table(HEALTH),
        Absent::Words("it is well while it runs"),
        "A command that says by exit code 0 that the agent is well.",
    )
    .example("{ command = [\"/usr/local/bin/is-well\"] }"),
    Key::new("stop", Kind::Table(STOP), Absent::Words("the defaults of its keys"), "How it is ended."),
    Key::new(
        "checkpoint",
        Kind::Table(CHECKPOINT),
        Absent::Words("none are made"),
        "Checkpoints of its state: the agent stands still for a moment while it is copied.",
    ),
];

static HEALTH: &[Key] = &[
    Key::new("command", Kind::Argv, Absent::Required, "Run as the agent's user, in its cgroup.")
        .example("[\"/usr/local/bin/is-well\"]"),
    Key::new(
        "every",
        Kind::Duration { min: Duration::from_millis(100), max: HOUR },
        Absent::Value("\"30s\""),
        "Pause between two.",
    )
    .example("\"30s\""),
    Key::new(
        "timeout",
        Kind::Duration { min: Duration::from_millis(100), max: HOUR },
        Absent::Value("\"5s\""),
        "Longer is a failure, and the command is killed.",
    )
    .example("\"5s\""),
    Key::new(
        "failures",
        Kind::Integer { min: 1, max: 1000 },
        Absent::Value("3"),
        "Failures in a row after which the agent is ended, and started again by `restart`.",
    )
    .example("3"),
    Key::new(
        "start_grace",
        Kind::Duration { min: Duration::ZERO, max: HOUR },
        Absent::Value("\"10s\""),
        "Time after a start in which it is not asked.",
    )
    .example("\"10s\""),
];

static STOP: &[Key] = &[
    Key::new("signal", Kind::Signal, Absent::Value("\"SIGTERM\""), "Asks it to end.")
        .example("\"SIGINT\""),
    Key::new(
        "timeout",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_mins(10) },
        Absent::Value("\"10s\""),
        "Time that it has to end; then everything in its cgroup is killed.",
    )
    .example("\"10s\""),
];

static CHECKPOINT: &[Key] = &[
    Key::new(
        "paths",
        Kind::Paths,
        Absent::Required,
        "Its state: directories or files, without a symbolic link in any of them.",
    )
    .example("[\"/srv/research/state\"]"),
    Key::new(
        "exclude",
        Kind::Globs,
        Absent::Words("nothing"),
        "Patterns of names, of files or directories anywhere below, that are left out.",
    )
    .example("[\"*.tmp\", \"cache\"]"),
    Key::new(
        "every",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Value("\"5m\""),
        "Pause between two.",
    )
    .example("\"5m\""),
    Key::new("keep", Kind::Integer { min: 1, max: 1000 }, Absent::Value("5"), "How many are kept.")
        .example("5"),
    Key::new(
        "verify",
        Kind::Flag,
        Absent::Value("true"),
        "Whether each is read back before it counts. Before a restore it always is.",
    )
    .example("false"),
    Key::new(
        "max_freeze",
        Kind::Duration { min: Duration::from_millis(10), max: Duration::from_mins(1) },
        Absent::Value("\"500ms\""),
        "Longest time that the agent stands still; a copy that is not done by then is thrown away.",
    )
    .example("\"500ms\""),
    Key::new(
        "restore",
        Kind::Choice(&["on_crash", "never"]),
        Absent::Value("\"on_crash\""),
        "Whether the last good one is put back before a restart after a crash. What it replaces is \
         kept beside it (`.NAME.guard-replaced`).",
    )
    .example("\"never\""),
];
