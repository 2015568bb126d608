//! Keys of `[bulkheads.NAME]`.

use std::time::Duration;

use guard_common::abi::creation::KIND_NAMES;

use super::limits::{
    BUDGET, LIMITS, MAX_PACING_DELAY, RETRIES, max_calls_burst, max_calls_per_second,
};
use super::{Absent, Key, Kind, MAX_SERVICES, Names, YEAR, breaker::BREAKER, hygiene, resources};

/// `[bulkheads.NAME]`.
pub(super) static BULKHEAD: &[Key] = &[
    Key::new(
        "cgroup",
        Kind::CgroupPath,
        Absent::Words("the bulkhead's name"),
        "Its cgroup, below `daemon.cgroup_root`: made if absent, adopted if there. Or, with a leading \
         `/`, a path or pattern from the root of the cgroup tree, such as \
         \"/system.slice/docker-*.scope\": all cgroups that match, now or later, are in the \
         bulkhead; guard makes and removes none of them, and sets the bulkhead's limits in each. \
         A bulkhead may lie inside another: the innermost owns what its processes do, and the limits of \
         those around it hold as well.",
    )
    .example("\"agents/research\""),
    Key::new(
        "owner",
        Kind::Line { min: 1, max: 255 },
        Absent::Words("root alone"),
        "A user (name or number) to whom the bulkhead's cgroup is delegated: to make cgroups in it \
         and to run commands there with `guardctl exec`. Limits stay root's.",
    )
    .example("\"alice\""),
    Key::new(
        "orphans",
        Kind::Table(ORPHANS),
        Absent::Words("reported after 60s"),
        "Processes that are left of a run (`guardctl exec`) whose main process has ended.",
    )
    .example("{ after = \"60s\", action = \"end\", grace = \"10s\" }"),
    resources::MEMORY_MAX,
    resources::MEMORY_HIGH,
    resources::MEMORY_SWAP_MAX,
    resources::MEMORY_OOM_GROUP,
    resources::CPU_MAX,
    resources::CPU_WEIGHT,
    resources::PIDS_MAX,
    resources::IO_WEIGHT,
    resources::IO_MAX,
    resources::PRESSURE_TABLE,
    Key::new(
        "max_connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        Absent::Words("no limit"),
        "TCP connections that the bulkhead may have open at once, those that are being made \
         included; one more is refused at connect(). Accepted connections do not count.",
    )
    .example("64"),
    hygiene::connect_timeout(Absent::Words("that of the service, then of its class")),
    hygiene::call_timeout(Absent::Words("that of the service, then of its class")),
    hygiene::stall_warn(Absent::Words("that of the service: \"120s\"")),
    Key::new(
        "timeouts",
        Kind::Table(hygiene::BULKHEAD_TIMEOUTS),
        Absent::Words("those above"),
        "Timeouts of this bulkhead, by service.",
    ),
    max_calls_per_second(
        Absent::Words("no limit"),
        "Calls of the bulkhead above this rate are paced, that is delayed, not refused. A call is a \
         request on a connection, new or open; TLS handshakes and datagrams are none.",
    ),
    max_calls_burst(),
    Key::new(
        "pacing_max_delay",
        Kind::Duration { min: Duration::from_millis(100), max: MAX_PACING_DELAY },
        Absent::Value("\"20s\""),
        "Longest time for which a call is held; one that would wait longer passes at once, and is \
         counted. Never more than half of the service's `hygiene.user_timeout`. Below what the \
         bulkhead's clients wait for an answer, or they give up and try again.",
    )
    .example("\"10s\""),
    Key::new(
        "retries",
        Kind::Table(RETRIES),
        Absent::Words("no limit"),
        "Attempts after a failure that the bulkhead may make, counted in the kernel per service.",
    )
    .example("{ max = 3, window = \"30s\" }"),
    Key::new(
        "limits",
        Kind::Table(LIMITS),
        Absent::Words("those of the bulkhead's own keys"),
        "What a limit's refusal looks like, and limits by service.",
    ),
    Key::new(
        "budgets",
        Kind::List(BUDGET),
        Absent::Words("no budget"),
        "How much of bytes, calls and connects the bulkhead may use up in a period.",
    )
    .example("[{ calls = 1000, per = \"1h\" }]"),
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

static ORPHANS: &[Key] = &[
    Key::new(
        "after",
        Kind::Duration { min: Duration::from_millis(100), max: YEAR },
        Absent::Value("\"60s\""),
        "How long after the end of the main process what is left counts as orphans.",
    )
    .example("\"5m\""),
    Key::new(
        "action",
        Kind::Choice(&["report", "end"]),
        Absent::Value("\"report\""),
        "\"report\" them (event, status, metric), or \"end\" them too: SIGTERM, and after `grace` \
         SIGKILL. Only in cgroups that guard made, and never where a terminal multiplexer, sshd, \
         init or a container runtime is in the same cgroup.",
    )
    .example("\"end\""),
    Key::new(
        "grace",
        Kind::Duration { min: Duration::ZERO, max: YEAR },
        Absent::Value("\"10s\""),
        "How long they have between SIGTERM and SIGKILL.",
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
