//! Bulkheads inside bulkheads. The kernel runs the programs of every bulkhead around a socket, the
//! innermost first. The innermost owns what happens: it judges, counts and disturbs, once. Those around
//! it look away, and the innermost asks their limits for them, so that one place decides.
//!
//! Whose a socket is stands in its storage (`SocketState::bulkhead`): a connection stays with the
//! bulkhead that it began in, also when another is put around it or into it later. It goes over to a
//! bulkhead around it when its own is gone.
//!
//! It never asks twice for one call, and a place that is taken for an outer bulkhead is written down
//! with the socket, so that what is given back is what was taken, whatever a reload changes meanwhile.
//! It fails open: without storage nothing is taken. Hosts without nesting pay one test of a bit.

use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::{bpf_get_retval, bpf_sk_fullsock};
use guard_common::abi::ids::{BULKHEAD_NONE, PairKey};
use guard_common::abi::nesting::{MAX_OUTER, NestState, Outers};
use guard_common::abi::policy::{Control, FLAG_NESTING};
use guard_common::abi::socket::{
    SOCKET_NESTED, SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_UDP, SocketState,
};

use crate::breaker::{pack, unpack};
use crate::{atomics, breaker, limits, maps, pressure, socket};

/// Whether any bulkhead of this host lies, or lay, inside another.
#[inline(always)]
pub(crate) const fn is_on(control: &Control) -> bool {
    control.flags & FLAG_NESTING != 0
}

/// Whether bulkhead `inner` lies inside `outer`, now.
#[inline(always)]
fn is_inside(inner: u32, outer: u32) -> bool {
    let Some(Outers { ids }) = maps::outers(inner) else { return false };
    ids[0] == outer || ids[1] == outer || ids[2] == outer || ids[3] == outer
}

const _: () = assert!(MAX_OUTER == 4);

/// 1 if both bulkheads are around a socket, so that the other's program looks after it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_related(one: u32, other: u32) -> u32 {
    u32::from(is_inside(one, other) || is_inside(other, one))
}

/// Whether a socket is looked after by the program of another bulkhead.
#[inline(always)]
pub(crate) fn is_anothers(state: &SocketState) -> bool {
    let me = maps::bulkhead();
    state.bulkhead != me && guard_nesting_related(me, state.bulkhead) != 0
}

/// The same for a packet. A socket whose bulkhead is gone becomes that of the innermost one around it.
#[inline(always)]
pub(crate) fn is_packet_anothers(skb: *mut __sk_buff, state: &SocketState) -> bool {
    let me = maps::bulkhead();
    if state.bulkhead == me {
        return false;
    }
    if me == BULKHEAD_NONE || guard_nesting_related(me, state.bulkhead) != 0 {
        return true;
    }
    guard_nesting_take_over(skb, me);
    false
}

/// 1 if another bulkhead's programs decide about this connect, or send (`sends` = 1): those inside this
/// one have done so already. A send from a socket that has storage is decided by whoever has that.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_nesting_decided(
    ctx: *mut bpf_sock_addr,
    me: u32,
    sends: u32,
) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    if is_refused() {
        return 1;
    }
    if sk.is_null() {
        return 0;
    }
    if let Some(state) = socket::get(sk) {
        let owner = state.bulkhead;
        if is_inside(owner, me) || (sends != 0 && is_inside(me, owner)) {
            return 1;
        }
    }
    u32::from(maps::nest_state(sk).is_some_and(|nest| is_inside(nest.owner, me)))
}

/// Whether a program that ran before, for the same call, has refused it.
#[inline(always)]
pub(crate) fn is_refused() -> bool {
    // SAFETY: no arguments.
    unsafe { bpf_get_retval() < 0 }
}

/// Lets the programs of outer bulkheads know that this send is decided. A socket that has storage says
/// so by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_nesting_claim(ctx: *mut bpf_sock_addr, me: u32) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    if sk.is_null() || maps::outers(me).is_none() {
        return 0;
    }
    if socket::get(sk).is_none()
        && let Some(nest) = maps::nest_state_or_zero(sk)
    {
        nest.owner = me;
    }
    0
}

/// What the bulkheads around a pair's say to a call that wants to begin: an errno, or 0. A connection
/// that may begin has taken its places with them, until [`commit`] or [`leave`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_nesting_enter(ctx: *mut bpf_sock_addr, pair: u64, how: u32) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    let PairKey { bulkhead, service } = unpack(pair);
    let Some(outers) = maps::outers(bulkhead) else { return 0 };
    if sk.is_null() {
        return 0;
    }
    let connection = how & limits::CONNECTION;
    for level in 0..MAX_OUTER {
        let outer = outers.ids[level];
        if outer == BULKHEAD_NONE {
            break;
        }
        let errno = guard_nesting_enter_one(pack(outer, service), connection);
        let refused = (errno >> ANSWER_ERRNO_AT) as u32;
        if refused != 0 {
            leave(ctx);
            return refused;
        }
        if errno != 0 && !note_entering(sk, level, errno) {
            limits::leave(errno);
        }
    }
    0
}

/// Above the two places, which fill less than half of their halves.
const ANSWER_ERRNO_AT: u32 = 48;

/// What one outer bulkhead says: an errno in the upper bits, or the places taken with it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_enter_one(pair: u64, connection: u32) -> u64 {
    let pair = unpack(pair);
    if connection != 0 && pressure::is_on() {
        let errno = pressure::errno(pair.bulkhead);
        if errno != 0 {
            return u64::from(errno) << ANSWER_ERRNO_AT;
        }
    }
    let entry = limits::enter(pair, connection | limits::OF_INNER);
    if entry.errno != 0 {
        return u64::from(entry.errno) << ANSWER_ERRNO_AT;
    }
    entry.counted
}

