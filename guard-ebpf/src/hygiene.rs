//! Socket options on an agent's own connections, so that the kernel finds out when their peer is
//! gone: keepalive and TCP_USER_TIMEOUT (`logic::hygiene`). Set at connect(), and once more at the
//! first round trip, because some clients (Node) set their own only when the connection stands.
//! Never on listeners, accepted sockets, or connections to protected destinations. A socket whose
//! options cannot be set (MPTCP) stays as it is.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_SOCK_OPS_RTT_CB_FLAG, bpf_sock_addr, bpf_sock_ops};
use aya_ebpf::helpers::generated::{bpf_getsockopt, bpf_setsockopt};
use aya_ebpf::programs::SockOpsContext;
use guard_common::abi::hygiene::HygienePolicy;
use guard_common::abi::socket::{SOCKET_HYGIENE_DUE, SOCKET_PROTECTED, SocketState};
use guard_common::logic::hygiene::{self, Found};

use crate::{atomics, maps};

const SOL_SOCKET: i32 = 1;
const SO_KEEPALIVE: i32 = 9;
const IPPROTO_TCP: i32 = 6;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;
const TCP_USER_TIMEOUT: i32 = 18;

/// What a program's context is to the helpers.
type Context = *mut core::ffi::c_void;

/// The options for a connection of this service, about to be made.
///
/// A global function, for the reasons that `packet::adopt::guard_adopt` gives.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_hygiene_at_connect(ctx: *mut bpf_sock_addr, service: u32) -> u32 {
    // SAFETY: a field of the context.
    if unsafe { (*ctx).protocol } == IPPROTO_TCP as u32
        && let Some(policy) = maps::hygiene(service)
    {
        apply(ctx.cast(), policy);
    }
    0
}

/// Asks for one look at the first round trip of a connection that now stands.
#[inline(always)]
pub(crate) fn established(ctx: &SockOpsContext, state: &mut SocketState) {
    if state.flags & SOCKET_PROTECTED != 0 || maps::hygiene(state.service).is_none() {
        return;
    }
    let flags = ctx.cb_flags();
    // Another program on the cgroup that wants these callbacks keeps them, and we look at its first.
    if flags & BPF_SOCK_OPS_RTT_CB_FLAG == 0
        && ctx.set_cb_flags((flags | BPF_SOCK_OPS_RTT_CB_FLAG) as i32).is_ok()
    {
        atomics::set_bits(&raw mut state.flags, SOCKET_HYGIENE_DUE);
    }
}

/// The first round trip.
#[inline(always)]
pub(crate) fn round_trip(ctx: &SockOpsContext, state: &mut SocketState) {
    if state.flags & SOCKET_HYGIENE_DUE == 0 {
        return;
    }
    atomics::clear_bits(&raw mut state.flags, SOCKET_HYGIENE_DUE);
    // Fails only for callbacks that the kernel does not know.
    let _ = ctx.set_cb_flags((ctx.cb_flags() & !BPF_SOCK_OPS_RTT_CB_FLAG) as i32);
    guard_hygiene_again(ctx.ops, state.service);
}

/// The options for a connection that stands.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_hygiene_again(ops: *mut bpf_sock_ops, service: u32) -> u32 {
    if let Some(policy) = maps::hygiene(service) {
        apply(SockOpsContext::new(ops).as_ptr(), policy);
    }
    0
}

#[inline(always)]
fn apply(ctx: Context, policy: &HygienePolicy) {
    let found = Found {
        keepalive: get(ctx, SOL_SOCKET, SO_KEEPALIVE),
        idle_s: get(ctx, IPPROTO_TCP, TCP_KEEPIDLE),
        interval_s: get(ctx, IPPROTO_TCP, TCP_KEEPINTVL),
        probes: get(ctx, IPPROTO_TCP, TCP_KEEPCNT),
        user_timeout_ms: get(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT),
    };
    let change = hygiene::change(&found, policy);
    if change.keepalive != 0 {
        set(ctx, IPPROTO_TCP, TCP_KEEPIDLE, policy.keepalive_idle_s);
        set(ctx, IPPROTO_TCP, TCP_KEEPINTVL, policy.keepalive_interval_s);
        set(ctx, IPPROTO_TCP, TCP_KEEPCNT, policy.keepalive_probes);
        set(ctx, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    if change.user_timeout_ms != 0 {
        set(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, change.user_timeout_ms);
    }
}

/// An option's value; 0 where it cannot be read (before Linux 6.1).
#[inline(always)]
fn get(ctx: Context, level: i32, option: i32) -> u32 {
    let mut value = 0_u32;
    // SAFETY: the context is the helper's argument; the value is four bytes of the stack.
    let failed = unsafe { bpf_getsockopt(ctx, level, option, (&raw mut value).cast(), 4) };
    if failed == 0 { value } else { 0 }
}

#[inline(always)]
fn set(ctx: Context, level: i32, option: i32, mut value: u32) {
    // SAFETY: as in `get`. A refusal leaves the socket as the agent made it.
    unsafe {
        bpf_setsockopt(ctx, level, option, (&raw mut value).cast(), 4);
    }
}
