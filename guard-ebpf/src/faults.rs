//! Applies fault rules. Called only while a fault is active, for destinations of a bulkhead.

use aya_ebpf::helpers::generated::bpf_loop;
use guard_common::abi::fault::{
    DIRECTION_EGRESS, EFFECT_DELAY, EFFECT_DROP, EFFECT_RATE, EFFECT_REFUSE, EFFECT_RESET,
    ENGINE_NFQUEUE, FaultRule, FaultStats, MAX_PAIR_RULES, PairRules, Subject,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::MODE_MONITOR;
use guard_common::logic::{burst, fault};

use crate::{atomics, maps};

mod share;
mod thin;

pub(crate) use share::is_chosen;

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketVerdict {
    /// No rule touched it.
    Untouched,
    /// A rule lets it pass later.
    Delayed,
    /// A rule drops it.
    Dropped,
    /// A rule drops it, and wants the connection reset: the slot of the rule.
    Reset(u32),
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

/// Places of what [`guard_fault_walk`] and [`guard_fault_rule`] are asked; lowest is the direction.
const ASK_EFFECT_AT: u32 = 32;
const ASK_PROTECTED: u64 = 1 << 31;
/// Places of what they answer.
const ANSWER_ERRNO: u64 = 0xfff;
const ANSWER_WOULD_HAVE: u64 = 1 << 12;
const ANSWER_DROPPED: u64 = 1 << 13;
const ANSWER_DELAYED: u64 = 1 << 14;
const ANSWER_RESET: u64 = 1 << 15;
/// The delay in ns, or, of a refusal or reset, the slot of its rule.
const ANSWER_VALUE_AT: u32 = 16;

/// What goes through the loop over a pair's rules, for connects and packets alike.
struct Walk {
    rules: *const PairRules,
    subject: Subject,
    asked: u64,
    now_ns: u64,
    /// Answers so far, as one.
    answer: u64,
}

const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// One step of the loop: rule number `index` of the pair.
unsafe extern "C" fn step(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is the argument that `guard_fault_walk` gave to the kernel, alive during the
    // loop; `rules` is a map value, alive for the program.
    let (walk, rules) = unsafe { (&mut *walk, &*(*walk).rules) };
    if index >= rules.count || index >= MAX_PAIR_RULES as u32 {
        return STOP;
    }
    let slot = rules.slots[index as usize];
    let answer = guard_fault_rule(slot, walk.asked, walk.now_ns, &raw const walk.subject);
    if answer & (ANSWER_ERRNO | ANSWER_DROPPED | ANSWER_RESET) != 0 {
        // What earlier rules held is not held any more.
        let bits = walk.answer & ((1 << ANSWER_VALUE_AT) - 1);
        walk.answer = bits | answer;
        return STOP;
    }
    // Delays add up; whatever else there is are single bits.
    let delay = (walk.answer >> ANSWER_VALUE_AT).wrapping_add(answer >> ANSWER_VALUE_AT);
    let bits = (walk.answer | answer) & ((1 << ANSWER_VALUE_AT) - 1);
    walk.answer = (delay << ANSWER_VALUE_AT) | bits;
    GO_ON
}

/// What one rule does to a packet or connect: asked and answered in single words.
///
/// A global function, with numbers as arguments: the verifier looks at it once, and not once for
/// each rule, and each outcome of the rules before it. So is the next one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_fault_rule(slot: u32, asked: u64, now_ns: u64, subject: *const Subject) -> u64 {
    let (effect, direction) = ((asked >> ASK_EFFECT_AT) as u32, asked as u32 & 0xff);
    let protected = asked & ASK_PROTECTED != 0;
    // SAFETY: the verifier checks each caller's pointer, and asks for this check.
    let (Some(control), Some(rule), Some(subject)) =
        (maps::control(), maps::fault_rule(slot), unsafe { subject.as_ref() })
    else {
        return 0;
    };
    if effect == EFFECT_REFUSE {
        if rule.effect != EFFECT_REFUSE {
            return 0;
        }
    } else if rule.directions & direction == 0 {
        return 0;
    }
    if !fault::is_about(rule, subject) {
        return 0;
    }
    if is_queued(rule, direction) {
        // The gate has counted and queued it before this hook; remember that it is touched.
        let acts = fault::window(rule, now_ns, maps::lease_until_ns()) == fault::Window::Open;
        let touched = acts && !protected && control.mode != MODE_MONITOR;
        return if touched && share::was_chosen(rule, subject) { ANSWER_DELAYED } else { 0 };
    }
    let Some(stats) = maps::fault_stats(slot) else { return 0 };
    if fault::window(rule, now_ns, maps::lease_until_ns()) == fault::Window::Open
        && !is_chosen(slot, rule, subject, stats)
    {
        return 0;
    }
    match decide(control.mode, slot, rule, stats, protected, now_ns) {
        Decision::Pass => 0,
        Decision::WouldAct => ANSWER_WOULD_HAVE,
        Decision::Act(draw) => act(slot, rule, stats, draw, subject, direction, now_ns),
    }
}

/// Whether a rule's packets in this direction go through the daemon's queue.
#[inline(always)]
fn is_queued(rule: &FaultRule, direction: u32) -> bool {
    rule.engine == ENGINE_NFQUEUE
        && direction == DIRECTION_EGRESS
        && (rule.effect == EFFECT_DELAY || rule.effect == EFFECT_RATE)
}

#[inline(always)]
fn act(
    slot: u32,
    rule: &FaultRule,
    stats: &mut FaultStats,
    draw: u64,
    subject: &Subject,
    direction: u32,
    now_ns: u64,
) -> u64 {
    match rule.effect {
        EFFECT_REFUSE => {
            atomics::add(&raw mut stats.refused, 1);
            (u64::from(slot) << ANSWER_VALUE_AT) | (u64::from(rule.errno) & ANSWER_ERRNO)
        }
        EFFECT_DROP => {
            atomics::add(&raw mut stats.dropped, 1);
            ANSWER_DROPPED
        }
        EFFECT_RESET => {
            atomics::add(&raw mut stats.reset, 1);
            (u64::from(slot) << ANSWER_VALUE_AT) | ANSWER_RESET
        }
        EFFECT_RATE => match thin::link(slot, rule, stats, subject.bytes, direction, now_ns) {
            thin::DROPPED => ANSWER_DROPPED,
            0 => 0,
            held_ns => (held_ns << ANSWER_VALUE_AT) | ANSWER_DELAYED,
        },
        _ => {
            atomics::add(&raw mut stats.delayed, 1);
            (maps::delay_ns(rule, draw) << ANSWER_VALUE_AT) | ANSWER_DELAYED
        }
    }
}

/// What the rules of a pair do, as [`guard_fault_rule`] for one. The loop is the kernel's
/// (`bpf_loop`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_fault_walk(
    bulkhead: u32,
    service: u32,
    asked: u64,
    now_ns: u64,
    subject: *const Subject,
) -> u64 {
    // SAFETY: as in `guard_fault_rule`.
    let (Some(rules), Some(subject)) =
        (maps::pair_rules(PairKey { bulkhead, service }), unsafe { subject.as_ref() })
    else {
        return 0;
    };
    let mut walk = Walk { rules, subject: *subject, asked, now_ns, answer: 0 };
    // SAFETY: the callback has the signature that the kernel asks for, and `walk` outlives the call.
    unsafe {
        bpf_loop(MAX_PAIR_RULES as u32, step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    walk.answer
}

#[inline(always)]
fn walk(
    pair: PairKey,
    effect: u32,
    direction: u32,
    protected: bool,
    now_ns: u64,
    subject: &Subject,
) -> u64 {
    let protected = if protected { ASK_PROTECTED } else { 0 };
    let asked = (u64::from(effect) << ASK_EFFECT_AT) | protected | u64::from(direction);
    guard_fault_walk(pair.bulkhead, pair.service, asked, now_ns, subject)
}

/// Whether a fault refuses this connect or unconnected send.
#[inline(always)]
pub(crate) fn refuse(pair: PairKey, protected: bool, now_ns: u64, subject: &Subject) -> Refusal {
    let answer = walk(pair, EFFECT_REFUSE, 0, protected, now_ns, subject);
    let errno = (answer & ANSWER_ERRNO) as u32;
    let fault = match maps::fault_rule((answer >> ANSWER_VALUE_AT) as u32) {
        Some(rule) if errno != 0 => rule.id,
        _ => 0,
    };
    Refusal { errno, would_have: u32::from(answer & ANSWER_WOULD_HAVE != 0), fault }
}

/// What the rules do to one packet. `set_departure` is called with the delay in ns that the EDT
/// engine shall make, which holds the packet in the egress device's `fq`.
#[inline(always)]
pub(crate) fn packet(
    pair: PairKey,
    direction: u32,
    protected: bool,
    now_ns: u64,
    subject: &Subject,
    set_departure: impl FnOnce(u64),
) -> PacketVerdict {
    let answer = walk(pair, 0, direction, protected, now_ns, subject);
    if answer & ANSWER_RESET != 0 {
        return PacketVerdict::Reset((answer >> ANSWER_VALUE_AT) as u32);
    }
    if answer & ANSWER_DROPPED != 0 {
        return PacketVerdict::Dropped;
    }
    if answer >> ANSWER_VALUE_AT != 0 {
        set_departure(answer >> ANSWER_VALUE_AT);
    }
    if answer & ANSWER_DELAYED != 0 {
        PacketVerdict::Delayed
    } else if answer & ANSWER_WOULD_HAVE != 0 {
        PacketVerdict::WouldHave
    } else {
        PacketVerdict::Untouched
    }
}
