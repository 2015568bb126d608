//! Keys of connection hygiene, `[defaults.hygiene]` and `[services.NAME.hygiene]`, and of the
//! timeouts of a bulkhead, a service, or one as seen from the other.

use std::time::Duration;

use super::{Absent, Key, Kind, MAX_SERVICES, Names, YEAR};

const SECOND: Duration = Duration::from_secs(1);
/// The most that the kernel takes for keepalive times.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);
const DAY: Duration = Duration::from_hours(24);
const SHORTEST: Duration = Duration::from_millis(10);

/// Hygiene of the connections to one service, or to all.
pub(super) static HYGIENE: &[Key] = &[
    Key::new(
        "mode",
        Kind::Choice(&["on", "off"]),
        Absent::Words("\"on\""),
        "Whether guard looks after connections: finds out early that a peer is gone, and ends \
         pooled connections that are dead. \"off\" = it sets no option and ends none for that.",
    )
    .example("\"off\""),
    Key::new(
        "keepalive",
        Kind::Duration { min: SECOND, max: KEEPALIVE_MAX },
        Absent::Words("\"20s\""),
        "Idle time after which the kernel asks the peer for a sign of life. Whole seconds.",
    )
    .example("\"20s\""),
    Key::new(
        "keepalive_interval",
        Kind::Duration { min: SECOND, max: KEEPALIVE_MAX },
        Absent::Words("\"10s\""),
        "Time between two such questions. Whole seconds.",
    )
    .example("\"10s\""),
    Key::new(
        "keepalive_probes",
        Kind::Integer { min: 1, max: 127 },
        Absent::Words("3"),
        "Questions without an answer after which the peer is gone.",
    )
    .example("3"),
    Key::new(
        "user_timeout",
        Kind::Duration { min: SECOND, max: DAY },
        Absent::Words("\"50s\""),
        "How long the peer may leave data unacknowledged, or its receive window shut, before it \
         counts as gone (TCP_USER_TIMEOUT). Not below keepalive + keepalive_interval * \
         keepalive_probes: the kernel would end a connection at the first lost question.",
    )
    .example("\"50s\""),
    Key::new(
        "peer_closed",
        Kind::Duration { min: SECOND, max: DAY },
        Absent::Words("\"15s\""),
        "How long an agent may keep a connection that its peer has closed, when it waits for \
         nothing on it. One on which it still sends, or has much left to read, is left alone.",
    )
    .example("\"15s\""),
    Key::new(
        "peer_closed_busy",
        Kind::Duration { min: SECOND, max: DAY },
        Absent::Words("\"30s\""),
        "The same, when it waits for an answer, which cannot come any more. Not below \
         `peer_closed`.",
    )
    .example("\"30s\""),
    Key::new(
        "sweep",
        Kind::Choice(&["on", "off"]),
        Absent::Words("\"on\""),
        "Whether idle connections end when the host wakes from a suspend, or when the address or \
         link that they use is lost.",
    )
    .example("\"off\""),
];

/// `[bulkheads.NAME.timeouts]`.
pub(super) static BULKHEAD_TIMEOUTS: &[Key] = &[Key::new(
    "services",
    Kind::Named { keys: PAIR_TIMEOUTS, names: Names::ServiceRef, max: MAX_SERVICES },
    Absent::Words("those of the bulkhead, then of the service, then of its class"),
    "Timeouts for one service, as seen from this bulkhead.",
)];

static PAIR_TIMEOUTS: &[Key] = &[
    connect_timeout(Absent::Words("that of the bulkhead, then of the service, then of its class")),
    call_timeout(Absent::Words("that of the bulkhead, then of the service, then of its class")),
    stall_warn(Absent::Words("that of the bulkhead, then of the service: \"120s\"")),
];

/// How long a connect may take.
pub(super) const fn connect_timeout(absent: Absent) -> Key {
    Key::new(
        "connect_timeout",
        Kind::Duration { min: SHORTEST, max: YEAR },
        absent,
        "How long a connect may take before guard ends it. The agent gets ECONNABORTED, and the \
         outcome is `connect_timeout`.",
    )
    .example("\"5s\"")
}

/// How long a call may go without an answer.
pub(super) const fn call_timeout(absent: Absent) -> Key {
    Key::new(
        "call_timeout",
        Kind::Duration { min: SHORTEST, max: YEAR },
        absent,
        "How long a call may stay without an answer before guard destroys its socket, so that the \
         agent gets an error instead of waiting. Silence is not death: reasoning models are mute \
         for minutes. Not below `connect_timeout`.",
    )
    .example("\"120s\"")
}

/// From when on a silent call is reported.
pub(super) const fn stall_warn(absent: Absent) -> Key {
    Key::new(
        "stall_warn",
        Kind::Duration { min: SHORTEST, max: YEAR },
        absent,
        "How long a call may be silent before it is reported: an event, `stalled` in `guardctl \
         waits`, a metric. It is never ended for that.",
    )
    .example("\"300s\"")
}
