//! Keys of `[[recovery]]` and `[retry_policies.NAME]`.

use std::time::Duration;

use super::{Absent, Key, Kind, YEAR};

const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;
const SECOND: Duration = Duration::from_secs(1);

/// `[[recovery]]`.
pub(super) static RECOVERY: &[Key] = &[
    Key::new("name", Kind::Name, Absent::Required, "Name of the rule, unique in the file.")
        .example("\"github-degraded\""),
    Key::new(
        "when",
        Kind::Table(WHEN),
        Absent::Required,
        "The detector: where to look, and what starts the recovery.",
    ),
    Key::new(
        "steps",
        Kind::Steps(STEPS),
        Absent::Required,
        "What to do, from mild to severe; the next step only when verification failed.",
    )
    .example("[ { reset_connections = {} }, { restart = \"research\" } ]"),
    Key::new(
        "verify",
        Kind::Table(VERIFY),
        Absent::Words("the detector no longer fires"),
        "How it is known that a step has helped.",
    )
    .example("{ success_rate_above = 0.95, within = \"30s\" }"),
    Key::new(
        "cooldown",
        Kind::Duration { min: Duration::ZERO, max: YEAR },
        Absent::Value("\"15s\""),
        "Rest after a recovery before the rule may start another.",
    )
    .example("\"15s\""),
    Key::new(
        "max_per_hour",
        Kind::Integer { min: 1, max: 3600 },
        Absent::Value("6"),
        "Recoveries in an hour after which the rule stops and calls a person.",
    )
    .example("6"),
];

static WHEN: &[Key] = &[
    Key::new("bulkhead", Kind::BulkheadRef, Absent::Words("every bulkhead"), "Whose calls.")
        .example("\"research\""),
    Key::new("service", Kind::ServiceRef, Absent::Words("every service"), "Calls to what.")
        .example("\"github\""),
    Key::new(
        "success_rate_below",
        Kind::Number { min: 0.001, max: 1.0 },
        Absent::Value("0.8"),
        "Share of successful calls in `window` below which the rule fires.",
    )
    .example("0.8"),
    Key::new(
        "window",
        Kind::Duration { min: SECOND, max: Duration::from_hours(24) },
        Absent::Value("\"30s\""),
        "Sliding window over which the success rate is taken.",
    )
    .example("\"30s\""),
    Key::new(
        "min_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("10"),
        "Calls in the window below which the success rate says nothing.",
    )
    .example("10"),
];

static VERIFY: &[Key] = &[
    Key::new(
        "success_rate_above",
        Kind::Number { min: 0.0, max: 0.9999 },
        Absent::Value("0.95"),
        "Share of successful calls that counts as recovered.",
    )
    .example("0.95"),
    Key::new(
        "within",
        Kind::Duration { min: SECOND, max: Duration::from_hours(24) },
        Absent::Value("\"30s\""),
        "Time that a step has to show it.",
    )
    .example("\"30s\""),
];

static STEPS: &[Key] = &[
    step("end_call", Kind::Table(OPTIONS), "Destroys the one socket whose call hangs.", "{}"),
    step(
        "reset_connections",
        Kind::Table(OPTIONS),
        "Destroys the bulkhead's connections to the service.",
        "{}",
    ),
    step(
        "reset_limits",
        Kind::Table(OPTIONS),
        "Clears retry counters, budgets and breaker windows.",
        "{}",
    ),
    step("flush_dns", Kind::Table(OPTIONS), "Resolves the service's host names again.", "{}"),
    step(
        "clear_cache",
        Kind::Argv,
        "Runs a command that clears the agent's cache.",
        "[\"/usr/local/bin/clear-cache\", \"github\"]",
    ),
    step(
        "exec",
        Kind::Argv,
        "Runs a command; its environment describes the incident.",
        "[\"/usr/local/bin/hook\", \"github\"]",
    ),
    step("http", Kind::Url, "Posts the incident to a URL.", "\"http://127.0.0.1:8080/hook\""),
    step("fallback", Kind::Choice(&["on", "off"]), "Switches the service's fallback.", "\"on\""),
    step("freeze", Kind::Table(OPTIONS), "Stops the bulkhead's processes.", "{}"),
    step("thaw", Kind::Table(OPTIONS), "Lets frozen processes run again.", "{}"),
    step(
        "memory_high",
        Kind::Size { min: MIB, max: PIB },
        "Throttles the bulkhead above this memory.",
        "\"1GiB\"",
    ),
    step("signal", Kind::Signal, "Sends a signal to the bulkhead's processes.", "\"SIGTERM\""),
    step(
        "restart",
        Kind::RestartTarget,
        "Restarts the supervised agent of a bulkhead, or a systemd unit.",
        "\"research\"",
    ),
    step("checkpoint", Kind::Table(OPTIONS), "Snapshots the agent's state.", "{}"),
    step("restore", Kind::Table(OPTIONS), "Restores the agent's last good snapshot.", "{}"),
    step("notify", Kind::Table(OPTIONS), "Calls a person.", "{}"),
];

const fn step(name: &'static str, kind: Kind, doc: &'static str, example: &'static str) -> Key {
    Key::new(name, kind, Absent::Words("not a step of the rule"), doc).example(example)
}

/// Steps without a value of their own take a table.
static OPTIONS: &[Key] = &[Key::new(
    "timeout",
    Kind::Duration { min: Duration::from_millis(100), max: Duration::from_hours(1) },
    Absent::Words("that of the step"),
    "Longest time the step may take.",
)
.example("\"10s\"")];

/// `[retry_policies.NAME]`.
pub(super) static RETRY_POLICY: &[Key] = &[
    Key::new(
        "max_retries",
        Kind::Integer { min: 0, max: 1000 },
        Absent::Required,
        "Attempts after the first; 0 = never again.",
    )
    .example("5"),
    Key::new(
        "backoff",
        Kind::Choice(&["exponential", "fixed"]),
        Absent::Value("\"exponential\""),
        "How the delay grows: doubled each time, or the same.",
    )
    .example("\"exponential\""),
    Key::new(
        "initial_delay",
        Kind::Duration { min: Duration::from_millis(1), max: YEAR },
        Absent::Value("\"1s\""),
        "Delay before the first retry.",
    )
    .example("\"1s\""),
    Key::new(
        "max_delay",
        Kind::Duration { min: Duration::from_millis(1), max: YEAR },
        Absent::Value("\"30s\""),
        "Longest delay; not below `initial_delay`.",
    )
    .example("\"30s\""),
];
