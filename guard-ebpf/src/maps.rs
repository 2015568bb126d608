//! Every map, and the look-ups that all hooks share. Sizes that depend on the configuration are
//! set by the daemon at load time.
#![allow(deprecated, reason = "cgroup storage works from 5.18 on; its successor needs 6.2")]

mod fallback;
mod limits;
mod nesting;
mod pacing;

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_map_update_elem;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{
    Array, CgroupStorage, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf,
};
use guard_common::abi::breaker::{
    BreakerPolicy, BreakerSlot, MAX_POLICIES, TRANSITIONS_KEPT, Transition,
};
use guard_common::abi::fault::{
    DISTRIBUTIONS, Drawn, DrawnKey, FaultRule, FaultStats, GateSocket, JitterTable,
    MAX_DELAY_GATES, MAX_FAULT_RULES, MAX_SHARED_CONNECTIONS, PairRules, RateState,
};
use guard_common::abi::hygiene::HygienePolicy;
use guard_common::abi::ids::{PairKey, SERVICE_OTHER};
use guard_common::abi::policy::{Control, EndpointMatch, EndpointValue};
use guard_common::abi::socket::SocketState;
use guard_common::abi::stats::{HookStats, PairStats};
use guard_common::logic::http::RetryAfter;
use guard_common::logic::{burst, jitter, random};

pub(crate) use fallback::{
    asked, fallback, forget_asked, remember_asked, serving_netns, serving_until_ns,
};
pub(crate) use limits::{
    creation_counts, limits, limits_of, pressure, pressure_refused, retry_budget,
};
pub(crate) use nesting::{nest_state, nest_state_or_zero, outers};
pub(crate) use pacing::{hold_flow, paced, remember_paced};

/// Storage of no preallocated entries (`BPF_F_NO_PREALLOC`): a pair that never talks costs nothing.
const NO_PREALLOC: u32 = 1;
/// The daemon may map the array into its memory (`BPF_F_MMAPABLE`).
const MMAPABLE: u32 = 1024;
const RING_BYTES: u32 = 1 << 20;
/// Bytes of an answer that are looked at.
pub(crate) const ANSWER_BYTES: usize = 1024;

/// Offset of `sk_err` in the kernel's `struct sock`, found in BTF by the daemon; 0 = unknown.
#[unsafe(no_mangle)]
static SK_ERR_OFFSET: Global<u32> = Global::new(0);

/// Which bulkhead the attached cgroup is: written by the daemon per (cgroup, attach type).
#[map]
static BULKHEAD: CgroupStorage<u64> = CgroupStorage::new();

/// One entry: the daemon's switches.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// One entry: until when faults may act (boottime ns); the daemon moves it on.
#[map]
static LEASE: Array<u64> = Array::with_max_entries(1, 0);

/// One entry: until when breakers refuse without another sign of life of the daemon (boottime ns);
/// 0 = for ever.
#[map]
static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// Which service a destination belongs to.
#[map]
static ENDPOINTS: LpmTrie<EndpointMatch, EndpointValue> = LpmTrie::with_max_entries(65_536, 0);

/// Destinations that are never touched.
#[map]
static PROTECTED: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(4_096, 0);

/// Counters of each (bulkhead, service) that ever talked.
#[map]
static PAIR_STATS: PerCpuHashMap<PairKey, PairStats> =
    PerCpuHashMap::with_max_entries(65_536, NO_PREALLOC);

/// One entry of zeros, to make an entry of `PAIR_STATS` from: too large for the stack.
#[map]
static ZERO_STATS: Array<PairStats> = Array::with_max_entries(1, 0);

/// One entry: what went wrong inside the hooks.
#[map]
static HOOK_STATS: PerCpuArray<HookStats> = PerCpuArray::with_max_entries(1, 0);

/// Active fault rules.
#[map]
static FAULT_RULES: Array<FaultRule> = Array::with_max_entries(MAX_FAULT_RULES as u32, 0);

/// What each rule did.
#[map]
static FAULT_STATS: PerCpuArray<FaultStats> =
    PerCpuArray::with_max_entries(MAX_FAULT_RULES as u32, 0);

