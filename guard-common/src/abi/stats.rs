//! Counters of one (bulkhead, service). One copy per CPU; the daemon sums them.
//!
//! Every field is only ever added to, atomically, so that a sum over the CPUs is exact.

use super::hygiene::STALE_PLACES;
use super::outcome::{Origin, Outcome};
use super::pod;

/// Upper bounds of the call-duration buckets, in ns; one more bucket takes the rest.
/// The boundaries of OpenTelemetry's GenAI duration histogram, and two below them.
pub const CALL_BUCKETS_NS: [u64; 16] = [
    1_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    40_000_000,
    80_000_000,
    160_000_000,
    320_000_000,
    640_000_000,
    1_280_000_000,
    2_560_000_000,
    5_120_000_000,
    10_240_000_000,
    20_480_000_000,
    40_960_000_000,
    81_920_000_000,
];

/// Buckets with the one above the last bound.
pub const CALL_BUCKET_COUNT: usize = CALL_BUCKETS_NS.len() + 1;

/// Places for outcomes: a power of two, so that the kernel's verifier sees a mask as a bound.
pub const OUTCOME_PLACES: usize = 16;

/// Counters of one (bulkhead, service) on one CPU.
///
/// What an answered call adds to stands side by side: each further line of memory costs a packet more
/// than the addition does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairStats {
    /// Connection attempts of the agent (TCP connect, UDP connect).
    pub connects: u64,
    /// TCP connections established by the agent.
    pub connects_established: u64,
    /// Sum over those of the time from connect() to established, ns.
    pub connect_ns: u64,
    /// TCP connections accepted by the agent.
    pub accepted: u64,
    /// Connections (TCP established or accepted, UDP sockets in use) counted as open.
    pub opened: u64,
    /// Those of them that ended.
    pub closed: u64,
    /// Answered calls by time to the first byte; see [`CALL_BUCKETS_NS`].
    pub call_buckets: [u64; CALL_BUCKET_COUNT],
    /// Sum of the times to the first byte, ns.
    pub call_ns: u64,
    /// Payload bytes sent, as they pass the hook (retransmissions included).
    pub sent_bytes: u64,
    /// Payload bytes received, as they pass the hook (duplicates included).
    pub received_bytes: u64,
    /// Calls by outcome and origin.
    pub calls: [[u64; Origin::COUNT]; OUTCOME_PLACES],
    /// Samples of the smoothed round-trip time (one per eight answered calls of a connection, and at
    /// its end).
    pub rtt_samples: u64,
    /// Sum of those samples, µs.
    pub rtt_us: u64,
    /// TLS handshakes answered (not calls).
    pub handshakes: u64,
    /// TCP segments retransmitted.
    pub retransmits: u64,
    /// Packets that a fault of guard dropped or delayed, or connects it refused.
    pub faulted: u64,
    /// Actions left undone because of monitor mode.
    pub would_have: u64,
    /// Connects sent to the service's fallback instead.
    pub redirected: u64,
    /// Calls that a fallback has answered; in no other count.
    pub fallback_calls: u64,
    /// Calls and connects that came to nothing with a fallback; in no other count.
    pub fallback_failures: u64,
    /// Connections found dead by the kernel or the agent, by cause (`hygiene::STALE_*`).
    pub stale: [u64; STALE_PLACES],
}

impl PairStats {
    /// All counters zero.
    pub const ZERO: Self = Self {
        connects: 0,
        connects_established: 0,
        connect_ns: 0,
        accepted: 0,
        opened: 0,
        closed: 0,
        calls: [[0; Origin::COUNT]; OUTCOME_PLACES],
        call_buckets: [0; CALL_BUCKET_COUNT],
        call_ns: 0,
        handshakes: 0,
        sent_bytes: 0,
        received_bytes: 0,
        retransmits: 0,
        rtt_samples: 0,
        rtt_us: 0,
        faulted: 0,
        would_have: 0,
        redirected: 0,
        fallback_calls: 0,
        fallback_failures: 0,
        stale: [0; STALE_PLACES],
    };

    /// Adds another CPU's counters; wraps like the kernel's.
    pub fn add(&mut self, other: &Self) {
        // Destructured, so that a new field cannot be forgotten here.
        let Self {
            connects,
            connects_established,
            connect_ns,
            accepted,
            opened,
            closed,
            calls,
            call_buckets,
            call_ns,
            handshakes,
            sent_bytes,
            received_bytes,
            retransmits,
            rtt_samples,
            rtt_us,
            faulted,
            would_have,
            redirected,
            fallback_calls,
            fallback_failures,
            stale,
        } = self;
        let pairs = [
            (connects, other.connects),
            (connects_established, other.connects_established),
            (connect_ns, other.connect_ns),
            (accepted, other.accepted),
            (opened, other.opened),
            (closed, other.closed),
            (call_ns, other.call_ns),
            (handshakes, other.handshakes),
            (sent_bytes, other.sent_bytes),
            (received_bytes, other.received_bytes),
            (retransmits, other.retransmits),
            (rtt_samples, other.rtt_samples),
            (rtt_us, other.rtt_us),
            (faulted, other.faulted),
            (would_have, other.would_have),
            (redirected, other.redirected),
            (fallback_calls, other.fallback_calls),
            (fallback_failures, other.fallback_failures),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.wrapping_add(theirs);
        }
        for (mine, theirs) in stale.iter_mut().zip(other.stale) {
            *mine = mine.wrapping_add(theirs);
        }
        for (mine, theirs) in calls.iter_mut().flatten().zip(other.calls.iter().flatten()) {
            *mine = mine.wrapping_add(*theirs);
        }
        for (mine, theirs) in call_buckets.iter_mut().zip(other.call_buckets) {
            *mine = mine.wrapping_add(theirs);
        }
    }

    /// Connections open now. Never negative: a close seen without its open counts as none.
    pub fn open_connections(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }

    /// Calls with this outcome, of both origins.
    pub fn calls_of(&self, outcome: Outcome) -> u64 {
        self.calls[outcome as usize].iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }
}

impl Default for PairStats {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Things that went wrong inside the hooks; one per CPU. Each of them let the traffic pass.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookStats {
    /// Events that did not fit into the ring buffer.
    pub events_lost: u64,
    /// Packets whose headers could not be read.
    pub odd_packets: u64,
    /// Sockets for which no storage could be had.
    pub storage_failures: u64,
    /// Counter entries that could not be made.
    pub stats_failures: u64,
    /// Packets of sockets that the stack no longer treats as full sockets (RST, TIME_WAIT).
    pub sockless_packets: u64,
    /// Steps of a breaker that were left out, because other CPUs changed it too often meanwhile.
    pub contended_breakers: u64,
}

const _: () = {
    assert!(OUTCOME_PLACES.is_power_of_two() && OUTCOME_PLACES >= Outcome::COUNT);
    assert!(size_of::<PairStats>() == 8 * (6 + 2 * OUTCOME_PLACES + 17 + 12 + STALE_PLACES));
    assert!(size_of::<HookStats>() == 48);
};
pod!(PairStats, HookStats);
