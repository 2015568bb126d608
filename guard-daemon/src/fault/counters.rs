//! What a fault did, as the control socket tells it. It only converts.

use std::time::Duration;

use guard_common::abi::fault::FaultStats;

use crate::control::api::{FaultCounters, Held};
use crate::net::delay::DelayStats;

/// For how long the engine held packets.
pub(super) fn held_of(stats: &DelayStats) -> Held {
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    Held {
        packets: stats.times.packets,
        missed: stats.overruns.saturating_add(stats.hurried),
        p50_seconds: seconds(stats.times.p50_ns),
        p95_seconds: seconds(stats.times.p95_ns),
        p99_seconds: seconds(stats.times.p99_ns),
    }
}

/// What the hooks counted.
pub(super) fn counters(stats: FaultStats) -> FaultCounters {
    let FaultStats {
        matched,
        delayed,
        dropped,
        refused,
        expired,
        protected,
        would_have,
        reset,
        bytes,
        candidates,
        chosen,
    } = stats;
    FaultCounters {
        matched,
        delayed,
        dropped,
        refused,
        expired,
        protected,
        would_have,
        reset,
        bytes,
        candidates,
        chosen,
    }
}
