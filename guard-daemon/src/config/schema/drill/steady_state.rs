//! Keys of `[[steady_state]]`.

use std::time::Duration;

use super::{
    Absent, FAR, HOUR, Key, Kind, LONGEST_LINE, LONGEST_QUERY, LONGEST_TRY, PROMETHEUS,
    PROMETHEUS_DOC, key,
};

/// Absent, because the entry has another probe.
const OTHER_PROBE: Absent = Absent::Words("another probe");

/// `[[steady_state]]`: names, then probes, then what belongs to some of them.
pub(super) static STEADY_STATE: &[Key] = &[
    key(
        "name",
        Kind::Line { min: 1, max: LONGEST_LINE },
        Absent::Words("made from the probe, such as `writing success rate`"),
        "What people call it; unique in the drill.",
        "\"writing is not touched\"",
    ),
    key(
        "when",
        Kind::Words(&["before", "during", "after"]),
        Absent::Words("all three; with `breaker` it must be given"),
        "When it must hold. What is missed before the faults keeps them from being injected; after \
         them it has the drill's `after` to come back.",
        "[\"before\", \"after\"]",
    ),
    key(
        "success_rate_at_least",
        Kind::Number { min: 0.0, max: 1.0 },
        OTHER_PROBE,
        "Probe: smallest good share of successful calls. Needs `bulkhead`; takes `service` and \
         `min_calls`.",
        "0.95",
    ),
    key(
        "latency_at_most",
        Kind::Duration { min: Duration::from_millis(1), max: HOUR },
        OTHER_PROBE,
        "Probe: longest good time to the first byte of an answer, at `quantile`. Needs `bulkhead`; \
         takes `service`, `quantile` and `min_calls`.",
        "\"800ms\"",
    ),
    key(
        "breaker",
        Kind::Choice(&["closed", "open", "half_open"]),
        OTHER_PROBE,
        "Probe: a state in which the breaker must be seen, at any look during the faults, or at the \
         end of another phase. Needs `bulkhead`, `service` and `when`.",
        "\"open\"",
    ),
    key(
        "http",
        Kind::HttpUrl,
        OTHER_PROBE,
        "Probe: a GET request, sent by guardctl as the one who runs it. Takes `status` and `timeout`.",
        "\"http://127.0.0.1:8080/healthz\"",
    ),
    key(
        "promql",
        Kind::Line { min: 1, max: LONGEST_QUERY },
        OTHER_PROBE,
        "Probe: a PromQL expression that gives one number, asked by guardctl. Needs `at_least` or \
         `at_most`, or both; takes `prometheus` and `timeout`. No number at all is neither good nor \
         bad; NaN is bad.",
        "\"sum(rate(http_requests_total{code='200'}[1m]))\"",
    ),
    key(
        "command",
        Kind::Argv,
        OTHER_PROBE,
        "Probe: a command, run by guardctl as the one who runs it, without a shell. Takes `exit_code` \
         and `timeout`.",
        "[\"/usr/local/bin/agent-ok\", \"research\"]",
    ),
    key(
        "bulkhead",
        Kind::Name,
        Absent::Words("none; needed by probes of calls and of breakers"),
        "Whose calls, or whose breaker.",
        "\"writing\"",
    ),
    key(
        "service",
        Kind::Name,
        Absent::Words("every service; needed by `breaker`"),
        "Calls to what; \"other\" is what no service's endpoint matches.",
        "\"github\"",
    ),
    key(
        "min_calls",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Value("1"),
        "Calls of a phase below which nothing is said about it.",
        "10",
    ),
    key(
        "quantile",
        Kind::Number { min: 0.001, max: 0.9999 },
        Absent::Value("0.95"),
        "Share of calls that must be as fast as `latency_at_most`.",
        "0.99",
    ),
    key(
        "status",
        Kind::Integer { min: 100, max: 599 },
        Absent::Value("200"),
        "Status that the answer to the `http` request must have.",
        "204",
    ),
    key(
        "exit_code",
        Kind::Integer { min: 0, max: 255 },
        Absent::Value("0"),
        "Exit code that the `command` must have.",
        "0",
    ),
    key("prometheus", Kind::HttpUrl, PROMETHEUS, PROMETHEUS_DOC, "\"http://127.0.0.1:9090\""),
    key(
        "at_least",
        Kind::Number { min: -FAR, max: FAR },
        Absent::Words("no value is too small"),
        "Smallest good value of `promql`.",
        "100",
    ),
    key(
        "at_most",
        Kind::Number { min: -FAR, max: FAR },
        Absent::Words("no value is too large"),
        "Largest good value of `promql`.",
        "0.5",
    ),
    key(
        "timeout",
        Kind::Duration { min: Duration::from_millis(10), max: LONGEST_TRY },
        Absent::Words("\"2s\" for `http`, \"5s\" for `command` and `promql`"),
        "Longest time that the request or the command may take.",
        "\"2s\"",
    ),
];
