//! Redirects: a connect goes to the service's fallback, or to guardd's gateway, instead of the service.
//!
//! Data: the plan's places (`FALLBACKS`) and what the breaker says → which way a connect goes → the
//! address in the connect is written over → the socket's storage keeps what the agent asked for, which
//! getpeername() shows. What a fallback answers is none of the service's: it opens and closes no
//! breaker, and no fault is for it.
//!
//! Only TCP connects are redirected, never one to a protected destination, and none in monitor mode.
//! Places where guardd itself answers are used only while its lease lasts.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr, bpf_sock_ops};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::programs::{SockAddrContext, SockOpsContext};
use guard_common::abi::breaker::STATE_OPEN;
use guard_common::abi::fallback::{
    AskedFor, AskedKey, FALLBACK_FORCED, FALLBACK_LOCAL, FALLBACK_ON, FALLBACK_SERVED,
    FALLBACK_STALE, FallbackTarget,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::{Control, FLAG_FALLBACKS, MODE_MONITOR};
use guard_common::abi::socket::{SOCKET_FALLBACK, SOCKET_REDIRECTED};
use guard_common::logic::breaker::word;

use crate::breaker::{pack, unpack};
use crate::classify::{self, Address};
use crate::connect::Family;
use crate::{atomics, maps, socket, sockops};

/// Which way a connect goes, in the bits that `connect` remembers it by. Straight to the service: 0.
pub(crate) const REDIRECTED: u64 = 8;
/// Something else answers instead of the service.
pub(crate) const NOT_THE_SERVICE: u64 = 16;
const TO_GATEWAY: u64 = 32;
/// To the fallback, which answers instead of the service.
const TO_FALLBACK: u64 = REDIRECTED | NOT_THE_SERVICE;

/// What there is besides the straight way: nothing, a fallback, a gateway, whether the fallback is
/// to be used in any case, and whether the gateway takes refused calls too.
pub(crate) const NONE: u32 = 0;
const FALLBACK: u32 = 1;
const GATEWAY: u32 = 2;
pub(crate) const FORCED: u32 = 4;
const GATEWAY_OF_REFUSED: u32 = 8;

/// What kind of address can be put in the place of the one asked for.
const KIND_V4: u32 = 0;
const KIND_MAPPED: u32 = 1;
const KIND_V6: u32 = 2;

/// Of this connect.
#[inline(always)]
pub(crate) fn kind(family: Family, asked: Address) -> u32 {
    match family {
        Family::V4 => KIND_V4,
        Family::V6 if classify::is_mapped(asked) => KIND_MAPPED,
        Family::V6 => KIND_V6,
    }
}

/// Ways that a TCP connect to a service may go besides the straight one.
#[inline(always)]
pub(crate) fn ways(ctx: &SockAddrContext, control: &Control, service: u32, kind: u32) -> u32 {
    if control.flags & FLAG_FALLBACKS == 0 || control.mode == MODE_MONITOR {
        return NONE;
    }
    guard_fallback_ways(ctx.sock_addr, service, kind)
}

/// What [`ways`] says of a service that may have some.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_fallback_ways(ctx: *mut bpf_sock_addr, service: u32, kind: u32) -> u32 {
    let Some(policy) = maps::fallback(service) else { return NONE };
    let here = is_here(ctx);
    let mut found = NONE;
    if is_usable(&policy.refused, kind, here) {
        found |= FALLBACK;
        if policy.refused.flags & FALLBACK_FORCED != 0 {
            found |= FORCED;
        }
    }
    if is_usable(&policy.always, kind, here) {
        found |= GATEWAY;
        if policy.always.flags & FALLBACK_STALE != 0 {
            found |= GATEWAY_OF_REFUSED;
        }
    }
    found
}

/// Whether the socket is in guardd's own network namespace, so that loopback is the same for both.
#[inline(always)]
fn is_here(ctx: *mut bpf_sock_addr) -> bool {
    let netns = maps::serving_netns();
    // SAFETY: the context is the helper's argument.
    netns == 0 || netns == unsafe { bpf_get_netns_cookie(ctx.cast()) }
}

/// Which of the ways a call takes; `refused`: the breaker does not let it through to the service.
#[inline(always)]
pub(crate) fn choose(ways: u32, refused: bool) -> u64 {
    if ways & FORCED != 0 || refused && ways & FALLBACK != 0 {
        TO_FALLBACK
    } else if refused && ways & GATEWAY_OF_REFUSED != 0 {
        // It must not ask a service that the breaker keeps calls from.
        REDIRECTED | TO_GATEWAY | NOT_THE_SERVICE
    } else if !refused && ways & GATEWAY != 0 {
        REDIRECTED | TO_GATEWAY
    } else {
        0
    }
}

/// 1 if the breaker at this place plus one is OPEN and the service has a fallback: calls do not reach
/// the service, so that none of them is a retry. A probe that is due now is taken for one of them.
#[inline(always)]
pub(crate) fn stands_in(service: u32, place: u32) -> u32 {
    if maps::control().is_none_or(|control| control.flags & FLAG_FALLBACKS == 0) {
        return 0;
    }
    guard_fallback_stands_in(service, place)
}

/// [`stands_in`] of a service that may have one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_fallback_stands_in(service: u32, place: u32) -> u32 {
    let Some((slot, _)) = maps::breaker(place) else { return 0 };
    let Some(policy) = maps::fallback(service) else { return 0 };
    // SAFETY: a map value; volatile, because other CPUs and the daemon change it.
    let word = unsafe { core::ptr::read_volatile(&raw const slot.word) };
    let open = word::state(word) == STATE_OPEN;
    u32::from(open) & u32::from(policy.refused.flags & FALLBACK_ON != 0)
}

