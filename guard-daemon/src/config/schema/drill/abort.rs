//! Keys of `[[abort]]`.

use std::time::Duration;

use super::{
    Absent, FAR, HOUR, Key, Kind, LONGEST_QUERY, LONGEST_TRY, PROMETHEUS, PROMETHEUS_DOC, SECOND,
    key,
};

/// Absent, because the entry looks at something else.
const OTHER_CONDITION: Absent = Absent::Words("another condition");

/// `[[abort]]`: conditions, then what belongs to them.
pub(super) static ABORT: &[Key] = &[
    key(
        "success_rate_below",
        Kind::Number { min: 0.001, max: 1.0 },
        OTHER_CONDITION,
        "Condition: share of successful calls below which the faults end. Needs `bulkhead`; takes \
         `service` and `min_calls`.",
        "0.5",
    ),
    key(
        "promql",
        Kind::Line { min: 1, max: LONGEST_QUERY },
        OTHER_CONDITION,
        "Condition: a PromQL expression that gives one number, asked about once a second. The faults \
         end when it stays out of `below` and `above`. Needs one of them; takes `prometheus` and \
         `timeout`.",
        "\"sum(rate(http_requests_total{code=~'5..'}[1m]))\"",
    ),
    key(
        "bulkhead",
        Kind::Name,
        Absent::Words("none; needed by `success_rate_below`"),
        "Whose calls are watched.",
        "\"writing\"",
    ),
    key(
        "service",
        Kind::Name,
        Absent::Words("every service"),
        "Calls to what; \"other\" is what no service's endpoint matches.",
        "\"github\"",
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
    key("prometheus", Kind::HttpUrl, PROMETHEUS, PROMETHEUS_DOC, "\"http://127.0.0.1:9090\""),
    key(
        "below",
        Kind::Number { min: -FAR, max: FAR },
        Absent::Words("no value is too small"),
        "The value of `promql` is bad below this.",
        "1",
    ),
    key(
        "above",
        Kind::Number { min: -FAR, max: FAR },
        Absent::Words("no value is too large"),
        "The value of `promql` is bad above this.",
        "10",
    ),
    key(
        "timeout",
        Kind::Duration { min: Duration::from_millis(10), max: LONGEST_TRY },
        Absent::Words("\"5s\""),
        "Longest time that Prometheus may take. A try without an answer neither counts as bad nor as good.",
        "\"2s\"",
    ),
];