/// How delays vary, by `DISTRIBUTION_*`.
#[map]
static JITTER: Array<JitterTable> = Array::with_max_entries(DISTRIBUTIONS as u32, 0);

/// How many random decisions each rule has taken, and whether it is in a burst (`logic::burst`).
#[map]
static FAULT_DRAWS: Array<u64> = Array::with_max_entries(MAX_FAULT_RULES as u32, 0);

/// How many connections or calls each rule has drawn for its share of them.
#[map]
static SHARE_DRAWS: Array<u64> = Array::with_max_entries(MAX_FAULT_RULES as u32, 0);

/// Whether a rule drew a connection, or its last call.
#[map]
static SHARES: LruHashMap<DrawnKey, Drawn> =
    LruHashMap::with_max_entries(MAX_SHARED_CONNECTIONS as u32, 0);

/// When the thin link of each rule is free again.
#[map]
static RATES: Array<RateState> = Array::with_max_entries(MAX_FAULT_RULES as u32, 0);

/// What the gates know of sockets, for rules that are about some connections or calls only.
#[map]
static GATE_SOCKETS: LruHashMap<u64, GateSocket> =
    LruHashMap::with_max_entries(MAX_SHARED_CONNECTIONS as u32, 0);

/// Sockets whose request a gate has sent into the queue, and since when (boottime ns); until it
/// leaves, the packet hooks have not seen it.
#[map]
static QUEUED: LruHashMap<u64, u64> =
    LruHashMap::with_max_entries(MAX_SHARED_CONNECTIONS as u32, 0);

/// Rules that apply to a (bulkhead, service).
#[map]
static PAIR_RULES: HashMap<PairKey, PairRules> = HashMap::with_max_entries(65_536, NO_PREALLOC);

/// Place of a pair's breaker in `BREAKERS`.
#[map]
static BREAKER_OF_PAIR: HashMap<PairKey, u32> = HashMap::with_max_entries(1024, NO_PREALLOC);

/// Breakers. The daemon maps them into its memory and swaps their words as the hooks do.
#[map]
static BREAKERS: Array<BreakerSlot> = Array::with_max_entries(1024, MMAPABLE);

/// How breakers judge; each breaker names one.
#[map]
static BREAKER_POLICIES: Array<BreakerPolicy> = Array::with_max_entries(MAX_POLICIES as u32, 0);

/// The newest transitions of all breakers, in the order in which they were written down.
#[map]
static TRANSITIONS: Array<Transition> = Array::with_max_entries(TRANSITIONS_KEPT as u32, MMAPABLE);

/// Two entries: how many transitions there ever were, and of how many the daemon has told.
#[map]
static TRANSITION_COUNT: Array<u64> = Array::with_max_entries(2, MMAPABLE);

/// Socket options of the connections of a service; a service that has none is left alone.
#[map]
static HYGIENE: HashMap<u32, HygienePolicy> = HashMap::with_max_entries(8_192, NO_PREALLOC);

/// Rule slot + 1 of each NFQUEUE gate; 0 = none.
#[map]
static GATES: Array<u32> = Array::with_max_entries(MAX_DELAY_GATES as u32, 0);

/// Cookies of accepted connections on ports that callers have too, for the gates, which see no
/// socket storage. The oldest make room.
#[map]
static ACCEPTED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);

/// Sockets that guard itself ends, and why (`ENDED_*`): written by the daemon
/// before it destroys them. Entries of sockets that were gone already make room.
#[map]
static ENDED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);

/// One entry: the beginning of an answer, to look for its headers; too large for the stack. Packets
/// of one CPU come one after the other, so nobody else writes to it meanwhile.
#[map]
static ANSWER: PerCpuArray<Answer> = PerCpuArray::with_max_entries(1, 0);

/// What [`answer`] leads to.
#[repr(C)]
pub(crate) struct Answer {
    /// In the map and not on the stack, where the verifier would follow its values byte by byte.
    pub(crate) search: RetryAfter,
    pub(crate) bytes: [u8; ANSWER_BYTES],
}

