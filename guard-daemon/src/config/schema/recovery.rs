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
        "Recoveries of one bulkhead and service in an hour; above it the rule acts no more, calls a \
         person once, and waits.",
    )
    .example("6"),
    Key::new(
        "reset_after",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Value("\"10m\""),
        "Healthy time after which the count of `max_per_hour` starts anew.",
    )
    .example("\"10m\""),
    Key::new(
        "allow_repeat",
        Kind::Flag,
        Absent::Value("false"),
        "Whether the rule may end calls, and signal or restart processes, where `when.service` is of class \
         `mcp` or `tool`. A call that is ended may be made again, and with it what it does: a mail is sent \
         twice. Acts only together with `when.service` or `when.bulkhead`.",
    )
    .example("true"),
    Key::new(
        "dry_run",
        Kind::Flag,
        Absent::Value("false"),
        "Detects, and writes down what it would do; touches nothing.",
    )
    .example("true"),
];

/// `[defaults.recovery]`.
pub(super) static DEFAULTS: &[Key] = &[
    Key::new(
        "default_rule",
        Kind::Choice(&["on", "off"]),
        Absent::Value("\"on\""),
        "The built-in rule `success-rate`, for whatever no rule of the file is about: when fewer than \
         80 % of at least 10 calls in 30 s succeed, or a breaker is OPEN, idle connections are closed, \
         names resolved again, and a breaker whose service was out of reach is probed as soon as guardd \
         can connect to it. It never ends a call.",
    )
    .example("\"off\""),
    Key::new(
        "max_concurrent",
        Kind::Integer { min: 1, max: 64 },
        Absent::Value("4"),
        "Actions that run at a time on this host. Of those that stop processes (freeze, signal, restart, \
         restore) only one runs at a time, whatever this says.",
    )
    .example("4"),
];

/// `[notify]`.
pub(super) static NOTIFY: &[Key] = &[
    Key::new(
        "exec",
        Kind::Argv,
        Absent::Words("no command"),
        "Command that calls a person; its environment and standard input describe the incident.",
    )
    .example("[\"/usr/local/bin/page\", \"oncall\"]"),
    Key::new(
        "http",
        Kind::HttpUrl,
        Absent::Words("no webhook"),
        "Where the incident is posted as JSON. For https, put a relay in front, or use `exec`.",
    )
    .example("\"http://127.0.0.1:8080/page\""),
    Key::new(
        "timeout",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_hours(1) },
        Absent::Value("\"10s\""),
        "Longest time for each of the two.",
    )
    .example("\"10s\""),
];

