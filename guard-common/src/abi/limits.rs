//! Limits of a bulkhead: one slot for each (bulkhead, service), and one for each bulkhead as a whole.
//! The daemon writes what is allowed, the hooks what is.

use super::pod;

/// In place of a service: the bulkhead as a whole.
pub const SERVICE_ALL: u32 = u32::MAX;

/// No limit of retries; 0 allows none.
pub const RETRIES_UNLIMITED: u32 = u32::MAX;

/// Retries are counted over this long where no window is set.
pub const DEFAULT_RETRY_WINDOW_NS: u64 = 30_000_000_000;

/// Why a call was rejected.
pub mod why {
    /// As many connections as allowed are open.
    pub const CONNECTIONS: u32 = 0;
    /// As many retries as allowed were made in the window.
    pub const RETRIES: u32 = 1;
    /// The host's budget of retries is used up.
    pub const RETRY_BUDGET: u32 = 2;
    /// A budget of the bulkhead is used up.
    pub const BUDGET: u32 = 3;
    /// How many reasons there are.
    pub const COUNT: usize = 4;
}

/// Names of the reasons in the order of their numbers, as metrics have them.
pub const WHY_NAMES: [&str; why::COUNT] = ["connections", "retries", "retry_budget", "budget"];

/// Nothing new may begin: a budget is used up.
pub const BLOCKED_BUDGET: u32 = 1;

/// One slot. What is allowed and what is stand in different lines of memory: the one is read by
/// every connect, the others written, by connects and by calls.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSlot {
    /// Connections that may be open at once; 0 = no limit.
    pub max_connections: u32,
    /// Retries in a window; [`RETRIES_UNLIMITED`] = no limit.
    pub max_retries: u32,
    /// The window, ns; 0 = [`DEFAULT_RETRY_WINDOW_NS`].
    pub retry_window_ns: u64,
    /// What a rejected call gets (1..=4095).
    pub errno: u32,
    /// `BLOCKED_*`.
    pub blocked: u32,
    /// Place of the slot of the bulkhead as a whole, plus one; 0 = this is it.
    pub whole: u32,
    /// 1 = retries to it are also taken from the host's budget.
    pub budgeted: u32,
    /// Place of the pair's breaker, which knows of failures, plus one; 0 = it has none.
    pub breaker: u32,
    /// Place of the slot that all bulkheads share for the service, plus one; 0 = there is none.
    pub shared: u32,
    /// Calls are paced: time between two, ns; 0 = no limit of their rate.
    pub pace_interval_ns: u64,
    /// Time that calls may be ahead of that pace, ns: all but one call of a burst.
    pub pace_burst_ns: u64,
    /// Longest time that a call is held, ns; one that would wait longer passes.
    pub pace_max_wait_ns: u64,
    /// Connections open now. Changed by compare-and-swap alone.
    pub connections: u64,
    /// The window of retries: see `logic::retry`. Changed by compare-and-swap alone.
    pub window: u64,
    /// Retries that were let pass.
    pub retries: u64,
    /// Calls rejected, by reason (`why::*`).
    pub rejected: [u64; why::COUNT],
    /// Calls that monitor mode alone let pass.
    pub would_have: u64,
    /// When the next call would be in time without a burst (boottime ns): see `logic::pacing`.
    /// Changed by compare-and-swap alone.
    pub pace_due_ns: u64,
    /// Calls that were held.
    pub paced: u64,
    /// For how long, in sum, ns.
    pub paced_ns: u64,
    /// Calls that passed, because they would have waited too long.
    pub pace_over: u64,
    /// Calls that monitor mode alone did not hold.
    pub pace_would: u64,
    /// Who holds: `pacing::PACE_*`. Written by the daemon.
    pub pace_engine: u32,
    /// Zero.
    pub pad: u32,
    /// Zero.
    pub pad2: [u64; 2],
}

/// The host's budget of retries, filled by the daemon, in thousandths of a retry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryBudget {
    /// What is left. Changed by compare-and-swap alone.
    pub left: u64,
    /// Until when it is believed without another word of the daemon (boottime ns); 0 = there is no
    /// budget.
    pub until_ns: u64,
}

/// One retry in units of [`RetryBudget::left`].
pub const ONE_RETRY: u64 = 1000;

const _: () = {
    assert!(size_of::<LimitSlot>() == 192);
    assert!(core::mem::offset_of!(LimitSlot, connections) == 64);
    assert!(core::mem::offset_of!(LimitSlot, pace_due_ns) == 128);
    assert!(size_of::<RetryBudget>() == 16);
};
pod!(LimitSlot, RetryBudget);
