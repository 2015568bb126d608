//! What a packet that leaves says of its call: where it begins, and the agent's part of a TLS
//! handshake.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::policy::Control;
use guard_common::abi::socket::{
    SOCKET_FAULTED, SOCKET_PASSIVE, SOCKET_TLS, SOCKET_TLS_READY, SocketState,
};
use guard_common::abi::stats::PairStats;
use guard_common::logic::exchange;
use guard_common::logic::tls::{self, FirstBytes};

use crate::faults::PacketVerdict;
use crate::headers::{self, Headers};
use crate::{atomics, maps, pacing, socket};

/// A departure time older than this is no measure of when the packet was made.
const MAX_HOLD_NS: u64 = 60_000_000_000;

/// A packet leaves, or is dropped by a fault.
#[inline(always)]
pub(super) fn on_sent(
    ctx: &SkBuffContext,
    state: &mut SocketState,
    stats: &mut PairStats,
    headers: &Headers,
    verdict: PacketVerdict,
) {
    let payload = u64::from(headers.payload_bytes);
    if payload == 0 {
        return;
    }
    if verdict != PacketVerdict::Dropped {
        atomics::add(&raw mut stats.sent_bytes, payload);
        atomics::add(&raw mut state.sent_bytes, payload);
    }
    if state.flags & SOCKET_PASSIVE == 0 && exchange::may_start(state.exchange_start_ns) {
        let touched = matches!(verdict, PacketVerdict::Delayed | PacketVerdict::Dropped);
        let (offset, bytes) = (headers.payload_offset, headers.payload_bytes);
        guard_exchange_begins(ctx.skb.skb, state, offset, bytes, u32::from(touched));
    }
}

/// Payload leaves while nothing is awaited, or a TLS handshake; `touched` = 1 if by a fault.
///
/// A global function: the verifier looks at it once, and not once for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_exchange_begins(
    skb: *mut __sk_buff,
    state: *mut SocketState,
    offset: u32,
    bytes: u32,
    touched: u32,
) -> u32 {
    // SAFETY: as in `socket::guard_socket_finish`.
    let (Some(state), Some(control)) = (unsafe { state.as_mut() }, maps::control()) else {
        return 0;
    };
    let first = first_bytes(skb, offset, bytes);
    if state.flags & (SOCKET_TLS | SOCKET_TLS_READY) == SOCKET_TLS && state.received_bytes != 0 {
        shakes_hands(skb, state, offset, bytes, first);
    }
    if tls::is_alert(first, bytes) {
        return 0;
    }
    let word = state.exchange_start_ns;
    // A call begins when it leaves: what guard itself has held it for is none of the service's.
    // SAFETY: the context is the helper's argument.
    let held_until_ns = pacing::until_ns(unsafe { bpf_get_socket_cookie(skb.cast()) });
    let left_ns = departed_ns(control, skb);
    let began_ns = if held_until_ns > left_ns { held_until_ns } else { left_ns };
    let next = exchange::on_sent(word, began_ns, first);
    if next == word || !atomics::replace(&raw mut state.exchange_start_ns, word, next) {
        return 0;
    }
    if tls::is_handshake(first) {
        atomics::set_bits(&raw mut state.flags, SOCKET_TLS);
    }
    if word == 0 && touched == 0 && state.flags & SOCKET_FAULTED != 0 {
        atomics::clear_bits(&raw mut state.flags, SOCKET_FAULTED);
    }
    1
}

/// In the TLS handshake, the server has had its say and the agent sends something: its own last part,
/// or an alert instead, because it does not trust the server.
#[inline(always)]
fn shakes_hands(
    skb: *mut __sk_buff,
    state: &mut SocketState,
    offset: u32,
    bytes: u32,
    first: FirstBytes,
) {
    if tls::is_change_cipher_spec(first, bytes) {
        return;
    }
    let alert = tls::is_alert(first, bytes);
    if alert && tls::is_clear(first, bytes) {
        match headers::bytes::<{ tls::ALERT_BYTES }>(skb, offset as usize) {
            Some(alert) if tls::is_fatal(alert) => {}
            _ => return,
        }
    }
    atomics::set_bits(&raw mut state.flags, SOCKET_TLS_READY);
    if alert {
        // SAFETY: the context is the helper's argument.
        let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
        socket::guard_handshake_failed(state, cookie);
    }
}

/// When the agent sent this packet. While a delay may be active the packet can have been held in a
/// queue before this hook; TCP noted on it when it was made (CLOCK_MONOTONIC).
#[inline(always)]
fn departed_ns(control: &Control, skb: *mut __sk_buff) -> u64 {
    let now_ns = socket::now_ns();
    if control.faults_active == 0 {
        return now_ns;
    }
    // SAFETY: a field of the context; the clock helper has no arguments.
    let (made_ns, monotonic_ns) = unsafe { ((*skb).tstamp, bpf_ktime_get_ns()) };
    let held_ns = monotonic_ns.wrapping_sub(made_ns);
    if made_ns == 0 || held_ns > MAX_HOLD_NS { now_ns } else { now_ns.wrapping_sub(held_ns) }
}

#[inline(always)]
fn first_bytes(skb: *mut __sk_buff, offset: u32, bytes: u32) -> FirstBytes {
    if bytes < 2 {
        return [0; 2];
    }
    headers::bytes::<2>(skb, offset as usize).unwrap_or_else(|| {
        maps::hook_stats(|stats| &raw mut stats.odd_packets);
        [0; 2]
    })
}