#[inline(always)]
fn note_entering(sk: *mut bpf_sock, level: usize, places: u64) -> bool {
    let Some(nest) = maps::nest_state_or_zero(sk) else { return false };
    let Some(word) = nest.entering.get_mut(level) else { return false };
    atomics::exchange(&raw mut *word, places);
    true
}

/// A call that outer bulkheads let in comes to nothing.
#[inline(always)]
pub(crate) fn leave(ctx: *mut bpf_sock_addr) {
    guard_nesting_settle(ctx, 0);
}

/// A connection that outer bulkheads let in begins: it has its storage, and counts until it ends.
#[inline(always)]
pub(crate) fn commit(ctx: *mut bpf_sock_addr) {
    guard_nesting_settle(ctx, 1);
}

/// What [`leave`] (`begins` = 0) and [`commit`] do.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_settle(ctx: *mut bpf_sock_addr, begins: u32) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    if sk.is_null() {
        return 0;
    }
    let Some(nest) = maps::nest_state(sk) else { return 0 };
    let state = if begins != 0 { socket::get(sk) } else { None };
    let counts = state.is_some();
    if let Some(state) = state {
        atomics::set_bits(&raw mut state.flags, SOCKET_NESTED);
    }
    for level in 0..MAX_OUTER {
        let places = atomics::exchange(&raw mut nest.entering[level], 0);
        if places == 0 {
            continue;
        }
        // An earlier connection of the socket has given back what it had.
        let over =
            if counts { atomics::exchange(&raw mut nest.counted[level], places) } else { places };
        limits::leave(over);
    }
    0
}

/// The connection has ended for its own bulkhead: so it has for those around it. Only the first call
/// does anything. `sk` is its socket.
#[inline(always)]
pub(crate) fn give_back(sk: *mut bpf_sock, state: &SocketState) {
    if state.flags & SOCKET_NESTED == 0 {
        return;
    }
    if let Some(nest) = maps::nest_state(sk) {
        guard_nesting_give_back(nest);
    }
}

/// What [`give_back`] does. A global function: see `socket::guard_socket_finish`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_give_back(nest: *mut NestState) -> u32 {
    // SAFETY: a socket's storage, alive for the program; the verifier asks for the check.
    let Some(nest) = (unsafe { nest.as_mut() }) else { return 0 };
    for level in 0..MAX_OUTER {
        limits::leave(atomics::exchange(&raw mut nest.counted[level], 0));
    }
    0
}

/// A connection that is older than the daemon, or than its bulkhead, takes its places with those
/// around, free or not. Afterwards its end is looked for once more: it may have come meanwhile.
#[inline(always)]
pub(crate) fn count_old(control: &Control, sk: *mut bpf_sock, state: &mut SocketState) {
    if !is_on(control) || maps::outers(state.bulkhead).is_none() {
        return;
    }
    let Some(nest) = maps::nest_state_or_zero(sk) else { return };
    guard_nesting_count_old(nest, pack(state.bulkhead, state.service));
    atomics::set_bits(&raw mut state.flags, SOCKET_NESTED);
    if state.closed != 0 {
        guard_nesting_give_back(nest);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_count_old(nest: *mut NestState, pair: u64) -> u32 {
    // SAFETY: as in `guard_nesting_give_back`.
    let Some(nest) = (unsafe { nest.as_mut() }) else { return 0 };
    let PairKey { bulkhead, service } = unpack(pair);
    let Some(outers) = maps::outers(bulkhead) else { return 0 };
    for level in 0..MAX_OUTER {
        let outer = outers.ids[level];
        if outer == BULKHEAD_NONE {
            break;
        }
        let places = limits::take_always(PairKey { bulkhead: outer, service });
        limits::leave(atomics::exchange(&raw mut nest.counted[level], places));
    }
    0
}

/// The bulkhead of a packet's socket is gone: this one, around it, has it from now on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_nesting_take_over(skb: *mut __sk_buff, me: u32) -> u32 {
    // SAFETY: as in `packet`.
    let sk = unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() { sk } else { bpf_sk_fullsock(sk) }
    };
    let Some(control) = maps::control() else { return 0 };
    if sk.is_null() {
        return 0;
    }
    let Some(state) = socket::get(sk) else { return 0 };
    let before = socket::pair(state);
    // What it holds of a breaker that judges for nobody any more.
    breaker::give_back(state);
    if !atomics::replace32(&raw mut state.bulkhead, before.bulkhead, me) {
        return 0;
    }
    limits::give_back(state);
    give_back(sk, state);
    let pair = PairKey { bulkhead: me, service: before.service };
    let untouched = state.flags & (SOCKET_PASSIVE | SOCKET_PROTECTED) != 0;
    state.breaker = if untouched { 0 } else { maps::breaker_of(pair) };
    if state.closed != 0 {
        return 0;
    }
    if atomics::replace(&raw mut state.opened, 1, 0) {
        if let Some(stats) = maps::pair_stats(before) {
            atomics::add(&raw mut stats.closed, 1);
        }
        if let Some(stats) = maps::pair_stats(pair) {
            socket::count_open(state, stats);
        }
    }
    if state.flags & (SOCKET_UDP | SOCKET_PASSIVE | SOCKET_PROTECTED) == 0 {
        limits::count_old(state, pair);
        count_old(control, sk, state);
        if state.closed != 0 {
            limits::give_back(state);
        }
    }
    1
}
