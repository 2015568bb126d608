//! sock_ops: results of TCP connects, accepted connections, retransmissions, ends.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_RETRANS_CB, BPF_SOCK_OPS_RETRANS_CB_FLAG, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
    BPF_TCP_CLOSE_WAIT, BPF_TCP_FIN_WAIT1, BPF_TCP_FIN_WAIT2, bpf_sock, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skc_to_tcp_sock,
};
use aya_ebpf::programs::SockOpsContext;
use guard_common::abi::event::EVENT_CONNECTED;
use guard_common::abi::ids::{BULKHEAD_NONE, PairKey, SERVICE_OTHER};
use guard_common::abi::socket::{
    SOCKET_ADOPTED, SOCKET_ESTABLISHED, SOCKET_FALLBACK, SOCKET_FAULTED, SOCKET_PASSIVE,
    SOCKET_REDIRECTED, SOCKET_RELEASED, SOCKET_SYN_SENT, SOCKET_UNACKNOWLEDGED, SocketState,
};
use guard_common::logic::unacknowledged;

use crate::classify::{self, Address};
use crate::{atomics, breaker, emit, fallback, hygiene, maps, nesting, pacing, socket};

const AF_INET: u32 = 2;
/// `srtt_us` holds eight times the smoothed round-trip time.
const SRTT_SHIFT: u32 = 3;

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is the helper's argument.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// One callback of the TCP stack; never changes anything but which callbacks come.
#[inline(always)]
pub(crate) fn sockops(ctx: &SockOpsContext) -> u32 {
    let op = ctx.op();
    if op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        guard_accepted(ctx.ops);
        return 1;
    }
    if !is_of_interest(ctx, op) {
        return 1;
    }
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return 1;
    }
    let Some(state) = socket::get(sk) else { return 1 };
    if maps::control().is_some_and(nesting::is_on) && nesting::is_anothers(state) {
        return 1;
    }
    match op {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            atomics::set_bits(&raw mut state.flags, SOCKET_SYN_SENT);
            watch(ctx);
            if state.flags & SOCKET_REDIRECTED != 0 {
                fallback::guard_asked(ctx.ops, 1);
            }
        }
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ctx, state),
        BPF_SOCK_OPS_STATE_CB => state_changed(ctx, sk, state),
        BPF_SOCK_OPS_RTT_CB => hygiene::round_trip(ctx, state),
        BPF_SOCK_OPS_RETRANS_CB => {
            if let Some(stats) = maps::pair_stats(socket::pair(state)) {
                atomics::add(&raw mut stats.retransmits, u64::from(ctx.arg(1)));
            }
            if state.flags & SOCKET_ADOPTED == 0 {
                let before = state.retransmitted;
                let now_ms = socket::now_ms();
                // Under the socket's lock, as all callbacks of one that stands.
                state.retransmitted =
                    unacknowledged::retransmitted(before, ctx.arg(0), oldest(ctx), now_ms);
            }
        }
        _ => {}
    }
    1
}

/// Whether a callback is acted upon. A connection's life makes about ten that are not.
#[inline(always)]
fn is_of_interest(ctx: &SockOpsContext, op: u32) -> bool {
    match op {
        BPF_SOCK_OPS_TCP_CONNECT_CB
        | BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB
        | BPF_SOCK_OPS_RTT_CB
        | BPF_SOCK_OPS_RETRANS_CB => true,
        BPF_SOCK_OPS_STATE_CB => match ctx.arg(1) {
            BPF_TCP_CLOSE_WAIT | BPF_TCP_CLOSE | BPF_TCP_FIN_WAIT1 => true,
            // Closed after its half: the state stays.
            BPF_TCP_FIN_WAIT2 => ctx.arg(0) == BPF_TCP_FIN_WAIT2,
            _ => false,
        },
        _ => false,
    }
}

/// Asks for state changes and retransmissions of this socket.
#[inline(always)]
fn watch(ctx: &SockOpsContext) {
    let flags = BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG;
    // Flags of other programs on the cgroup are kept.
    let wanted = ctx.cb_flags() | flags;
    if ctx.set_cb_flags(wanted as i32).is_err() {
        maps::hook_stats(|stats| &raw mut stats.storage_failures);
    }
}

#[inline(always)]
fn established(ctx: &SockOpsContext, state: &mut SocketState) {
    atomics::set_bits(&raw mut state.flags, SOCKET_ESTABLISHED);
    let Some(stats) = maps::pair_stats(socket::pair(state)) else { return };
    if !socket::count_open(state, stats) {
        return;
    }
    let now_ns = socket::now_ns();
    let took_ns = now_ns.saturating_sub(state.connect_start_ns);
    if state.flags & SOCKET_FALLBACK == 0 {
        atomics::add(&raw mut stats.connects_established, 1);
        atomics::add(&raw mut stats.connect_ns, took_ns);
    }
    if socket::verbose() {
        let mut event = socket::event(EVENT_CONNECTED, state, cookie(ctx));
        event.time_ns = now_ns;
        event.duration_ns = took_ns;
        emit::emit(&event);
    }
    breaker::connected(state, now_ns);
    hygiene::established(ctx, state);
    pacing::follow(state, cookie(ctx));
    // The exchange to come starts clean.
    if state.flags & SOCKET_FAULTED != 0 {
        atomics::clear_bits(&raw mut state.flags, SOCKET_FAULTED);
    }
}

/// An accepted connection: the agent is the server.
///
/// A global function, for the reasons that `packet::adopt::guard_adopt` gives.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_accepted(ops: *mut bpf_sock_ops) -> u32 {
    accepted(&SockOpsContext::new(ops));
    0
}

