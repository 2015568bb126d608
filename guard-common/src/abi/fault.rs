//! Fault rules as the kernel checks them at each connect and packet.

use super::pod;

/// Rules that can be active on a host at once.
pub const MAX_FAULT_RULES: usize = 64;
/// Rules that can apply to one (bulkhead, service) at once.
pub const MAX_PAIR_RULES: usize = 8;
/// Delay rules that the NFQUEUE engine can hold at once: one gate program and one queue each.
pub const MAX_DELAY_GATES: usize = 16;

/// Drop packets.
pub const EFFECT_DROP: u32 = 1;
/// Refuse connects and unconnected sends with an errno.
pub const EFFECT_REFUSE: u32 = 2;
/// Hold outgoing packets.
pub const EFFECT_DELAY: u32 = 3;
/// Answer a request on an open connection with a TCP reset.
pub const EFFECT_RESET: u32 = 4;
/// Let no more bytes pass in a time than a thin link would: hold outgoing packets, drop incoming ones.
pub const EFFECT_RATE: u32 = 5;

/// Kinds of packets, as bits: a SYN of the agent's own.
pub const PACKET_CONNECT: u32 = 1;
/// It carries payload.
pub const PACKET_PAYLOAD: u32 = 2;
/// It is TCP.
pub const PACKET_TCP: u32 = 4;

/// What a rule is about a share of: nothing, which is everything.
pub const SHARE_OF_NOTHING: u32 = 0;
/// Of the calls of each connection.
pub const SHARE_OF_CALLS: u32 = 1;
/// Of the connections.
pub const SHARE_OF_CONNECTIONS: u32 = 2;
/// Of the destinations (address and port).
pub const SHARE_OF_DESTINATIONS: u32 = 3;
/// Connections that are remembered as drawn or not, and whose calls the gates count; the oldest make
/// room, and are drawn anew if they are still there.
pub const MAX_SHARED_CONNECTIONS: usize = 16_384;

/// Longest queue of a thin link, in ns: what would wait longer is dropped, as a router does.
pub const RATE_QUEUE_NS: u64 = 1_000_000_000;
/// How long a thin link lets incoming packets come faster than its rate, in ns.
pub const RATE_BURST_NS: u64 = 100_000_000;

/// The delay is made by an earliest departure time and the `fq` qdisc.
pub const ENGINE_EDT: u32 = 1;
/// The delay is made by the daemon, which holds the packets of a netfilter queue.
pub const ENGINE_NFQUEUE: u32 = 2;

/// The rule matches packets that the bulkhead sends.
pub const DIRECTION_EGRESS: u32 = 1;
/// The rule matches packets that the bulkhead receives.
pub const DIRECTION_INGRESS: u32 = 2;

/// Jitter distributions: the index of their [`JitterTable`].
pub const DISTRIBUTION_UNIFORM: u32 = 0;
/// Bell-shaped; the jitter is the standard deviation.
pub const DISTRIBUTION_NORMAL: u32 = 1;
/// Long-tailed (Pareto, shape 3); the jitter is the standard deviation.
pub const DISTRIBUTION_PARETO: u32 = 2;
/// How many there are.
pub const DISTRIBUTIONS: usize = 3;
/// Steps of a [`JitterTable`]; a power of two.
pub const JITTER_STEPS: usize = 2048;

/// [`FaultRule::probability`] of a rule that always hits.
pub const PROBABILITY_ALWAYS: u64 = 1 << 32;

/// One active fault. A slot whose `effect` is 0 is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRule {
    /// The operator's id of the fault.
    pub id: u64,
    /// No effect before this time (boottime ns).
    pub not_before_ns: u64,
    /// No effect from this time on (boottime ns), whatever the daemon does.
    pub expires_at_ns: u64,
    /// Seed of the rule's random decisions.
    pub seed: u64,
    /// Chance of a hit in 1/2^32; [`PROBABILITY_ALWAYS`] = always. With `burst_end` above 0: the
    /// chance that a burst of losses begins.
    pub probability: u64,
    /// Chance in 1/2^32 that a burst ends after a lost packet; 0 = losses are independent.
    pub burst_end: u64,
    /// Delay of a held packet, in ns (engine EDT; NFQUEUE takes it from the daemon).
    pub delay_ns: u64,
    /// Spread of the delay, in ns: ± for a uniform one, else the standard deviation.
    pub jitter_ns: u64,
    /// A fault that comes and goes: from `not_before_ns` on it acts for so long, in ns, …
    pub pulse_on_ns: u64,
    /// … once in each period of so long; 0 = always.
    pub pulse_period_ns: u64,
    /// `EFFECT_*`; 0 = empty slot.
    pub effect: u32,
    /// `ENGINE_*` of a delay, else 0.
    pub engine: u32,
    /// `DIRECTION_*` bits.
    pub directions: u32,
    /// Errno of a refusal (1..=4095).
    pub errno: u32,
    /// Service the rule is about when `any_service` is 0 (used by the NFQUEUE gate).
    pub service: u32,
    /// 1 = every service of the bulkhead.
    pub any_service: u32,
    /// `DISTRIBUTION_*` of the jitter.
    pub distribution: u32,
    /// Only packets with all of these `PACKET_*` bits; 0 = all.
    pub packets: u32,
    /// Bytes (of IP packets) per second and direction of a thin link.
    pub rate_bytes_per_second: u64,
    /// Chance in 1/2^32 that what `share_of` names is a target.
    pub share: u64,
    /// `SHARE_OF_*`.
    pub share_of: u32,
    /// 1 = only connections that were opened since `not_before_ns`; datagrams always count as new.
    pub new_only: u32,
    /// Only this port of the peer; 0 = all.
    pub port: u32,
    /// Always 0.
    pub pad: u32,
}

