//! Keys of a breaker: `[defaults.breaker]` and `breaker.services.NAME` of a bulkhead.

use std::time::Duration;

use super::{Absent, Key, Kind};

/// The longest time that a breaker's word in the kernel holds.
const DAY: Duration = Duration::from_hours(24);

/// Settings of one breaker.
pub(super) static BREAKER: &[Key] = &[
    Key::new(
        "failure_threshold",
        Kind::Integer { min: 0, max: 255 },
        Absent::Words("that of the service's class: 5"),
        "Consecutive failures that open the breaker. The call after the last of them is refused. \
         0 = no number of them does.",
    )
    .example("5"),
    Key::new(
        "success_rate_below",
        Kind::Number { min: 0.0, max: 1.0 },
        Absent::Words("that of the service's class: 0, or 0.5 for `llm`, `mcp` and `tool`"),
        "Opens the breaker when fewer than this share of the calls in `window` succeed, once there \
         were `min_calls`. 0 = no rate does.",
    )
    .example("0.5"),
    Key::new(
        "slow_after",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        Absent::Words("\"0s\""),
        "An answer that took at least this long to begin is slow, and too many of those open the \
         breaker. \"0s\" = none is slow.",
    )
    .example("\"20s\""),
    Key::new(
        "slow_share",
        Kind::Number { min: 0.001, max: 1.0 },
        Absent::Words("0.5"),
        "Share of slow calls in `window` from which on the breaker opens, once there were \
         `min_calls`.",
    )
    .example("0.5"),
    Key::new(
        "abandoned_after",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        Absent::Words("that of the service's class: \"5s\", \"30s\" for `mcp`, \"60s\" for `llm`"),
        "A call that the agent itself gives up after at least this long without one byte of an \
         answer counts as a failure (response_timeout): a client that always gives up first would \
         otherwise hide a service that hangs. \"0s\" = it never counts.",
    )
    .example("\"5s\""),
    Key::new(
        "window",
        Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(24) },
        Absent::Words("\"60s\""),
        "Sliding window over which the success rate and the share of slow calls are taken.",
    )
    .example("\"60s\""),
    Key::new(
        "min_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Words("that of the service's class: 10, or 5 for `llm`, `mcp` and `tool`"),
        "Calls in the window below which neither says anything.",
    )
    .example("10"),
    Key::new(
        "open_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: DAY },
        Absent::Words("that of the service's class: \"60s\", or \"5s\" for `llm`, `mcp` and `tool`"),
        "How long the breaker stays OPEN before it lets a probe through.",
    )
    .example("\"60s\""),
    Key::new(
        "backoff",
        Kind::Number { min: 1.0, max: 16.0 },
        Absent::Words("that of the service's class: 1, or 2 for `llm`, `mcp` and `tool`"),
        "Factor on `open_timeout` for each trip that follows another without a recovery between.",
    )
    .example("2"),
    Key::new(
        "max_open_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: DAY },
        Absent::Words("that of the service's class: a day, or \"60s\" for `llm`, `mcp` and `tool`"),
        "Longest time OPEN that `backoff` leads to; not below `open_timeout`.",
    )
    .example("\"5m\""),
    Key::new(
        "max_retry_after",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        Absent::Words("\"5m\""),
        "Longest time that the service itself may ask to be left alone for, by `Retry-After` in a bad \
         answer of clear-text HTTP. An OPEN breaker stays open until then, never shorter than it \
         would. \"0s\" = it is not asked.",
    )
    .example("\"5m\""),
    Key::new(
        "jitter",
        Kind::Number { min: 0.0, max: 0.9 },
        Absent::Words("that of the service's class: 0, or 0.2 for `llm`, `mcp` and `tool`"),
        "The time OPEN varies by up to this share of itself, up or down, so that the bulkheads of \
         one host do not all probe at the same moment.",
    )
    .example("0.2"),
    Key::new(
        "half_open_calls",
        Kind::Integer { min: 1, max: 15 },
        Absent::Words("1"),
        "Probes that HALF_OPEN lets through at once. Each is a lease held by its socket, so it can \
         neither be lost nor taken twice.",
    )
    .example("1"),
    Key::new(
        "errno",
        Kind::Errno,
        Absent::Words("\"ECONNREFUSED\""),
        "Error that connect() returns for a refused call. ECONNREFUSED is what every client knows \
         how to handle.",
    )
    .example("\"EHOSTUNREACH\""),
    Key::new(
        "mode",
        Kind::Choice(&["enforce", "monitor", "force_open", "force_closed", "off"]),
        Absent::Words("\"enforce\"; \"off\" for the class `llm_local`"),
        "\"enforce\" refuses calls while OPEN; \"monitor\" only counts those that it would have \
         refused; \"force_open\" and \"force_closed\" hold the state; \"off\" keeps no state.",
    )
    .example("\"monitor\""),
    Key::new(
        "open_pool",
        Kind::Choice(&["keep", "cut_idle", "cut_all"]),
        Absent::Words("\"keep\""),
        "What becomes of the connections that the agent already pools when the breaker opens: kept, \
         the idle ones destroyed, or all of them. A client that keeps connections alive does not \
         connect again, so that it notices an open breaker only when its pool is cut.",
    )
    .example("\"cut_idle\""),
    Key::new(
        "open_action",
        Kind::Choice(&["refuse", "hold"]),
        Absent::Words("that of the service's class: \"refuse\", or \"hold\" for `llm` and `mcp`"),
        "\"refuse\" fails a call at once. \"hold\" lets its connect wait, up to `hold_max`, and go \
         on when the breaker closes: for clients that count attempts and then give up for good.",
    )
    .example("\"hold\""),
    Key::new(
        "hold_max",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_mins(1) },
        Absent::Words("\"4s\""),
        "Longest wait of a held connect; after it the connect fails. Stay below the connect timeout \
         of the clients (5 s for many).",
    )
    .example("\"4s\""),
];