static WHEN: &[Key] = &[
    Key::new("bulkhead", Kind::BulkheadRef, Absent::Words("every bulkhead"), "Whose calls.")
        .example("\"research\""),
    Key::new("service", Kind::ServiceRef, Absent::Words("every service"), "Calls to what.")
        .example("\"github\""),
    Key::new(
        "success_rate_below",
        Kind::Number { min: 0.001, max: 1.0 },
        Absent::Words("0.8 where the rule names no other detector; else it is none"),
        "Share of successful calls in `window` below which the rule fires.",
    )
    .example("0.8"),
    Key::new(
        "latency_above",
        Kind::Duration { min: Duration::from_millis(1), max: Duration::from_hours(1) },
        Absent::Words("no detector"),
        "The time to the first byte at `latency_quantile` of the calls in `window` is above this.",
    )
    .example("\"2s\""),
    Key::new(
        "latency_quantile",
        Kind::Number { min: 0.5, max: 0.999 },
        Absent::Value("0.95"),
        "Which quantile that is.",
    )
    .example("0.95"),
    Key::new(
        "breaker_open_for",
        Kind::Duration { min: Duration::ZERO, max: YEAR },
        Absent::Words("no detector"),
        "The breaker has not been CLOSED for so long.",
    )
    .example("\"10s\""),
    Key::new(
        "stalled_for",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Words("no detector"),
        "A call has waited for its answer for so long. Models think for minutes: above 10 min for these.",
    )
    .example("\"10m\""),
    Key::new(
        "memory_pressure_above",
        Kind::Percent { min: 0.1, max: 100.0 },
        Absent::Words("no detector"),
        "Share of the last 10 s in which some process of the bulkhead waited for memory (PSI).",
    )
    .example("\"30%\""),
    Key::new(
        "out_of_memory",
        Kind::Flag,
        Absent::Value("false"),
        "The kernel has killed a process of the bulkhead for want of memory. Verified when no other was \
         killed for `verify.within`.",
    )
    .example("true"),
    Key::new(
        "agent_exited",
        Kind::Flag,
        Absent::Value("false"),
        "The supervised agent of the bulkhead has failed for good: its start limit is used up.",
    )
    .example("true"),
    Key::new(
        "limit_refusals_above",
        Kind::Integer { min: 0, max: 1_000_000 },
        Absent::Words("no detector"),
        "More calls than this were refused in `window` by limits of the bulkhead: retries, the host's budget \
         of retries, connections, a budget that is used up, and, where no service is named, pressure \
         stages. As `guard_bulkhead_rejected_total` counts them: none in monitor mode.",
    )
    .example("20"),
    Key::new(
        "combine",
        Kind::Choice(&["all", "any"]),
        Absent::Value("\"all\""),
        "Whether all detectors of the rule must say so, or any.",
    )
    .example("\"any\""),
    Key::new(
        "window",
        Kind::Duration { min: SECOND, max: Duration::from_hours(24) },
        Absent::Value("\"30s\""),
        "Sliding window over which success, latency and refused calls are taken.",
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
        Kind::Table(RESET_CONNECTIONS),
        "Destroys the bulkhead's connections to the service.",
        "{ which = \"idle\" }",
    ),
    step(
        "reset_limits",
        Kind::Table(RESET_LIMITS),
        "Lets the retries of the bulkhead to the service count from 0 again, with its breaker's failures in \
         a row and window; an OPEN one stays OPEN, and may probe as soon as guardd can connect, where its \
         calls failed by no connection. Never shortens a Retry-After.",
        "{ which = \"counters\" }",
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
    step("http", Kind::HttpUrl, "Posts the incident to a URL.", "\"http://127.0.0.1:8080/hook\""),
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
    Key::new(
        "retry",
        Kind::Name,
        Absent::Words("a webhook follows the policy of its type of error; nothing else is tried again"),
        "Beside a step: the retry policy by which it is tried again while it fails or takes too long, \
         within the step's `timeout`. A try that hangs gets half of the time that is left; of a \
         webhook, all of it.",
    )
    .example("\"network_error\""),
    Key::new(
        "timeout",
        TIMEOUT.kind,
        TIMEOUT.default,
        "Beside a step: longest time that it may take, with all of its tries.",
    )
    .example("\"1m\""),
    Key::new(
        "user",
        Kind::Line { min: 1, max: 64 },
        Absent::Words("who runs guardd: root"),
        "Beside `exec` or `clear_cache`: USER or USER:GROUP, names or numbers, as whom the command runs, with \
         its groups and without any right of root's.",
    )
    .example("\"nobody\""),
];

/// Keys beside a step that say how it is done.
pub(in crate::config) const BESIDE_STEPS: [&str; 3] = ["retry", "timeout", "user"];

const fn step(name: &'static str, kind: Kind, doc: &'static str, example: &'static str) -> Key {
    Key::new(name, kind, Absent::Words("not a step of the rule"), doc).example(example)
}

/// Steps without a value of their own take a table.
static OPTIONS: &[Key] = &[TIMEOUT];

static RESET_CONNECTIONS: &[Key] = &[
    TIMEOUT,
    Key::new(
        "which",
        Kind::Choice(&["idle", "all"]),
        Absent::Value("\"idle\""),
        "\"idle\": those on which no answer is awaited. \"all\": calls are ended too.",
    )
    .example("\"idle\""),
];

static RESET_LIMITS: &[Key] = &[
    TIMEOUT,
    Key::new(
        "which",
        Kind::Choice(&["probes", "counters", "budgets"]),
        Absent::Value("\"counters\""),
        "\"probes\": only early probes of an OPEN breaker. \"counters\": retries and the breaker's counts \
         too. \"budgets\": and budgets of the bulkhead that are used up are released until their period \
         ends.",
    )
    .example("\"budgets\""),
];

const TIMEOUT: Key = Key::new(
    "timeout",
    Kind::Duration { min: Duration::from_millis(100), max: Duration::from_hours(1) },
    Absent::Value("\"10s\""),
    "Longest time the step may take.",
)
.example("\"10s\"");

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
        "jitter",
        Kind::Flag,
        Absent::Words("true for exponential, false for fixed"),
        "Whether a random part of up to a half is taken off each delay, so that many do not come at once.",
    )
    .example("true"),
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
