//! Keys of `[services.NAME]`.

use std::time::Duration;

use super::limits::{max_calls_burst, max_calls_per_second};
use super::{Absent, Key, Kind, hygiene};

/// `[services.NAME]`.
pub(super) static SERVICE: &[Key] = &[
    Key::new(
        "endpoints",
        Kind::Endpoints,
        Absent::Required,
        "What the service is made of: \"host:port\", \"host\" (any port), \"1.2.3.4:443\", \
         \"10.1.0.0/16:8080\", \"10.0.0.0/8\", \"[2001:db8::/32]:443\", \"[::1]\". Host names are \
         resolved again before their TTL ends; old addresses stay with the service while \
         connections use them. No endpoint may be listed twice, here or in two services.",
    )
    .example("[\"api.github.com:443\", \"10.1.0.0/16:8080\"]"),
    Key::new(
        "class",
        Kind::Choice(&["generic", "llm", "llm_local", "mcp", "tool"]),
        Absent::Value("\"generic\""),
        "What kind of peer it is: a preset of timeouts and breaker settings. See `guardctl explain \
         llm`, and likewise for the other classes.",
    )
    .example("\"llm\""),
    Key::new(
        "protocol",
        Kind::Choice(&["auto", "tcp", "http", "tls"]),
        Absent::Value("\"auto\""),
        "What counts as an answer. \"tcp\": any byte. \"http\": the first byte of an HTTP/1 response. \
         \"tls\": handshake records are not calls. \"auto\" finds out from the first bytes.",
    )
    .example("\"tls\""),
    hygiene::connect_timeout(Absent::Words("that of the service's class: \"15s\" for `mcp`, else none")),
    hygiene::call_timeout(Absent::Words(
        "that of the service's class; none for `generic` and `mcp`",
    )),
    hygiene::stall_warn(Absent::Words("\"120s\"")),
    max_calls_per_second(
        Absent::Words("no limit"),
        "Calls of all bulkheads together to the service above this rate are paced, that is delayed, not \
         refused: one bucket for a quota that they share.",
    ),
    max_calls_burst(),
    Key::new(
        "storms",
        Kind::Choice(&["on", "off"]),
        Absent::Words("`mode` of [defaults.storms]"),
        "Whether guard tells of storms of calls to the service. \"off\" for what is meant to be called \
         that often, as a cache.",
    )
    .example("\"off\""),
    Key::new(
        "hygiene",
        Kind::Table(hygiene::HYGIENE),
        Absent::Words("those of [defaults.hygiene]"),
        "Connection hygiene for this service.",
    ),
    Key::new(
        "fallback",
        Kind::Fallbacks,
        Absent::Words("none: calls are refused while the breaker is OPEN"),
        "Where TCP connects go while the breaker of this service refuses them: an address, \
         \"static:DIR\" (files, served by guardd for plain HTTP), or a list of them, of which the first \
         that answers is used. The agent still sees the address that it asked for. IPv4 sockets cannot \
         reach an IPv6 fallback: for each family the first that fits is used, and where none fits or \
         answers, calls are refused as without. What a fallback answers never closes the breaker: its \
         probes go to the service. A fallback is reached from the agent's own network namespace, and \
         may be protected or belong to another service, whose breaker is not asked. UDP is never \
         redirected, and in monitor mode nothing is.",
    )
    .example("\"127.0.0.1:9000\""),
    Key::new(
        "fallback_tls",
        Kind::Choice(&["same_certificate"]),
        Absent::Words("a service of protocol \"tls\" can have no fallback"),
        "\"same_certificate\": the fallback speaks TLS with a certificate that covers the service's name.",
    )
    .example("\"same_certificate\""),
    Key::new(
        "fallback_check",
        Kind::Duration { min: Duration::from_millis(500), max: Duration::from_hours(1) },
        Absent::Value("\"5s\""),
        "How often guardd tries to connect to the fallbacks, to know which one answers. Every second \
         while a breaker of the service is not CLOSED.",
    )
    .example("\"5s\""),
    Key::new(
        "gateway",
        Kind::Flag,
        Absent::Value("false"),
        "Whether guardd asks the service in the agents' place: TCP connects go to guardd on this host, \
         which connects to the address that the agent asked for. It tries again what is safe to repeat: \
         connects of any protocol; of HTTP/1 in clear text GET, HEAD, OPTIONS, PUT, DELETE, and what has \
         an `Idempotency-Key`, by the retry policies `network_error` and `rate_limit_429`, for 10 s at \
         most and as often as `defaults.retry_budget` allows, each gateway by itself. TLS passes through as it is. When guardd is \
         gone, connects go straight to the service. Firewall rules that go by process, user or cgroup \
         see guardd, not the agent.",
    )
    .example("true"),
    Key::new(
        "stale_if_error",
        Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(24 * 365) },
        Absent::Words("no answer is kept"),
        "Answers that the gateway has seen stand in for the service while it fails, for this long after \
         they have become stale (RFC 5861), each for the bulkhead that asked for it. What HTTP forbids to \
         keep is not kept. They say so: `X-Guard-Stale: SECONDS`. They count as server errors.",
    )
    .example("\"5m\""),
    Key::new(
        "gateway_cache_max",
        Kind::Size { min: 1 << 20, max: 1 << 34 },
        Absent::Value("\"64MiB\""),
        "Bytes of guardd's memory for such answers of this service; the least recently used make room.",
    )
    .example("\"64MiB\""),
];