/// What the daemon is told.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// What is remembered of each socket.
#[btf_map]
static SOCKETS: SkStorage<SocketState> = SkStorage::new();

/// Id of the bulkhead that the program runs for.
#[inline(always)]
pub(crate) fn bulkhead() -> u32 {
    identity() as u32
}

/// All that the daemon wrote for (cgroup, attach type): the bulkhead's id, and in the upper half
/// what else this kind of program must know.
#[inline(always)]
pub(crate) fn identity() -> u64 {
    // SAFETY: the kernel gives every attached cgroup its storage; the pointer is never null.
    unsafe { *BULKHEAD.get_ptr_mut() }
}

/// The daemon's switches.
#[inline(always)]
pub(crate) fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Whether the daemon has been silent for longer than breakers may act without it.
#[inline(always)]
pub(crate) fn is_abandoned(now_ns: u64) -> bool {
    HEARTBEAT.get(0).is_some_and(|until| {
        // SAFETY: a map value; volatile, because the daemon changes it under us.
        let until_ns = unsafe { core::ptr::read_volatile(until) };
        until_ns != 0 && until_ns < now_ns
    })
}

/// Until when faults may act; 0 = not at all.
#[inline(always)]
pub(crate) fn lease_until_ns() -> u64 {
    LEASE.get(0).map_or(0, |until| {
        // SAFETY: a map value; volatile, because the daemon changes it under us.
        unsafe { core::ptr::read_volatile(until) }
    })
}

/// The best endpoint for a destination: its service, and the address bits of the match plus one.
/// (0, 0) = no match. Plain numbers and no `Option`: an undefined half would be copied around,
/// which the verifier refuses.
#[inline(always)]
pub(crate) fn endpoint(bits: u32, what: EndpointMatch) -> (u32, u32) {
    match ENDPOINTS.get(aya_ebpf::maps::lpm_trie::Key::new(bits, what)) {
        Some(value) => (value.service, value.address_bits + 1),
        None => (SERVICE_OTHER, 0),
    }
}

#[inline(always)]
pub(crate) fn is_protected_address(address: [u8; 16]) -> bool {
    PROTECTED.get(aya_ebpf::maps::lpm_trie::Key::new(128, address)).is_some()
}

/// Socket options for the connections of a service.
#[inline(always)]
pub(crate) fn hygiene(service: u32) -> Option<&'static HygienePolicy> {
    // SAFETY: a map value, alive for the program; replaced as a whole by the daemon.
    unsafe { HYGIENE.get(service) }
}

/// Counters of a pair on this CPU, made at the first call.
#[inline(always)]
pub(crate) fn pair_stats(pair: PairKey) -> Option<&'static mut PairStats> {
    if let Some(stats) = PAIR_STATS.get_ptr_mut(pair) {
        // SAFETY: a map value, alive for the program; fields are changed by atomics only.
        return Some(unsafe { &mut *stats });
    }
    make_pair_stats(pair)
}

#[inline(always)]
fn make_pair_stats(pair: PairKey) -> Option<&'static mut PairStats> {
    if let Some(zero) = ZERO_STATS.get_ptr(0) {
        // SAFETY: map, key and value have the types of the map's definition. A loser of the race
        // gets EEXIST, which is as good.
        unsafe {
            bpf_map_update_elem(
                (&raw const PAIR_STATS).cast_mut().cast(),
                (&raw const pair).cast(),
                zero.cast(),
                u64::from(BPF_NOEXIST),
            );
        }
    }
    let made = PAIR_STATS.get_ptr_mut(pair);
    if made.is_none() {
        hook_stats(|stats| &raw mut stats.stats_failures);
    }
    // SAFETY: as in `pair_stats`.
    made.map(|stats| unsafe { &mut *stats })
}