/// What a packet or connect is to the rules.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Socket cookie.
    pub connection: u64,
    /// A number of its destination: `logic::fault::destination`.
    pub destination: u64,
    /// When the connection was opened (boottime ns); 0 = before anybody looked; all ones = it has no
    /// beginning (datagrams).
    pub opened_ns: u64,
    /// Number of its call on the connection.
    pub call: u32,
    /// Peer's port, host order.
    pub port: u32,
    /// `PACKET_*` bits.
    pub packet: u32,
    /// Length with headers.
    pub bytes: u32,
}

/// Of a connection or call: whether a rule drew it as a target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Number of the call that was drawn.
    pub call: u32,
    /// 1 = it is a target.
    pub hit: u32,
}

/// Key of [`Drawn`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrawnKey {
    /// Id of the fault.
    pub fault: u64,
    /// Socket cookie.
    pub connection: u64,
}

/// What the gates know of a socket, whose storage they cannot see.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateSocket {
    /// As [`Subject::opened_ns`].
    pub opened_ns: u64,
    /// As [`Subject::call`].
    pub call: u32,
    /// Always 0.
    pub pad: u32,
}

/// When a thin link is free again (boottime ns), by direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    /// For packets that the bulkhead sends.
    pub egress_free_ns: u64,
    /// For packets that it receives.
    pub ingress_free_ns: u64,
}

/// Asks the daemon to reset a connection: what the packet said to which it is the answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetOrder {
    /// Socket cookie.
    pub cookie: u64,
    /// Id of the fault.
    pub fault: u64,
    /// The agent's address, in the form of [`super::policy::EndpointMatch::address`].
    pub local: [u8; 16],
    /// The peer's.
    pub peer: [u8; 16],
    /// The agent's port, host order.
    pub local_port: u32,
    /// The peer's.
    pub peer_port: u32,
    /// Sequence number that the agent's TCP expects next, host order.
    pub sequence: u32,
    /// 4 or 6.
    pub ip_version: u32,
}

/// Quantiles of a distribution with mean 0, at 0/[`JITTER_STEPS`] … 1, in 1/65536 of the jitter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterTable {
    /// Never falling.
    pub quantiles: [i32; JITTER_STEPS + 1],
}

impl Default for JitterTable {
    fn default() -> Self {
        Self { quantiles: [0; JITTER_STEPS + 1] }
    }
}

/// Rules that apply to one (bulkhead, service).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairRules {
    /// Entries of `slots` in use.
    pub count: u32,
    /// Indices into the rule array, in the order in which they are tried.
    pub slots: [u32; MAX_PAIR_RULES],
}

/// What a rule did; one per CPU, only ever added to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultStats {
    /// Packets or connects that the rule was about.
    pub matched: u64,
    /// Packets delayed.
    pub delayed: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Connects or sends refused.
    pub refused: u64,
    /// Matches passed because the deadline or the lease was over.
    pub expired: u64,
    /// Matches passed because the destination is protected.
    pub protected: u64,
    /// Matches that would have been hit, in monitor mode.
    pub would_have: u64,
    /// Requests answered with a reset.
    pub reset: u64,
    /// Bytes that a thin link let pass.
    pub bytes: u64,
    /// Connections or calls that were looked at for a share of them, …
    pub candidates: u64,
    /// … and those of them that were drawn.
    pub chosen: u64,
}

const _: () = {
    assert!(size_of::<FaultRule>() == 144);
    assert!(size_of::<JitterTable>() == 4 * (JITTER_STEPS + 1));
    assert!(size_of::<PairRules>() == 36);
    assert!(size_of::<FaultStats>() == 88);
    assert!(size_of::<Subject>() == 40);
    assert!(size_of::<DrawnKey>() == 16 && size_of::<Drawn>() == 8);
    assert!(size_of::<GateSocket>() == 16 && size_of::<RateState>() == 16);
    // Told from an event by its length.
    assert!(size_of::<ResetOrder>() == 64 && size_of::<super::event::Event>() != 64);
};
pod!(
    FaultRule,
    JitterTable,
    PairRules,
    FaultStats,
    Subject,
    Drawn,
    DrawnKey,
    GateSocket,
    RateState
);
pod!(ResetOrder);