#[inline(always)]
fn is_usable(target: &FallbackTarget, kind: u32, here: bool) -> bool {
    if target.flags & FALLBACK_ON == 0 || port(target, kind) == 0 {
        return false;
    }
    if kind == KIND_V4 && !classify::is_mapped(target.v4) {
        return false;
    }
    if !here && target.flags & FALLBACK_LOCAL != 0 {
        return false;
    }
    target.flags & FALLBACK_SERVED == 0 || maps::serving_until_ns() > socket::now_ns()
}

#[inline(always)]
fn port(target: &FallbackTarget, kind: u32) -> u32 {
    if kind == KIND_V6 { target.v6_port } else { target.v4_port }
}

/// Writes the place over the address of a connect whose storage says that it is redirected. If the
/// place is gone since it was chosen, the connect goes straight on, as one that nobody judges.
#[inline(always)]
pub(crate) fn redirect(ctx: &SockAddrContext, family: Family, pair: PairKey, way: u64) {
    let pair = pack(pair.bulkhead, pair.service);
    match family {
        Family::V4 => guard_redirect4(ctx.sock_addr, pair, way),
        Family::V6 => guard_redirect6(ctx.sock_addr, pair, way),
    };
}

/// [`redirect`] of an IPv4 socket. Global functions, one for each family: the verifier wants a context
/// that nobody has computed with, and lets each kind of program see the fields of its family alone.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_redirect4(ctx: *mut bpf_sock_addr, pair: u64, way: u64) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    let Some((target, _)) = target(sk, pair, way) else { return 0 };
    let port_be = u32::from((target.v4_port as u16).to_be());
    // SAFETY: fields of the context that connect hooks may write, one by one as the verifier wants.
    unsafe {
        (&raw mut (*ctx).user_ip4).write_volatile(classify::words(target.v4)[3]);
        (&raw mut (*ctx).user_port).write_volatile(port_be);
    }
    1
}

/// [`redirect`] of an IPv6 socket.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_redirect6(ctx: *mut bpf_sock_addr, pair: u64, way: u64) -> u32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    let Some((target, asked)) = target(sk, pair, way) else { return 0 };
    let kind = kind(Family::V6, asked);
    let port_be = u32::from((port(target, kind) as u16).to_be());
    let words = classify::words(if kind == KIND_V6 { target.v6 } else { target.v4 });
    // SAFETY: as in `guard_redirect4`.
    unsafe {
        (&raw mut (*ctx).user_ip6[0]).write_volatile(words[0]);
        (&raw mut (*ctx).user_ip6[1]).write_volatile(words[1]);
        (&raw mut (*ctx).user_ip6[2]).write_volatile(words[2]);
        (&raw mut (*ctx).user_ip6[3]).write_volatile(words[3]);
        (&raw mut (*ctx).user_port).write_volatile(port_be);
    }
    1
}

/// Where the connect of a socket goes, and what it has asked for; counts it.
#[inline(always)]
fn target(sk: *mut bpf_sock, pair: u64, way: u64) -> Option<(&'static FallbackTarget, Address)> {
    if sk.is_null() {
        return None;
    }
    let state = socket::get(sk)?;
    let pair = unpack(pair);
    let Some(policy) = maps::fallback(pair.service) else {
        atomics::clear_bits(&raw mut state.flags, SOCKET_REDIRECTED);
        return None;
    };
    if way & NOT_THE_SERVICE != 0
        && let Some(stats) = maps::pair_stats(pair)
    {
        atomics::add(&raw mut stats.redirected, 1);
    }
    let target = if way & TO_GATEWAY == 0 { &policy.refused } else { &policy.always };
    Some((target, state.peer))
}

/// getpeername(): shows the address that the agent asked for; always allowed.
#[inline(always)]
pub(crate) fn peer_name(ctx: &SockAddrContext, family: Family) -> i32 {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if sk.is_null() {
        return 1;
    }
    let Some(state) = socket::get(sk) else { return 1 };
    if state.flags & SOCKET_REDIRECTED == 0 {
        return 1;
    }
    let words = classify::words(state.peer);
    let port_be = u32::from((state.peer_port as u16).to_be());
    // SAFETY: as in `redirect`.
    unsafe {
        match family {
            Family::V4 => (&raw mut (*ctx.sock_addr).user_ip4).write_volatile(words[3]),
            Family::V6 => {
                (&raw mut (*ctx.sock_addr).user_ip6[0]).write_volatile(words[0]);
                (&raw mut (*ctx.sock_addr).user_ip6[1]).write_volatile(words[1]);
                (&raw mut (*ctx.sock_addr).user_ip6[2]).write_volatile(words[2]);
                (&raw mut (*ctx.sock_addr).user_ip6[3]).write_volatile(words[3]);
            }
        }
        (&raw mut (*ctx.sock_addr).user_port).write_volatile(port_be);
    }
    1
}

/// A redirected socket sends its SYN (`begins` = 1), or has ended: whoever serves it may ask what the
/// agent asked for, in between.
///
/// A global function, for the reasons that `packet::adopt::guard_adopt` gives.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_asked(ops: *mut bpf_sock_ops, begins: u32) -> u32 {
    let ctx = SockOpsContext::new(ops);
    // SAFETY: a field of the context.
    let sk = unsafe { (*ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return 0;
    }
    let Some(state) = socket::get(sk) else { return 0 };
    let key = AskedKey { address: sockops::local(&ctx), port: ctx.local_port() };
    if begins == 0 {
        maps::forget_asked(&key);
        return 0;
    }
    let asked = AskedFor {
        address: state.peer,
        port: state.peer_port,
        bulkhead: state.bulkhead,
        service: state.service,
        refused: u32::from(state.flags & SOCKET_FALLBACK != 0),
    };
    maps::remember_asked(&key, &asked);
    0
}
