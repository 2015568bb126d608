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
        "Holds each packet that the bulkhead sends to the service. Two at the same time add up \
         with departure times, and are refused with NFQUEUE.",
        "{ delay = \"300ms\", jitter = \"50ms\", distribution = \"normal\" }",
    ),
    key(
        "loss",
        Kind::Table(LOSS),
        Absent::Words("no packet is lost"),
        "Drops a share of the packets, both ways unless `direction` says less.",
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
        "Drops every packet, both ways unless `direction` says less: connects and calls hang until the agent gives up. No other \
         effect may be there at the same time.",
        "true",
    ),
    key(
        "reset",
        Kind::Table(RESET),
        Absent::Words("no connection is reset"),
        "Answers requests on open connections with a TCP reset, as a server does that has lost them: the \
         agent sees ECONNRESET.",
        "{ percent = 100 }",
    ),
    key(
        "bandwidth",
        Kind::Table(BANDWIDTH),
        Absent::Words("the link is as wide as it is"),
        "A thin link: all connections to the service together get no more than this, in each direction. \
         What the bulkhead sends is held; what comes in too fast is dropped, and sent again.",
        "{ rate = \"1Mbit\" }",
    ),
    key(
        "dns",
        Kind::Choice(&["no_answer", "refused"]),
        Absent::Words("name queries are answered"),
        "Lets name queries (port 53, UDP and TCP) fail: nobody answers, or the send fails with \
         ECONNREFUSED. Needs no `service`: then it is about those to any resolver.",
        "\"no_answer\"",
    ),
    key(
        "corrupt",
        Kind::Table(PERCENT_ONLY),
        Absent::Words("no packet is damaged"),
        "Not possible, and an error: a damaged packet fails its checksum and is lost, so for an agent \
         this is `loss`; no hook of the kernel may change a packet here.",
        "{ percent = 1 }",
    ),
    key(
        "duplicate",
        Kind::Table(PERCENT_ONLY),
        Absent::Words("no packet comes twice"),
        "Not possible, and an error: neither departure times nor NFQUEUE can make a second packet of \
         one, and TCP would drop it unseen.",
        "{ percent = 1 }",
    ),
    key(
        "direction",
        Kind::Choice(&["both", "egress", "ingress"]),
        Absent::Words("both ways"),
        "Which way, seen from the agent; of `loss`, `blackhole` and `bandwidth`.",
        "\"ingress\"",
    ),
    key(
        "connections",
        Kind::Choice(&["all", "new"]),
        Absent::Words("all connections"),
        "\"new\": only connections that are opened while the fault acts; datagrams always count as new.",
        "\"new\"",
    ),
    key(
        "share",
        Kind::Table(SHARE),
        Absent::Words("everything that the fault is about"),
        "Only a share of the calls, connections or destinations; drawn with the fault's seed.",
        "{ of = \"connections\", percent = 30 }",
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

/// Of an effect that there is not.
static PERCENT_ONLY: &[Key] =
    &[key("percent", PERCENT, Absent::Required, "Share of packets.", "1")];

static RESET: &[Key] = &[key(
    "percent",
    PERCENT,
    Absent::Value("100"),
    "Share of the requests that are answered with a reset.",
    "20",
)];

static BANDWIDTH: &[Key] = &[key(
    "rate",
    Kind::Rate { min: 8_000, max: 100_000_000_000 },
    Absent::Required,
    "Bits per second, headers included, in each direction.",
    "\"1Mbit\"",
)];

static SHARE: &[Key] = &[
    key(
        "of",
        Kind::Choice(&["calls", "connections", "destinations"]),
        Absent::Required,
        "Calls are drawn one by one; a connection or destination (address and port) that is drawn stays \
         so for the whole fault.",
        "\"connections\"",
    ),
    key("percent", PERCENT, Absent::Required, "Share that the fault is about.", "30"),
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
    key(
        "per",
        Kind::Choice(&["packet", "connect", "first_byte"]),
        Absent::Words("\"packet\""),
        "Which packets are held: each (a connect and each call take one `delay` longer, downloads slow \
         down); the connect's alone; or those with payload (the first byte of each answer comes one \
         `delay` later, a connect takes as long as ever).",
        "\"first_byte\"",
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
