//! Applies fault rules. Called only while a fault is active, for destinations of a bulkhead.

use aya_ebpf::helpers::generated::bpf_loop;
use guard_common::abi::fault::{
    EFFECT_DELAY, EFFECT_DROP, EFFECT_REFUSE, ENGINE_EDT, FaultRule, FaultStats, MAX_PAIR_RULES,
    PairRules,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::{Control, MODE_MONITOR};
use guard_common::logic::{burst, fault};

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
    mode: u32,
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
    let draw = maps::draw(slot, rule);
    if draw & burst::LOST == 0 {
        return Decision::Pass;
    }
    if mode == MODE_MONITOR {
        atomics::add(&raw mut stats.would_have, 1);
        return Decision::WouldAct;
    }
    Decision::Act(draw & !burst::LOST)
}

/// What goes through the loop over a pair's rules, for connects and packets alike.
///
/// The loop is the kernel's (`bpf_loop`): its body is verified once, not once per rule and per
/// outcome of the rules before it.
struct Walk {
    rules: *const PairRules,
    now_ns: u64,
    /// Only this effect for connects; 0 = those of packets.
    effect: u32,
    direction: u32,
    mode: u32,
    protected: u32,
    /// Results.
    fault: u64,
    delay_ns: u64,
    errno: u32,
    would_have: u32,
    dropped: u32,
    delayed: u32,
}

const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// One step of the loop: rule number `index` of the pair.
unsafe extern "C" fn step(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is the argument that `walk_rules` gave to the kernel, alive during the loop;
    // `rules` is a map value, alive for the program.
    let (walk, rules) = unsafe { (&mut *walk, &*(*walk).rules) };
    if index >= rules.count || index >= MAX_PAIR_RULES as u32 {
        return STOP;
    }
    let slot = rules.slots[index as usize];
    let Some(rule) = maps::fault_rule(slot) else { return GO_ON };
    if walk.effect == EFFECT_REFUSE {
        if rule.effect != EFFECT_REFUSE {
            return GO_ON;
        }
    } else if rule.directions & walk.direction == 0 {
        return GO_ON;
    } else if rule.effect == EFFECT_DELAY && rule.engine != ENGINE_EDT {
        // The gate has counted and queued it before this hook; remember that it is touched.
        let acts = fault::window(rule, walk.now_ns, maps::lease_until_ns()) == fault::Window::Open;
        if acts && walk.protected == 0 && walk.mode != MODE_MONITOR {
            walk.delayed = 1;
        }
        return GO_ON;
    }
    let Some(stats) = maps::fault_stats(slot) else { return GO_ON };
    match decide(walk.mode, slot, rule, stats, walk.protected != 0, walk.now_ns) {
        Decision::Pass => GO_ON,
        Decision::WouldAct => {
            walk.would_have = 1;
            GO_ON
        }
        Decision::Act(draw) => act(walk, rule, stats, draw),
    }
}

#[inline(always)]
fn act(walk: &mut Walk, rule: &FaultRule, stats: &mut FaultStats, draw: u64) -> i64 {
    match rule.effect {
        EFFECT_REFUSE => {
            atomics::add(&raw mut stats.refused, 1);
            walk.errno = rule.errno;
            walk.fault = rule.id;
            STOP
        }
        EFFECT_DROP => {
            atomics::add(&raw mut stats.dropped, 1);
            walk.dropped = 1;
            STOP
        }
        _ => {
            atomics::add(&raw mut stats.delayed, 1);
            walk.delayed = 1;
            walk.delay_ns = walk.delay_ns.wrapping_add(maps::delay_ns(rule, draw));
            GO_ON
        }
    }
}

/// Walks the rules of a pair; false if it has none.
#[inline(always)]
fn walk_rules(pair: PairKey, walk: &mut Walk) -> bool {
    let Some(rules) = maps::pair_rules(pair) else { return false };
    walk.rules = rules;
    // SAFETY: the callback has the signature that the kernel asks for, and `walk` outlives the call.
    unsafe {
        bpf_loop(MAX_PAIR_RULES as u32, step as *mut core::ffi::c_void, (&raw mut *walk).cast(), 0);
    }
    true
}

#[inline(always)]
fn walk(control: &Control, effect: u32, direction: u32, protected: bool, now_ns: u64) -> Walk {
    Walk {
        rules: core::ptr::null(),
        now_ns,
        effect,
        direction,
        mode: control.mode,
        protected: u32::from(protected),
        fault: 0,
        delay_ns: 0,
        errno: 0,
        would_have: 0,
        dropped: 0,
        delayed: 0,
    }
}

/// Whether a fault refuses this connect or unconnected send.
#[inline(always)]
pub(crate) fn refuse(control: &Control, pair: PairKey, protected: bool, now_ns: u64) -> Refusal {
    let mut walk = walk(control, EFFECT_REFUSE, 0, protected, now_ns);
    walk_rules(pair, &mut walk);
    Refusal { errno: walk.errno, would_have: walk.would_have, fault: walk.fault }
}

/// What the rules do to one packet. `set_departure` is called with the delay in ns that the EDT
/// engine shall make, which holds the packet in the egress device's `fq`.
#[inline(always)]
pub(crate) fn packet(
    control: &Control,
    pair: PairKey,
    direction: u32,
    protected: bool,
    now_ns: u64,
    set_departure: impl FnOnce(u64),
) -> PacketVerdict {
    let mut walk = walk(control, 0, direction, protected, now_ns);
    if !walk_rules(pair, &mut walk) {
        return PacketVerdict::Untouched;
    }
    if walk.dropped != 0 {
        return PacketVerdict::Dropped;
    }
    if walk.delay_ns != 0 {
        set_departure(walk.delay_ns);
    }
    if walk.delayed != 0 {
        PacketVerdict::Delayed
    } else if walk.would_have != 0 {
        PacketVerdict::WouldHave
    } else {
        PacketVerdict::Untouched
    }
}