/// Adds one to a counter of what went wrong.
#[inline(always)]
pub(crate) fn hook_stats(field: impl FnOnce(&mut HookStats) -> *mut u64) {
    if let Some(stats) = HOOK_STATS.get_ptr_mut(0) {
        // SAFETY: a map value, alive for the program.
        crate::atomics::add(field(unsafe { &mut *stats }), 1);
    }
}

/// Room for the beginning of an answer.
#[inline(always)]
pub(crate) fn answer() -> Option<&'static mut Answer> {
    // SAFETY: as in `pair_stats`; a CPU looks at one answer at a time.
    ANSWER.get_ptr_mut(0).map(|answer| unsafe { &mut *answer })
}

#[inline(always)]
pub(crate) fn fault_rule(slot: u32) -> Option<&'static FaultRule> {
    FAULT_RULES.get(slot)
}

#[inline(always)]
pub(crate) fn fault_stats(slot: u32) -> Option<&'static mut FaultStats> {
    // SAFETY: as in `pair_stats`.
    FAULT_STATS.get_ptr_mut(slot).map(|stats| unsafe { &mut *stats })
}

/// Takes one random decision of a rule: its number, with [`burst::LOST`] if the rule hits.
#[inline(always)]
pub(crate) fn draw(slot: u32, rule: &FaultRule) -> u64 {
    let Some(word) = FAULT_DRAWS.get_ptr_mut(slot) else { return 0 };
    let old = crate::atomics::fetch_add(word, 1);
    let lost = burst::lost(old, rule.seed, rule.probability, rule.burst_end);
    // Two CPUs that end one burst at once begin the next: as likely as it is harmless.
    crate::atomics::toggle(word, burst::toggled(old, lost, rule.burst_end));
    (old & !burst::LOST) | lost
}

/// Takes one decision of a rule about a connection or call: whether it is among its share.
#[inline(always)]
pub(crate) fn draw_share(slot: u32, rule: &FaultRule) -> bool {
    let Some(count) = SHARE_DRAWS.get_ptr_mut(slot) else { return false };
    // Another sequence than that of the packets.
    random::hits(!rule.seed, crate::atomics::fetch_add(count, 1), rule.share)
}

/// What a rule drew for a connection before.
#[inline(always)]
pub(crate) fn drawn(key: DrawnKey) -> Option<Drawn> {
    // SAFETY: a map value, alive for the program.
    SHARES.get_ptr(key).map(|drawn| unsafe { *drawn })
}

/// Remembers what a rule drew for a connection. Without room it is drawn anew for its next packet.
#[inline(always)]
pub(crate) fn remember_drawn(key: DrawnKey, drawn: Drawn) {
    if SHARES.insert(key, drawn, 0).is_err() {
        hook_stats(|stats| &raw mut stats.storage_failures);
    }
}

/// The thin link of a rule.
#[inline(always)]
pub(crate) fn rate(slot: u32) -> Option<&'static mut RateState> {
    // SAFETY: a map value, alive for the program; words are changed by compare-and-swap only.
    RATES.get_ptr_mut(slot).map(|state| unsafe { &mut *state })
}

/// What the gates know of a socket.
#[inline(always)]
pub(crate) fn gate_socket(cookie: u64) -> Option<&'static mut GateSocket> {
    // SAFETY: a map value, alive for the program.
    GATE_SOCKETS.get_ptr_mut(cookie).map(|socket| unsafe { &mut *socket })
}

/// Remembers a socket for the gates.
#[inline(always)]
pub(crate) fn remember_gate_socket(cookie: u64, socket: GateSocket) {
    if GATE_SOCKETS.insert(cookie, socket, 0).is_err() {
        hook_stats(|stats| &raw mut stats.storage_failures);
    }
}

/// Remembers that a request of a socket waits in the queue. The first one counts.
#[inline(always)]
pub(crate) fn remember_queued(cookie: u64, now_ns: u64) {
    // EEXIST is the usual answer; without room the call is not missed if it is answered.
    let _ = QUEUED.insert(cookie, now_ns, u64::from(BPF_NOEXIST));
}

/// The request has left.
#[inline(always)]
pub(crate) fn forget_queued(cookie: u64) {
    // ENOENT is what there mostly is.
    let _ = QUEUED.remove(cookie);
}

