//! Circuit breakers: one slot per (bulkhead, service), shared by the hooks, which make all
//! transitions, and the daemon, which reads, configures and reports.

use super::ids::PairKey;
use super::pod;

/// Calls pass and are judged.
pub const STATE_CLOSED: u32 = 0;
/// Calls are refused until the open time is over.
pub const STATE_OPEN: u32 = 1;
/// Probes, and nothing else, pass.
pub const STATE_HALF_OPEN: u32 = 2;

/// Judge, and refuse while OPEN.
pub const BREAKER_ENFORCE: u32 = 0;
/// Judge, count what would have been refused, refuse nothing.
pub const BREAKER_MONITOR: u32 = 1;
/// Refuse every call, whatever the state.
pub const BREAKER_FORCE_OPEN: u32 = 2;
/// Judge, but never trip and never refuse.
pub const BREAKER_FORCE_CLOSED: u32 = 3;
/// Neither judge nor refuse.
pub const BREAKER_OFF: u32 = 4;

/// Why a state changed; 0 = it did not.
pub mod reason {
    /// As many failures in a row as the threshold says.
    pub const CONSECUTIVE_FAILURES: u32 = 1;
    /// The success rate over the window fell below the limit.
    pub const SUCCESS_RATE: u32 = 2;
    /// The share of slow calls over the window reached the limit.
    pub const SLOW_CALLS: u32 = 3;
    /// The open time is over and a call came: it is the probe.
    pub const OPEN_TIME_OVER: u32 = 4;
    /// As many probes as asked for succeeded.
    pub const PROBE_SUCCEEDED: u32 = 5;
    /// A probe failed.
    pub const PROBE_FAILED: u32 = 6;
    /// The operator tripped it.
    pub const OPERATOR_TRIP: u32 = 7;
    /// The operator reset it.
    pub const OPERATOR_RESET: u32 = 8;
}

/// Names of reasons in the order of their numbers.
pub const REASON_NAMES: [&str; 9] = [
    "none",
    "consecutive_failures",
    "success_rate",
    "slow_calls",
    "open_time_over",
    "probe_succeeded",
    "probe_failed",
    "operator_trip",
    "operator_reset",
];

/// Place in [`BreakerSlot::probes`] of those that succeeded.
pub const PROBE_SUCCEEDED: usize = 0;
/// … that failed.
pub const PROBE_FAILED: usize = 1;
/// … that ended without telling anything, whose lease went to the next call.
pub const PROBE_GIVEN_BACK: usize = 2;
/// How many kinds of them there are.
pub const PROBE_RESULTS: usize = 3;

/// Buckets of the sliding window: a power of two, so that a place among them is a mask.
pub const WINDOW_BUCKETS: usize = 8;
/// Share that means "all", in millionths.
pub const PPM: u32 = 1_000_000;
/// Trips in a row that make a difference to the open time.
pub const OPEN_TIMES: usize = 16;
/// Most [`BreakerPolicy::failure_threshold`] that fits the word.
pub const MAX_FAILURE_THRESHOLD: u32 = 255;
/// Most [`BreakerPolicy::half_open_calls`] that fits the word.
pub const MAX_HALF_OPEN_CALLS: u32 = 15;
/// Longest open time, probe time and Retry-After: one day.
pub const MAX_OPEN_NS: u64 = 86_400_000_000_000;

/// How a breaker judges and what it does. Shared by all breakers that are configured alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BreakerPolicy {
    /// Open time by the number of trips in a row before, ns; each at most [`MAX_OPEN_NS`]. A table,
    /// because the kernel's verifier follows a loop over the trips trip by trip.
    pub open_ns: [u64; OPEN_TIMES],
    /// After this long without a result a probe's lease goes to the next call, ns.
    pub probe_ns: u64,
    /// Length of one bucket of the window, ns; 0 = no rule looks at the window.
    pub bucket_ns: u64,
    /// An answer that took at least this long is slow, ns; 0 = none is.
    pub slow_ns: u64,
    /// A call that the agent gives up after at least this long without an answer is a failure, ns;
    /// 0 = none is.
    pub abandoned_ns: u64,
    /// A call that would be refused may wait this long for the breaker to close, ns; 0 = it is
    /// refused.
    pub hold_ns: u64,
    /// Longest time that the service may ask to be left alone for (Retry-After), ns, at most
    /// [`MAX_OPEN_NS`]; 0 = it is not asked.
    pub retry_after_ns: u64,
    /// Failures in a row that trip it; 0 = this rule is off.
    pub failure_threshold: u32,
    /// Probes that must succeed, 1..=[`MAX_HALF_OPEN_CALLS`].
    pub half_open_calls: u32,
    /// Calls that the window must hold before the window's rules apply.
    pub min_calls: u32,
    /// Trips below this share of successes, in millionths; 0 = this rule is off.
    pub min_success_ppm: u32,
    /// Trips from this share of slow calls on, in millionths; 0 = this rule is off.
    pub max_slow_ppm: u32,
    /// The open time varies by up to ± this share, in millionths.
    pub jitter_ppm: u32,
    /// `BREAKER_*`.
    pub mode: u32,
    /// What a refused call gets (1..=4095).
    pub errno: u32,
    /// 1 = an established connection is a success (protocol `tcp`); else only an answer is.
    pub connect_succeeds: u32,
    /// Zero.
    pub pad: u32,
}

/// Policies that differ.
pub const MAX_POLICIES: usize = 1024;
/// Records of transitions that are kept.
pub const TRANSITIONS_KEPT: usize = 16_384;

/// One breaker.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerSlot {
    /// State, counts and times: see `logic::breaker::word`. Changed by compare-and-swap alone.
    pub word: u64,
    /// The window: see `logic::breaker::window`. Each changed by compare-and-swap alone.
    pub buckets: [u64; WINDOW_BUCKETS],
    /// The last sixteen outcomes, four bits each (outcome + 1), the newest lowest.
    pub outcomes: u64,
    /// When the last failure, or call that was throttled, was counted; 0 = none.
    pub failed_ns: u64,
    /// Until when the service asked last to be left alone (Retry-After); 0 = never.
    pub asked_until_ns: u64,
    /// Calls refused at once.
    pub rejected: u64,
    /// Calls held.
    pub held: u64,
    /// Calls that would have been refused, were it not for the mode.
    pub would_have: u64,
    /// Probes by what became of them: see `PROBE_*`.
    pub probes: [u64; PROBE_RESULTS],
    /// Index of its policy.
    pub policy: u32,
    /// Seed of the jitter.
    pub seed: u32,
}

/// One change of state. The kernel keeps the newest ones, in order, for whoever was not listening.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// Number of this record + 1; 0 while it is being written.
    pub sequence: u64,
    /// When.
    pub time_ns: u64,
    /// The word before.
    pub old: u64,
    /// The word after.
    pub new: u64,
    /// Whose.
    pub pair: PairKey,
    /// `reason::*`.
    pub reason: u32,
    /// `Origin` of the call that caused it.
    pub origin: u32,
}

const _: () = {
    assert!(size_of::<BreakerPolicy>() == 8 * (OPEN_TIMES + 6) + 40);
    assert!(size_of::<BreakerSlot>() == 8 * (1 + WINDOW_BUCKETS + 6 + PROBE_RESULTS) + 8);
    assert!(size_of::<Transition>() == 48);
    assert!(WINDOW_BUCKETS.is_power_of_two());
};
pod!(BreakerPolicy, BreakerSlot, Transition);
