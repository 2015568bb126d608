//! Keys of `[bulkheads.NAME]`.

use std::time::Duration;

use guard_common::abi::creation::KIND_NAMES;

use super::{Absent, Key, Kind, MAX_SERVICES, Names, YEAR, breaker::BREAKER};

const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;

/// `[bulkheads.NAME]`.
pub(super) static BULKHEAD: &[Key] = &[
    Key::new(
        "cgroup",
        Kind::CgroupPath,
        Absent::Words("the bulkhead's name"),
        "Its cgroup, below `daemon.cgroup_root`: made if absent, or an existing slice or container. \
         Bulkheads may not lie inside one another.",
    )
    .example("\"agents/research\""),
    Key::new(
        "memory_max",
        Kind::Size { min: MIB, max: PIB },
        Absent::Words("no limit"),
        "Memory that the bulkhead may use; above it the kernel reclaims, then kills inside it.",
    )
    .example("\"2GiB\"")
    .inert(),
    Key::new(
        "cpu_max",
        Kind::Percent { min: 1.0, max: 1_000_000.0 },
        Absent::Words("no limit"),
        "Processor time, in percent of one processor: \"150%\" is one and a half.",
    )
    .example("\"150%\"")
    .inert(),
    Key::new(
        "pids_max",
        Kind::Integer { min: 1, max: 4_194_304 },
        Absent::Words("no limit"),
        "Processes and threads that may exist in the bulkhead at once.",
    )
    .example("256")
    .inert(),
    Key::new(
        "max_connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Words("no limit"),
        "Connections that the bulkhead may have open at once; one more is refused at connect().",
    )
    .example("64")
    .inert(),
    Key::new(
        "connect_timeout",
        Kind::Duration { min: Duration::from_millis(10), max: YEAR },
        Absent::Words("that of the service's class"),
        "How long a connect may take before guard ends it.",
    )
    .example("\"5s\"")
    .inert(),
    Key::new(
        "call_timeout",
        Kind::Duration { min: Duration::from_millis(10), max: YEAR },
        Absent::Words("that of the service's class; none for `generic` and `mcp`"),
        "How long a call may stay without an answer before guard destroys its socket, so that the \
         agent gets an error instead of waiting. Silence is not death: reasoning models are mute \
         for minutes. Not below `connect_timeout`.",
    )
    .example("\"120s\""),
    Key::new(
        "max_calls_per_second",
        Kind::Number { min: 0.001, max: 1_000_000.0 },
        Absent::Words("no limit"),
        "Calls above this rate are paced, that is delayed, not refused.",
    )
    .example("5")
    .inert(),
    Key::new(
        "retries",
        Kind::Table(RETRIES),
        Absent::Words("no limit"),
        "Attempts after a failure that the bulkhead may make, counted in the kernel per service.",
    )
    .example("{ max = 3, window = \"30s\" }")
    .inert(),
    Key::new(
        "token_budget",
        Kind::Table(TOKEN_BUDGET),
        Absent::Words("no budget"),
        "LLM tokens that the bulkhead may spend in each period.",
    )
    .example("{ tokens = 100000, per = \"1h\", on_exhausted = \"block\" }")
    .inert(),
    Key::new(
        "sockets",
        Kind::Words(&KIND_NAMES),
        Absent::Value("[\"tcp\", \"udp\", \"mptcp\", \"ping\"]"),
        "Kinds of IPv4 and IPv6 sockets that the bulkhead may make; others are refused when they are \
         made, with EPERM (raw) or EPROTONOSUPPORT. The kinds that are not in the default go past \
         breakers and connect faults.",
    )
    .example("[\"tcp\", \"udp\"]"),
    Key::new(
        "breaker",
        Kind::Table(BULKHEAD_BREAKER),
        Absent::Words("those of [defaults.breaker]"),
        "Breaker settings of this bulkhead, by service.",
    ),
];

static RETRIES: &[Key] = &[
    Key::new(
        "max",
        Kind::Integer { min: 0, max: 1_000_000 },
        Absent::Required,
        "Retries of one service within `window`; above it they are refused.",
    )
    .example("3"),
    Key::new(
        "window",
        Kind::Duration { min: Duration::from_millis(100), max: YEAR },
        Absent::Required,
        "The time over which retries are counted.",
    )
    .example("\"30s\""),
];

static TOKEN_BUDGET: &[Key] = &[
    Key::new(
        "tokens",
        Kind::Integer { min: 1, max: 1_000_000_000_000_000 },
        Absent::Required,
        "Tokens for each period.",
    )
    .example("100000"),
    Key::new(
        "per",
        Kind::Duration { min: Duration::from_secs(1), max: YEAR },
        Absent::Required,
        "Length of the period.",
    )
    .example("\"1h\""),
    Key::new(
        "on_exhausted",
        Kind::Choice(&["block", "freeze"]),
        Absent::Value("\"block\""),
        "\"block\" refuses new calls to metered services until the next period; \"freeze\" stops the \
         bulkhead's processes.",
    )
    .example("\"freeze\""),
];

static BULKHEAD_BREAKER: &[Key] = &[Key::new(
    "services",
    Kind::Named { keys: BREAKER, names: Names::ServiceRef, max: MAX_SERVICES },
    Absent::Words("those of [defaults.breaker]"),
    "Breaker settings for one service, as seen from this bulkhead.",
)];