/// Since when a request of a socket waits in the queue; 0 = none does.
#[inline(always)]
pub(crate) fn queued_since_ns(cookie: u64) -> u64 {
    // SAFETY: a map value, alive for the program.
    QUEUED.get_ptr(cookie).map_or(0, |since| unsafe { *since })
}

/// What a rule makes of its `draw`-th packet, in ns.
#[inline(always)]
pub(crate) fn delay_ns(rule: &FaultRule, draw: u64) -> u64 {
    if rule.jitter_ns == 0 {
        return rule.delay_ns;
    }
    // The upper half of a draw decides about hits; the lower half makes the jitter.
    let draw = random::draw(rule.seed, draw) as u32;
    JITTER
        .get(rule.distribution)
        .map_or(rule.delay_ns, |t| jitter::delay_ns(t, rule.delay_ns, rule.jitter_ns, draw))
}

#[inline(always)]
pub(crate) fn pair_rules(pair: PairKey) -> Option<&'static PairRules> {
    // SAFETY: a map value, alive for the program.
    PAIR_RULES.get_ptr(pair).map(|rules| unsafe { &*rules })
}

/// Place of a pair's breaker plus one; 0 = it has none.
#[inline(always)]
pub(crate) fn breaker_of(pair: PairKey) -> u32 {
    // SAFETY: a map value, alive for the program.
    BREAKER_OF_PAIR.get_ptr(pair).map_or(0, |place| unsafe { *place } + 1)
}

/// The breaker at a place plus one, and how it judges.
#[inline(always)]
pub(crate) fn breaker(
    place_plus_one: u32,
) -> Option<(&'static mut BreakerSlot, &'static BreakerPolicy)> {
    let slot = BREAKERS.get_ptr_mut(place_plus_one.checked_sub(1)?)?;
    // SAFETY: a map value, alive for the program; words are changed by compare-and-swap only.
    let slot = unsafe { &mut *slot };
    let policy = BREAKER_POLICIES.get(slot.policy)?;
    Some((slot, policy))
}

/// Where the next transition is written down, and its number from 1 on.
#[inline(always)]
pub(crate) fn next_transition() -> Option<(&'static mut Transition, u64)> {
    let count = TRANSITION_COUNT.get_ptr_mut(0)?;
    let number = crate::atomics::fetch_add(count, 1);
    let place = (number % TRANSITIONS_KEPT as u64) as u32;
    // SAFETY: a map value, alive for the program.
    TRANSITIONS.get_ptr_mut(place).map(|record| (unsafe { &mut *record }, number + 1))
}

/// Rule slot of an NFQUEUE gate.
#[inline(always)]
pub(crate) fn gate_slot(gate: u32) -> Option<u32> {
    GATES.get(gate).and_then(|slot| slot.checked_sub(1))
}

/// Remembers an accepted connection by its cookie.
#[inline(always)]
pub(crate) fn remember_accepted(cookie: u64) {
    if ACCEPTED.insert(cookie, 1, 0).is_err() {
        hook_stats(|stats| &raw mut stats.storage_failures);
    }
}

/// Whether a connection was accepted, by its cookie.
#[inline(always)]
pub(crate) fn was_accepted(cookie: u64) -> bool {
    ACCEPTED.get_ptr(cookie).is_some()
}

/// Why guard ended this socket (`ENDED_*`); 0 = it did not.
#[inline(always)]
pub(crate) fn ended_by_guard(cookie: u64) -> u32 {
    // SAFETY: a map value, alive for the program.
    ENDED.get_ptr(cookie).map_or(0, |why| unsafe { *why })
}

#[inline(always)]
pub(crate) fn events() -> &'static RingBuf {
    &EVENTS
}

#[inline(always)]
pub(crate) fn sockets() -> *mut core::ffi::c_void {
    (&raw const SOCKETS).cast_mut().cast()
}

#[inline(always)]
pub(crate) fn sk_err_offset() -> u32 {
    SK_ERR_OFFSET.load()
}
