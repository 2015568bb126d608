//! Paced calls: a call above a rate is held where it begins, for as long as its buckets say, and
//! what the connection sends after it stays behind it. It never refuses and never drops a call, and
//! never holds one for longer than the bound of its pair.
//!
//! Two engines hold: departure times, which are set here, or the daemon's, to which the
//! gate (`gate`) sends what is to wait. It fails open: without the daemon's lease, without an engine,
//! or for a connection that is not remembered, calls pass.
//!
//! Global functions: see the notes of `breaker`.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use guard_common::abi::ids::PairKey;
use guard_common::abi::pacing::{PACE_EDT, PACE_NOT, PacedSocket};
use guard_common::abi::policy::{FLAG_PACING, MODE_MONITOR};
use guard_common::abi::socket::{
    EXCHANGE_HANDSHAKE, SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_UDP, SocketState,
};
use guard_common::logic::tls::{self, FirstBytes};
use guard_common::logic::{exchange, pacing};

use crate::breaker::{pack, retried, unpack};
use crate::packet::depart_later;
use crate::{atomics, headers, maps, plain, socket};

pub(crate) mod gate;

/// Whether any calls are paced.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    maps::control().is_some_and(|control| control.flags & FLAG_PACING != 0)
}

/// A connection of the agent's begins: its first call is paced too.
#[inline(always)]
pub(crate) fn follow(state: &SocketState, cookie: u64) {
    if is_on() && state.flags & (SOCKET_PROTECTED | SOCKET_UDP) == 0 {
        guard_pace_follow(cookie, pack(state.bulkhead, state.service), 0);
    }
}

/// Remembers a connection if calls of its pair are paced; `word`: what it awaits.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_pace_follow(cookie: u64, pair: u64, word: u64) -> u32 {
    let PairKey { bulkhead, service } = unpack(pair);
    let paced = maps::limits(maps::limits_of(PairKey { bulkhead, service }))
        .is_some_and(|slot| slot.pace_engine != PACE_NOT);
    if paced {
        let zero = plain::zero();
        let known =
            PacedSocket { bulkhead, service, word, until_ns: zero, queued: zero, left: zero };
        maps::remember_paced(cookie, &known);
    }
    u32::from(paced)
}

/// A packet leaves (`sent` = 1: by TCP, and no fault drops it). What belongs to a call that has to wait
/// gets a later departure time. Answers 0, so that nothing depends on it.
///
/// A global function: the verifier looks at it once, and not once for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_pace_leaves(
    skb: *mut __sk_buff,
    state: *mut SocketState,
    offset: u32,
    bytes: u32,
    sent: u32,
) -> u32 {
    if bytes != 0 && sent != 0 {
        let held_ns = held_ns(skb, state, offset, bytes);
        if held_ns != 0 {
            depart_later(skb, held_ns);
        }
    }
    0
}

/// For how long the departure time holds payload of the agent's, ns.
#[inline(always)]
fn held_ns(skb: *mut __sk_buff, state: *mut SocketState, offset: u32, bytes: u32) -> u64 {
    // SAFETY: as in `socket::guard_socket_finish`.
    let (Some(state), Some(control)) = (unsafe { state.as_mut() }, maps::control()) else {
        return 0;
    };
    if state.flags & (SOCKET_PASSIVE | SOCKET_PROTECTED | SOCKET_UDP) != 0 {
        return 0;
    }
    // SAFETY: the context is the helper's argument.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    if maps::paced(cookie).is_none() {
        // Older than the limit: from the beginning of a call on it is known.
        if exchange::may_start(state.exchange_start_ns) {
            let pair = pack(state.bulkhead, state.service);
            guard_pace_follow(cookie, pair, state.exchange_start_ns);
        }
    }
    let Some(known) = maps::paced(cookie) else { return 0 };
    if current(&raw const known.queued) != current(&raw const known.left) {
        atomics::add(&raw mut known.left, 1);
    }
    let own = maps::limits_of(socket::pair(state));
    let engine = maps::limits(own).map_or(PACE_NOT, |slot| slot.pace_engine);
    let (now_ns, monitor) = (socket::now_ns(), control.mode == MODE_MONITOR);
    let holds = engine == PACE_EDT && !monitor && maps::lease_until_ns() > now_ns;
    let until_ns = current(&raw const known.until_ns);
    if holds && until_ns > now_ns {
        return until_ns - now_ns;
    }
    let first = first_bytes(skb, offset, bytes);
    if !begins(known, now_ns, first, bytes) || engine == PACE_NOT || !(holds || monitor) {
        // The gate has taken its part of the other engine.
        return 0;
    }
    let wait_ns = guard_pace_take(own, now_ns);
    if wait_ns != 0 {
        known.until_ns = now_ns + wait_ns;
    }
    wait_ns
}

