//! Keys of limits that hold at connect(): connections, retries, budgets.

use std::time::Duration;

use super::{Absent, Key, Kind, MAX_SERVICES, Names, YEAR};

const PIB: u64 = 1 << 50;

/// Longest time for which pacing may hold a call: well below what TCP and hygiene wait.
pub(crate) const MAX_PACING_DELAY: Duration = Duration::from_mins(5);

/// `max_calls_per_second` of a bulkhead, a service, or both.
pub(super) const fn max_calls_per_second(absent: Absent, about: &'static str) -> Key {
    let kind = Kind::Number { min: 0.001, max: 1_000_000.0 };
    Key::new("max_calls_per_second", kind, absent, about).example("5")
}

/// Beside it.
pub(super) const fn max_calls_burst() -> Key {
    Key::new(
        "max_calls_burst",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Words("one second's worth of `max_calls_per_second`, at least 1"),
        "Calls that may begin at once after a pause, before `max_calls_per_second` paces them.",
    )
    .example("10")
}

/// `[defaults.storms]`.
pub(super) static STORMS: &[Key] = &[
    Key::new(
        "mode",
        Kind::Choice(&["on", "off"]),
        Absent::Value("\"on\""),
        "Whether guard tells of storms: very many calls with tiny, fast answers, as a loop makes them \
         that polls or tries again. It never acts on one by itself.",
    )
    .example("\"off\""),
    Key::new(
        "calls_per_second",
        Kind::Number { min: 0.1, max: 1_000_000.0 },
        Absent::Value("20"),
        "A storm has at least so many answered calls a second, of one bulkhead to one service.",
    )
    .example("50"),
    Key::new(
        "max_answer",
        Kind::Size { min: 1, max: PIB },
        Absent::Value("\"4KiB\""),
        "Its answers are no larger than this on average.",
    )
    .example("\"1KiB\""),
    Key::new(
        "max_answer_time",
        Kind::Duration { min: Duration::from_millis(1), max: YEAR },
        Absent::Value("\"100ms\""),
        "They begin no later than this on average.",
    )
    .example("\"50ms\""),
    Key::new(
        "for",
        Kind::Duration { min: Duration::from_secs(1), max: YEAR },
        Absent::Value("\"15s\""),
        "For how long all of that must hold.",
    )
    .example("\"60s\""),
];

/// `retries` of a bulkhead, or of one of its services.
pub(super) static RETRIES: &[Key] = &[
    Key::new(
        "max",
        Kind::Integer { min: 0, max: 1_000_000 },
        Absent::Required,
        "Retries of one service within `window`; above it they are refused. An attempt is a retry \
         when the newest call to the service has failed, or was throttled, within `window`.",
    )
    .example("3"),
    Key::new(
        "window",
        Kind::Duration { min: Duration::from_millis(100), max: YEAR },
        Absent::Required,
        "The time over which retries are counted. It begins with the first retry.",
    )
    .example("\"30s\""),
];

/// `limits` of a bulkhead.
pub(super) static LIMITS: &[Key] = &[
    Key::new(
        "errno",
        Kind::Errno,
        Absent::Value("\"ECONNREFUSED\""),
        "What a connect gets that a limit of this bulkhead refuses. Clients take EPERM and EACCES \
         for a mistake of the operator's, and do not try again.",
    )
    .example("\"EHOSTUNREACH\""),
    Key::new(
        "services",
        Kind::Named { keys: OF_SERVICE, names: Names::ServiceRef, max: MAX_SERVICES },
        Absent::Words("those of the bulkhead"),
        "Limits for one service, as seen from this bulkhead. Those of the bulkhead hold too.",
    ),
];

static OF_SERVICE: &[Key] = &[
    Key::new(
        "max_connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Words("no limit but the bulkhead's"),
        "Connections to the service that may be open at once.",
    )
    .example("8"),
    max_calls_per_second(
        Absent::Words("no limit but the bulkhead's and the service's own"),
        "Calls to the service above this rate are paced, that is delayed, not refused. The rates of \
         the bulkhead as a whole and of `[services.NAME]` hold too.",
    ),
    max_calls_burst(),
    Key::new(
        "retries",
        Kind::Table(RETRIES),
        Absent::Words("the bulkhead's `retries`"),
        "Attempts after a failure of this service.",
    )
    .example("{ max = 10, window = \"60s\" }"),
    Key::new(
        "errno",
        Kind::Errno,
        Absent::Words("the bulkhead's `limits.errno`"),
        "What a refused connect to this service gets.",
    )
    .example("\"ECONNREFUSED\""),
];

/// `[defaults.retry_budget]`.
pub(super) static RETRY_BUDGET: &[Key] = &[
    Key::new(
        "percent",
        Kind::Percent { min: 0.0, max: 100.0 },
        Absent::Value("\"20%\""),
        "Retries of all bulkheads together may be this share of all their calls. It holds for \
         bulkheads and services with `retries`; others are not counted against it.",
    )
    .example("\"20%\""),
    Key::new(
        "min_per_second",
        Kind::Number { min: 0.0, max: 1_000_000.0 },
        Absent::Value("10"),
        "Retries a second that are always allowed, however few calls there are.",
    )
    .example("10"),
];

/// One budget of a bulkhead.
pub(super) static BUDGET: &[Key] = &[
    Key::new(
        "per",
        Kind::Duration { min: Duration::from_secs(1), max: YEAR },
        Absent::Required,
        "Length of the period. Periods begin at multiples of it since 1970, in UTC: \"1h\" at each \
         full hour, \"24h\" at midnight.",
    )
    .example("\"1h\""),
    Key::new(
        "bytes",
        Kind::Size { min: 1, max: PIB },
        Absent::Words("not limited"),
        "Payload sent and received in a period.",
    )
    .example("\"500MiB\""),
    Key::new(
        "calls",
        Kind::Integer { min: 1, max: 1_000_000_000_000 },
        Absent::Words("not limited"),
        "Calls in a period, answered or failed; those that guard rejected do not count.",
    )
    .example("1000"),
    Key::new(
        "connects",
        Kind::Integer { min: 1, max: 1_000_000_000_000 },
        Absent::Words("not limited"),
        "Connection attempts in a period; those that guard rejected do not count.",
    )
    .example("5000"),
    Key::new(
        "services",
        Kind::ServiceRefs,
        Absent::Words("all services, and `other`"),
        "Services whose traffic counts, and whose calls are blocked.",
    )
    .example("[\"github\"]"),
    Key::new(
        "warn_at",
        Kind::Percent { min: 1.0, max: 100.0 },
        Absent::Value("\"80%\""),
        "Share of a limit from which on guard warns, once in a period.",
    )
    .example("\"80%\""),
    Key::new(
        "on_exhausted",
        Kind::Choice(&["block", "freeze", "warn"]),
        Absent::Value("\"block\""),
        "\"block\" refuses new calls to the services until the next period, and ends their idle \
         connections; \"freeze\" stops the bulkhead's processes as well; \"warn\" only tells.",
    )
    .example("\"block\""),
];