/// It is counted, never judged, never faulted.
#[inline(always)]
fn accepted(ctx: &SockOpsContext) {
    let bulkhead = maps::bulkhead();
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if bulkhead == BULKHEAD_NONE || sk.is_null() {
        return;
    }
    let mut fresh = socket::fresh(
        PairKey { bulkhead, service: SERVICE_OTHER },
        SOCKET_PASSIVE | SOCKET_ESTABLISHED | SOCKET_SYN_SENT,
        peer(ctx),
        u32::from_be(ctx.remote_port()) & 0xffff,
    );
    let Some(state) = socket::get_or_make(sk, &mut fresh) else { return };
    watch(ctx);
    if maps::control().is_some_and(|control| ctx.local_port() >= control.ephemeral_port_low) {
        maps::remember_accepted(cookie(ctx));
    }
    let Some(stats) = maps::pair_stats(socket::pair(state)) else { return };
    if socket::count_open(state, stats) {
        atomics::add(&raw mut stats.accepted, 1);
    }
}

#[inline(always)]
fn peer(ctx: &SockOpsContext) -> Address {
    // All loads first, volatile: behind a branch the compiler would merge two of them into one at a
    // computed address, which the verifier refuses.
    // SAFETY: fields of the context.
    let (ip4, words) = unsafe {
        let ops = ctx.ops;
        (
            (&raw const (*ops).remote_ip4).read_volatile(),
            [
                (&raw const (*ops).remote_ip6[0]).read_volatile(),
                (&raw const (*ops).remote_ip6[1]).read_volatile(),
                (&raw const (*ops).remote_ip6[2]).read_volatile(),
                (&raw const (*ops).remote_ip6[3]).read_volatile(),
            ],
        )
    };
    if ctx.family() == AF_INET { classify::mapped(ip4) } else { classify::from_words(words) }
}

/// Address of this end.
#[inline(always)]
pub(crate) fn local(ctx: &SockOpsContext) -> Address {
    // SAFETY: as in `peer`.
    let (ip4, words) = unsafe {
        let ops = ctx.ops;
        (
            (&raw const (*ops).local_ip4).read_volatile(),
            [
                (&raw const (*ops).local_ip6[0]).read_volatile(),
                (&raw const (*ops).local_ip6[1]).read_volatile(),
                (&raw const (*ops).local_ip6[2]).read_volatile(),
                (&raw const (*ops).local_ip6[3]).read_volatile(),
            ],
        )
    };
    if ctx.family() == AF_INET { classify::mapped(ip4) } else { classify::from_words(words) }
}

#[inline(always)]
fn state_changed(ctx: &SockOpsContext, sk: *mut bpf_sock, state: &mut SocketState) {
    let new = ctx.arg(1);
    if new == BPF_TCP_CLOSE_WAIT {
        socket::peer_closed(state);
        return;
    }
    if new != BPF_TCP_CLOSE {
        // The agent closes it, and its end is still to be counted.
        if state.flags & SOCKET_RELEASED != 0 && state.closed == 0 {
            look_at_unacknowledged(ctx, state);
            socket::finish(sk, state, 0, cookie(ctx));
        }
        return;
    }
    if state.flags & SOCKET_REDIRECTED != 0 {
        fallback::guard_asked(ctx.ops, 0);
    }
    look_at_unacknowledged(ctx, state);
    // SAFETY: fields of the context.
    let srtt_us = unsafe { (*ctx.ops).srtt_us } >> SRTT_SHIFT;
    if srtt_us != 0
        && state.flags & SOCKET_ESTABLISHED != 0
        && let Some(stats) = maps::pair_stats(socket::pair(state))
    {
        atomics::add(&raw mut stats.rtt_samples, 1);
        atomics::add(&raw mut stats.rtt_us, u64::from(srtt_us));
    }
    socket::finish(sk, state, pending_error(ctx), cookie(ctx));
}

/// The first byte that is not acknowledged, by its sequence number.
#[inline(always)]
fn oldest(ctx: &SockOpsContext) -> u32 {
    // SAFETY: a field of the context.
    unsafe { (*ctx.ops).snd_una }
}

/// Remembers whether what the socket sent was proven to reach nobody.
#[inline(always)]
fn look_at_unacknowledged(ctx: &SockOpsContext, state: &mut SocketState) {
    if state.flags & SOCKET_ADOPTED == 0
        && unacknowledged::is_proof(state.retransmitted, oldest(ctx), socket::now_ms())
    {
        atomics::set_bits(&raw mut state.flags, SOCKET_UNACKNOWLEDGED);
    }
}

/// The socket's pending errno; 0 if none or unknown.
#[inline(always)]
fn pending_error(ctx: &SockOpsContext) -> i32 {
    let offset = maps::sk_err_offset();
    if offset == 0 {
        return 0;
    }
    let mut error = 0_i32;
    // SAFETY: the helper checks the socket, and the read copies four bytes of kernel memory at an
    // offset that the daemon took from the running kernel's BTF; a fault there is an error code.
    unsafe {
        let sk = (*ctx.ops).__bindgen_anon_2.sk;
        if sk.is_null() {
            return 0;
        }
        let tcp = bpf_skc_to_tcp_sock(sk.cast());
        if tcp.is_null() {
            return 0;
        }
        let at = tcp.cast::<u8>().wrapping_add(offset as usize);
        if bpf_probe_read_kernel((&raw mut error).cast(), 4, at.cast()) != 0 {
            return 0;
        }
    }
    error
}