/// What arrives ends what was awaited.
#[inline(always)]
pub(crate) fn answered(cookie: u64) {
    if is_on()
        && let Some(known) = maps::paced(cookie)
    {
        atomics::publish(&raw mut known.word, 0);
    }
}

/// Until when the newest call of a connection was held; 0 = none was.
#[inline(always)]
pub(crate) fn until_ns(cookie: u64) -> u64 {
    if !is_on() {
        return 0;
    }
    maps::paced(cookie).map_or(0, |known| current(&raw const known.until_ns))
}

/// Whether a call begins with this payload. Only one processor is told so.
#[inline(always)]
fn begins(known: &mut PacedSocket, now_ns: u64, first: FirstBytes, bytes: u32) -> bool {
    let word = current(&raw const known.word);
    if !exchange::may_start(word) || tls::is_alert(first, bytes) {
        return false;
    }
    let next = exchange::on_sent(word, now_ns, first);
    next != word
        && atomics::replace(&raw mut known.word, word, next)
        && next & EXCHANGE_HANDSHAKE == 0
}

/// Takes a place for one call from each bucket that it is about, and counts; how long it is held,
/// ns. The places are those of the moment in which it came, so that a call that waits for its own
/// bulkhead does not keep others from what they share.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_pace_take(own: u32, now_ns: u64) -> u64 {
    let (Some(slot), Some(control)) = (maps::limits(own), maps::control()) else { return 0 };
    let most_ns = slot.pace_max_wait_ns;
    let of_pair = guard_pace_bucket(own, now_ns, most_ns);
    let of_bulkhead = guard_pace_bucket(slot.whole, now_ns, most_ns);
    let of_service = guard_pace_bucket(slot.shared, now_ns, most_ns);
    let longest = |a: u64, b: u64| if a > b { a } else { b };
    let wait_ns = longest(of_pair, longest(of_bulkhead, of_service));
    if wait_ns == 0 {
        return 0;
    }
    if wait_ns == pacing::OVER {
        atomics::add(&raw mut slot.pace_over, 1);
        return 0;
    }
    if control.mode == MODE_MONITOR {
        atomics::add(&raw mut slot.pace_would, 1);
        return 0;
    }
    atomics::add(&raw mut slot.paced, 1);
    atomics::add(&raw mut slot.paced_ns, wait_ns);
    wait_ns
}

/// Another processor was faster.
const AGAIN: u64 = u64::MAX - 1;

/// Takes a place from one bucket: `logic::pacing`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_pace_bucket(place: u32, now_ns: u64, most_ns: u64) -> u64 {
    if maps::limits(place).is_none_or(|slot| slot.pace_interval_ns == 0) {
        return 0;
    }
    let mut wait_ns = 0;
    // A call that others keep from taking its place passes.
    let done = retried(|| {
        wait_ns = guard_pace_bucket_once(place, now_ns, most_ns);
        wait_ns != AGAIN
    });
    if done { wait_ns } else { 0 }
}

/// One try; what the call waits, or [`AGAIN`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_pace_bucket_once(place: u32, now_ns: u64, most_ns: u64) -> u64 {
    let Some(slot) = maps::limits(place) else { return 0 };
    let (interval_ns, burst_ns) = (slot.pace_interval_ns, slot.pace_burst_ns);
    let due_ns = current(&raw const slot.pace_due_ns);
    let step = pacing::step(due_ns, now_ns, interval_ns, burst_ns, most_ns);
    if step.wait_ns == pacing::OVER
        || atomics::replace(&raw mut slot.pace_due_ns, due_ns, step.due_ns)
    {
        step.wait_ns
    } else {
        AGAIN
    }
}

#[inline(always)]
fn first_bytes(skb: *const __sk_buff, offset: u32, bytes: u32) -> FirstBytes {
    if bytes < 2 {
        return [0; 2];
    }
    headers::bytes::<2>(skb, offset as usize).unwrap_or([0; 2])
}

#[inline(always)]
fn current(word: *const u64) -> u64 {
    // SAFETY: callers pass a field of a map value; volatile, because others change it.
    unsafe { core::ptr::read_volatile(word) }
}
