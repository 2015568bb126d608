//! cgroup_skb: bytes, exchanges, loss and departure times, for each packet of a bulkhead.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock};
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::fault::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, PACKET_CONNECT, PACKET_PAYLOAD, PACKET_TCP, Subject,
};
use guard_common::abi::policy::{Control, FLAG_HOLDS, FLAG_PACING};
use guard_common::abi::socket::{
    SOCKET_FALLBACK, SOCKET_FAULTED, SOCKET_HELD, SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_UDP,
    SocketState,
};
use guard_common::abi::stats::PairStats;
use guard_common::logic::fault;

use crate::faults::PacketVerdict;
use crate::headers::{self, Headers, TCP_FIN, TCP_RST, TCP_SYN, TCP_SYN_ACK};
use crate::{atomics, breaker, classify, faults, maps, nesting, pacing, socket};

mod adopt;
mod received;
mod reset;
mod sent;

const PASS: i32 = 1;
/// Dropped as a full queue would: UDP senders see nothing, TCP slows down and sends again.
const EGRESS_DROP: i32 = 2;
const INGRESS_DROP: i32 = 0;

#[inline(always)]
fn cookie(ctx: &SkBuffContext) -> u64 {
    // SAFETY: the context is the helper's argument.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// A packet that an agent sends.
#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    match packet(ctx, true) {
        PacketVerdict::Dropped => EGRESS_DROP,
        _ => PASS,
    }
}

/// A packet that an agent receives.
#[inline(always)]
pub(crate) fn ingress(ctx: &SkBuffContext) -> i32 {
    match packet(ctx, false) {
        PacketVerdict::Dropped => INGRESS_DROP,
        _ => PASS,
    }
}

#[inline(always)]
fn packet(ctx: &SkBuffContext, sent: bool) -> PacketVerdict {
    let skb = ctx.skb.skb;
    let Some(control) = maps::control() else { return PacketVerdict::Untouched };
    let Some(headers) = headers::parse(skb) else {
        maps::hook_stats(|stats| &raw mut stats.odd_packets);
        return PacketVerdict::Untouched;
    };
    let knocks =
        sent && control.flags & FLAG_HOLDS != 0 && headers.tcp_flags & TCP_SYN_ACK == TCP_SYN;
    if control.faults_active == 0 && !knocks && says_nothing(&headers, sent) {
        return PacketVerdict::Untouched;
    }
    // SAFETY: the context's socket, made a full one by the helper; both are checked for null.
    let sk = unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() { sk } else { bpf_sk_fullsock(sk) }
    };
    if sk.is_null() {
        maps::hook_stats(|stats| &raw mut stats.sockless_packets);
        return PacketVerdict::Untouched;
    }
    let Some(state) = socket::get(sk).or_else(|| {
        adopt::guard_adopt(skb, u32::from(sent));
        socket::get(sk)
    }) else {
        return PacketVerdict::Untouched;
    };
    if nesting::is_on(control) && nesting::is_packet_anothers(skb, state) {
        return PacketVerdict::Untouched;
    }
    if knocks && state.flags & SOCKET_HELD != 0 && !breaker::release_held(state) {
        return PacketVerdict::Dropped;
    }
    if state.flags & SOCKET_UDP != 0 {
        adopt::follow_peer(state, skb, &headers, sent);
    }
    let Some(stats) = maps::pair_stats(socket::pair(state)) else {
        return PacketVerdict::Untouched;
    };
    if sent && control.faults_active != 0 && headers.payload_bytes != 0 {
        maps::forget_queued(cookie(ctx));
    }
    let verdict = disturb(ctx, control, state, stats, &headers, sent);
    if sent && control.flags & FLAG_PACING != 0 {
        let tcp = u32::from(headers.tcp_flags != 0 && verdict != PacketVerdict::Dropped);
        let (offset, bytes) = (headers.payload_offset, headers.payload_bytes);
        pacing::guard_pace_leaves(skb, state, offset, bytes, tcp);
    }
    if sent {
        sent::on_sent(ctx, state, stats, &headers, verdict);
    } else if verdict != PacketVerdict::Dropped {
        received::on_received(ctx, sk, state, stats, &headers);
    }
    verdict
}

