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
    /// Always 0.
    pub pad: u32,
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
}

const _: () = {
    assert!(size_of::<FaultRule>() == 112);
    assert!(size_of::<JitterTable>() == 4 * (JITTER_STEPS + 1));
    assert!(size_of::<PairRules>() == 36);
    assert!(size_of::<FaultStats>() == 56);
};
pod!(FaultRule, JitterTable, PairRules, FaultStats);
