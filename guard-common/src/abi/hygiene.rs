//! What the hooks set on an agent's connections, by service; and why connections are found dead.

use super::pod;

/// Socket options for the connections of one service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HygienePolicy {
    /// Idle time before the first keepalive probe, s; 1 to 32767.
    pub keepalive_idle_s: u32,
    /// Time between two probes, s; 1 to 32767.
    pub keepalive_interval_s: u32,
    /// Unanswered probes that end the connection; 1 to 127.
    pub keepalive_probes: u32,
    /// How long data that was sent may stay unacknowledged, ms.
    pub user_timeout_ms: u32,
}

/// Nothing was under way, and the kernel found the peer gone (keepalive).
pub const STALE_KEEPALIVE: usize = 0;
/// A call was under way on a connection that had served others, and its peer acknowledged no more.
pub const STALE_UNACKNOWLEDGED: usize = 1;
/// The peer had closed or forgotten the connection when the agent used it again.
pub const STALE_REUSED: usize = 2;
/// Places for these causes: a power of two.
pub const STALE_PLACES: usize = 4;

/// Names of the causes in metrics, by their number.
pub const STALE_NAMES: [&str; 3] = ["keepalive", "unacknowledged", "reused"];

const _: () = {
    assert!(size_of::<HygienePolicy>() == 16);
    assert!(STALE_PLACES.is_power_of_two() && STALE_PLACES >= STALE_NAMES.len());
};
pod!(HygienePolicy);