/// Whether a packet tells nothing that is remembered or counted: handshake, acknowledgement, our
/// own end. They are most of a short connection's packets, and half of those of a download.
#[inline(always)]
fn says_nothing(headers: &Headers, sent: bool) -> bool {
    // Only TCP has flags, and every segment of a connection has one.
    let tcp = headers.tcp_flags != 0;
    tcp && headers.payload_bytes == 0 && (sent || headers.tcp_flags & (TCP_FIN | TCP_RST) == 0)
}

/// Applies the faults of the socket's bulkhead and service.
#[inline(always)]
fn disturb(
    ctx: &SkBuffContext,
    control: &Control,
    state: &mut SocketState,
    stats: &mut PairStats,
    headers: &Headers,
    sent: bool,
) -> PacketVerdict {
    // Faults of the service are none of its fallback's.
    if control.faults_active == 0 || state.flags & (SOCKET_PASSIVE | SOCKET_FALLBACK) != 0 {
        return PacketVerdict::Untouched;
    }
    let skb = ctx.skb.skb;
    let subject = subject(ctx, state, headers, sent);
    let mut verdict = faults::packet(
        socket::pair(state),
        if sent { DIRECTION_EGRESS } else { DIRECTION_INGRESS },
        state.flags & SOCKET_PROTECTED != 0,
        socket::now_ns(),
        &subject,
        |delay_ns| depart_later(skb, delay_ns),
    );
    if let PacketVerdict::Reset(slot) = verdict {
        reset::guard_order_reset(skb, slot);
        verdict = PacketVerdict::Dropped;
    }
    match verdict {
        PacketVerdict::Untouched | PacketVerdict::Reset(_) => {}
        PacketVerdict::WouldHave => atomics::add(&raw mut stats.would_have, 1),
        PacketVerdict::Delayed | PacketVerdict::Dropped => {
            atomics::add(&raw mut stats.faulted, 1);
            atomics::set_bits(&raw mut state.flags, SOCKET_FAULTED);
        }
    }
    verdict
}

/// What the packet is to fault rules.
#[inline(always)]
fn subject(ctx: &SkBuffContext, state: &SocketState, headers: &Headers, sent: bool) -> Subject {
    let payload = u32::from(headers.payload_bytes != 0);
    let tcp = u32::from(headers.tcp_flags != 0);
    let knocks = u32::from(sent && headers.tcp_flags & TCP_SYN_ACK == TCP_SYN);
    // A request, and what comes before the first byte of its answer, are of the call that is not
    // counted yet; the rest of the answer is of the one before.
    let of_next = u32::from(state.exchange_start_ns != 0) | (u32::from(sent) & payload);
    let datagram = state.flags & SOCKET_UDP != 0 && state.connect_start_ns == 0;
    let [high, low] = classify::halves(state.peer);
    Subject {
        connection: cookie(ctx),
        destination: fault::destination(high, low, state.peer_port),
        opened_ns: if datagram { u64::MAX } else { state.connect_start_ns },
        call: state.exchanges.wrapping_add(of_next),
        port: state.peer_port,
        packet: (knocks * PACKET_CONNECT) | (payload * PACKET_PAYLOAD) | (tcp * PACKET_TCP),
        // SAFETY: a field of the context.
        bytes: unsafe { (*ctx.skb.skb).len },
    }
}

/// Sets the earliest departure time, never earlier than one that is set already.
#[inline(always)]
pub(crate) fn depart_later(skb: *mut __sk_buff, delay_ns: u64) {
    // SAFETY: a writable field of an egress context; the clock helper has no arguments.
    unsafe {
        let now_ns = bpf_ktime_get_ns();
        let set = (*skb).tstamp;
        let base = if set > now_ns { set } else { now_ns };
        (*skb).tstamp = base + delay_ns;
    }
}
