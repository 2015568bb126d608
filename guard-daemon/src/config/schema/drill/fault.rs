//! Keys of `[[fault]]`.

use std::time::Duration;

use super::{Absent, DAY, Key, Kind, key};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);
/// A share in percent: above 0.
const PERCENT: Kind = Kind::Number { min: 0.0001, max: 100.0 };

/// A part of a pulse: in less, what happens depends on the moment of each packet.
const PART: Kind = Kind::Duration { min: Duration::from_millis(10), max: DAY };

/// `[[fault]]`.
pub(super) static FAULT: &[Key] = &[
    key(
        "bulkhead",
        Kind::Name,
        Absent::Required,
        "The bulkhead whose traffic is faulted. No other is touched.",
        "\"research\"",
    ),
    key(
        "service",
        Kind::Name,
        Absent::Words("every service of the bulkhead, which needs `unsafe = true`"),
        "The service whose traffic is faulted; \"other\" is what no service's endpoint matches.",
        "\"github\"",
    ),
    key(
        "unsafe",
        Kind::Flag,
        Absent::Value("false"),
        "Says that a fault on every service of the bulkhead is meant.",
        "true",
    ),
    key(
        "start",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        Absent::Value("\"0s\""),
        "From the beginning of the drill's `duration` to the beginning of the fault; shorter than \
         that `duration`.",
        "\"10s\"",
    ),
    key(
        "duration",
        Kind::Duration { min: MILLISECOND, max: DAY },
        Absent::Words("until the drill's `duration` is over"),
        "How long the fault lasts from its start. It must end within the drill's `duration`.",
        "\"30s\"",
    ),
    key(
        "latency",
        Kind::Table(LATENCY),
        Absent::Words("no packet is delayed"),
        "Holds each packet that the bulkhead sends to the service. Two latencies at the same time add \
         up.",
        "{ delay = \"300ms\", jitter = \"50ms\", distribution = \"normal\" }",
    ),
    key(
        "loss",
        Kind::Table(LOSS),
        Absent::Words("no packet is lost"),
        "Drops a share of the packets, both ways.",
        "{ percent = 2 }",
    ),
    key(
        "refuse",
        Kind::Table(REFUSE),
        Absent::Words("no connect is refused"),
        "Lets a share of new connects fail at once. Open connections go on.",
        "{ percent = 100, errno = \"ECONNREFUSED\" }",
    ),
    key(
        "blackhole",
        Kind::Flag,
        Absent::Value("false"),
        "Drops every packet, both ways: connects and calls hang until the agent gives up. No other \
         effect may be there at the same time.",
        "true",
    ),
    key(
        "pulse",
        Kind::Table(PULSE),
        Absent::Words("the effects act all the time from start to end"),
        "Lets the effects of the fault come and go, from its start on: they act for `on`, rest for \
         `off`, and so on until its end.",
        "{ on = \"5s\", off = \"10s\" }",
    ),
];

static PULSE: &[Key] = &[
    key("on", PART, Absent::Required, "How long the effects act.", "\"5s\""),
    key("off", PART, Absent::Required, "How long they rest then.", "\"10s\""),
];

static LATENCY: &[Key] = &[
    key(
        "delay",
        Kind::Duration { min: MILLISECOND, max: MINUTE },
        Absent::Required,
        "Added to each packet, on average.",
        "\"300ms\"",
    ),
    key(
        "jitter",
        Kind::Duration { min: Duration::ZERO, max: MINUTE },
        Absent::Value("\"0s\""),
        "Spread around `delay`, and not longer than that: the bound if it is uniform, else the \
         standard deviation.",
        "\"50ms\"",
    ),
    key(
        "distribution",
        Kind::Choice(&["uniform", "normal", "pareto"]),
        Absent::Words("\"uniform\""),
        "How the jitter is spread; only with `jitter`.",
        "\"normal\"",
    ),
];

static LOSS: &[Key] = &[
    key("percent", PERCENT, Absent::Required, "Share of packets that are lost.", "2"),
    key(
        "burst",
        Kind::Number { min: 1.0, max: 10_000.0 },
        Absent::Words("each packet is lost by itself"),
        "How many packets are lost in a row on average.",
        "4",
    ),
];

static REFUSE: &[Key] = &[
    key("percent", PERCENT, Absent::Value("100"), "Share of connects that are refused.", "100"),
    key(
        "errno",
        Kind::Choice(&[
            "ECONNREFUSED",
            "EHOSTUNREACH",
            "ENETUNREACH",
            "ETIMEDOUT",
            "ECONNRESET",
            "EHOSTDOWN",
            "ENETDOWN",
            "EPERM",
            "EACCES",
        ]),
        Absent::Value("\"ECONNREFUSED\""),
        "Error that the agent sees.",
        "\"EHOSTUNREACH\"",
    ),
];
