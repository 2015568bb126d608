//! Applies fault rules. Called only while a fault is active, for destinations of a bulkhead.

use guard_common::abi::fault::{
    DIRECTION_EGRESS, EFFECT_DELAY, EFFECT_DROP, EFFECT_REFUSE, ENGINE_EDT, FaultRule, FaultStats,
    MAX_PAIR_RULES, PROBABILITY_ALWAYS,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::{Control, MODE_MONITOR};
use guard_common::logic::{fault, random};

use crate::{atomics, maps};

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketVerdict {
    /// No rule touched it.
    Untouched,
    /// A rule lets it pass later.
    Delayed,
    /// A rule drops it.
    Dropped,
    /// Monitor mode: a rule would have touched it.
    WouldHave,
}

/// What faults say of a connect. Plain numbers and no `Option`: see [`maps::endpoint`].
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    /// Errno for the agent; 0 = not refused.
    pub(crate) errno: u32,
    /// 1 = monitor mode kept a rule from refusing.
    pub(crate) would_have: u32,
    /// Id of the fault that refuses.
    pub(crate) fault: u64,
}

/// What [`decide`] says of one rule and one packet or connect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The rule does nothing here.
    Pass,
    /// The rule acts; the number of the draw.
    Act(u64),
    /// The rule would act, but for monitor mode.
    WouldAct,
}

/// Decides for one rule that matches, and counts everything but the act itself.
#[inline(always)]
pub(crate) fn decide(
    control: &Control,
    slot: u32,
    rule: &FaultRule,
    stats: &mut FaultStats,
    protected: bool,
    now_ns: u64,
) -> Decision {
    let window = fault::window(rule, now_ns, maps::lease_until_ns());
    if window == fault::Window::NotYet {
        return Decision::Pass;
    }
    atomics::add(&raw mut stats.matched, 1);
    if protected {
        atomics::add(&raw mut stats.protected, 1);
        return Decision::Pass;
    }
    if window == fault::Window::Over {
        atomics::add(&raw mut stats.expired, 1);
        return Decision::Pass;
    }
    let draw = maps::next_draw(slot);
    if rule.probability < PROBABILITY_ALWAYS && !random::hits(rule.seed, draw, rule.probability) {
        return Decision::Pass;
    }
    if control.mode == MODE_MONITOR {
        atomics::add(&raw mut stats.would_have, 1);
        return Decision::WouldAct;
    }
    Decision::Act(draw)
}

/// Whether a fault refuses this connect or unconnected send.
#[inline(always)]
pub(crate) fn refuse(control: &Control, pair: PairKey, protected: bool, now_ns: u64) -> Refusal {
    let mut refusal = Refusal { errno: 0, would_have: 0, fault: 0 };
    let Some(rules) = maps::pair_rules(pair) else { return refusal };
    for index in 0..MAX_PAIR_RULES {
        if index as u32 >= rules.count {
            break;
        }
        let slot = rules.slots[index];
        let Some(rule) = maps::fault_rule(slot) else { continue };
        if rule.effect != EFFECT_REFUSE {
            continue;
        }
        let Some(stats) = maps::fault_stats(slot) else { continue };
        match decide(control, slot, rule, stats, protected, now_ns) {
            Decision::Pass => {}
            Decision::WouldAct => refusal.would_have = 1,
            Decision::Act(_) => {
                atomics::add(&raw mut stats.refused, 1);
                refusal.errno = rule.errno;
                refusal.fault = rule.id;
                break;
            }
        }
    }
    refusal
}

/// What the rules do to one packet. `set_departure` is called with the delay in ns by the EDT
/// engine, which holds the packet in the egress device's `fq`.
#[inline(always)]
pub(crate) fn packet(
    control: &Control,
    pair: PairKey,
    direction: u32,
    protected: bool,
    now_ns: u64,
    set_departure: impl Fn(u64),
) -> PacketVerdict {
    let mut verdict = PacketVerdict::Untouched;
    let Some(rules) = maps::pair_rules(pair) else { return verdict };
    for index in 0..MAX_PAIR_RULES {
        if index as u32 >= rules.count {
            break;
        }
        let slot = rules.slots[index];
        let Some(rule) = maps::fault_rule(slot) else { continue };
        if rule.directions & direction == 0 {
            continue;
        }
        if rule.effect == EFFECT_DELAY && rule.engine != ENGINE_EDT {
            // The gate has counted and queued it before this hook; remember that it is touched.
            if direction == DIRECTION_EGRESS
                && !protected
                && control.mode != MODE_MONITOR
                && fault::window(rule, now_ns, maps::lease_until_ns()) == fault::Window::Open
            {
                verdict = PacketVerdict::Delayed;
            }
            continue;
        }
        if rule.effect != EFFECT_DROP && rule.effect != EFFECT_DELAY {
            continue;
        }
        let Some(stats) = maps::fault_stats(slot) else { continue };
        match decide(control, slot, rule, stats, protected, now_ns) {
            Decision::Pass => {}
            Decision::WouldAct => {
                if verdict == PacketVerdict::Untouched {
                    verdict = PacketVerdict::WouldHave;
                }
            }
            Decision::Act(draw) => {
                if rule.effect == EFFECT_DROP {
                    atomics::add(&raw mut stats.dropped, 1);
                    return PacketVerdict::Dropped;
                }
                atomics::add(&raw mut stats.delayed, 1);
                set_departure(fault::delay_ns(rule, draw));
                verdict = PacketVerdict::Delayed;
            }
        }
    }
    verdict
}
