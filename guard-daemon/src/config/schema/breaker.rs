//! Keys of a breaker: `[defaults.breaker]` and `breaker.services.NAME` of a bulkhead.

use std::time::Duration;

use super::{Absent, Key, Kind, YEAR};

/// Settings of one breaker. Inert as a whole: the tables that hold them are marked so.
pub(super) static BREAKER: &[Key] = &[
    Key::new(
        "failure_threshold",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("5"),
        "Consecutive failures that open the breaker. The call after the last of them is refused.",
    )
    .example("5"),
    Key::new(
        "success_rate_below",
        Kind::Number { min: 0.001, max: 1.0 },
        Absent::Words("no rule on the success rate"),
        "Opens the breaker when fewer than this share of the calls in `window` succeed, once there \
         were `min_calls`.",
    )
    .example("0.5"),
    Key::new(
        "window",
        Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(24) },
        Absent::Value("\"60s\""),
        "Sliding window over which the success rate is taken.",
    )
    .example("\"60s\""),
    Key::new(
        "min_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("10"),
        "Calls in the window below which the success rate says nothing.",
    )
    .example("10"),
    Key::new(
        "open_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: YEAR },
        Absent::Value("\"60s\""),
        "How long the breaker stays OPEN before it lets a probe through.",
    )
    .example("\"60s\""),
    Key::new(
        "backoff",
        Kind::Number { min: 1.0, max: 100.0 },
        Absent::Value("1"),
        "Factor on `open_timeout` for each trip that follows another without a recovery between.",
    )
    .example("2"),
    Key::new(
        "max_open_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: YEAR },
        Absent::Words("no limit but the backoff's own"),
        "Longest time OPEN that `backoff` leads to; not below `open_timeout`.",
    )
    .example("\"5m\""),
    Key::new(
        "half_open_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("1"),
        "Probes that HALF_OPEN lets through at once. Each is a lease held by its socket, so it can \
         neither be lost nor taken twice.",
    )
    .example("1"),
    Key::new(
        "errno",
        Kind::Errno,
        Absent::Value("\"ECONNREFUSED\""),
        "Error that connect() returns for a refused call. ECONNREFUSED is what every client knows \
         how to handle.",
    )
    .example("\"EHOSTUNREACH\""),
    Key::new(
        "mode",
        Kind::Choice(&["enforce", "monitor", "force_open", "force_closed", "off"]),
        Absent::Value("\"enforce\""),
        "\"enforce\" refuses calls while OPEN; \"monitor\" only counts those that it would have \
         refused; \"force_open\" and \"force_closed\" hold the state; \"off\" keeps no state.",
    )
    .example("\"monitor\""),
    Key::new(
        "open_pool",
        Kind::Choice(&["keep", "cut_idle", "cut_all"]),
        Absent::Value("\"keep\""),
        "What becomes of the connections that the agent already pools when the breaker opens: kept, \
         the idle ones destroyed, or all of them.",
    )
    .example("\"cut_idle\""),
    Key::new(
        "open_action",
        Kind::Choice(&["refuse", "hold"]),
        Absent::Value("\"refuse\""),
        "\"refuse\" fails a call at once. \"hold\" lets its connect wait, up to `hold_max`, and go \
         on when the breaker closes: for clients that count attempts and then give up for good.",
    )
    .example("\"hold\""),
    Key::new(
        "hold_max",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_mins(1) },
        Absent::Value("\"4s\""),
        "Longest wait of a held connect. Stay below the connect timeout of the clients (5 s for \
         many).",
    )
    .example("\"4s\""),
];
