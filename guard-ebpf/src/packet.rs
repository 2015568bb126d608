//! cgroup_skb: bytes, exchanges, loss and departure times, for each packet of a bulkhead.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock, bpf_tcp_sock,
};
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::event::{EVENT_CALL, EVENT_CALL_FAILED};
use guard_common::abi::fault::{DIRECTION_EGRESS, DIRECTION_INGRESS};
use guard_common::abi::ids::{BULKHEAD_NONE, PairKey, SERVICE_OTHER};
use guard_common::abi::policy::{Control, FLAG_HOLDS};
use guard_common::abi::socket::{
    SOCKET_ADOPTED, SOCKET_ESTABLISHED, SOCKET_FAULTED, SOCKET_HELD, SOCKET_PASSIVE,
    SOCKET_PROTECTED, SOCKET_RELEASED, SOCKET_RST_SEEN, SOCKET_SYN_SENT, SOCKET_TLS, SOCKET_UDP,
    SocketState,
};
use guard_common::abi::stats::PairStats;
use guard_common::logic::breaker::Result;
use guard_common::logic::{exchange, histogram, http as logic_http};

use crate::faults::PacketVerdict;
use crate::headers::{self, Headers, TCP_FIN, TCP_RST, TCP_SYN, TCP_SYN_ACK};
use crate::{atomics, breaker, classify, emit, faults, http, maps, socket};

const PASS: i32 = 1;
/// Dropped as a full queue would: UDP senders see nothing, TCP slows down and sends again.
const EGRESS_DROP: i32 = 2;
const INGRESS_DROP: i32 = 0;
const IPPROTO_UDP: u32 = 17;
const TCP_LISTEN: u32 = 10;
/// A departure time older than this is no measure of when the packet was made.
const MAX_HOLD_NS: u64 = 60_000_000_000;
const SRTT_SHIFT: u32 = 3;

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
    let state = match socket::get(sk) {
        Some(state) => state,
        None => match adopt(control, skb, sk, &headers, sent) {
            Some(state) => state,
            None => return PacketVerdict::Untouched,
        },
    };
    if knocks && state.flags & SOCKET_HELD != 0 && !breaker::release_held(state) {
        return PacketVerdict::Dropped;
    }
    if state.flags & SOCKET_UDP != 0 {
        follow_peer(state, skb, &headers, sent);
    }
    let Some(stats) = maps::pair_stats(socket::pair(state)) else {
        return PacketVerdict::Untouched;
    };
    let verdict = disturb(control, state, stats, skb, sent);
    if sent {
        on_sent(control, ctx, state, stats, &headers, verdict);
    } else if verdict != PacketVerdict::Dropped {
        on_received(ctx, sk, state, stats, &headers);
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
    control: &Control,
    state: &mut SocketState,
    stats: &mut PairStats,
    skb: *mut __sk_buff,
    sent: bool,
) -> PacketVerdict {
    if control.faults_active == 0 || state.flags & SOCKET_PASSIVE != 0 {
        return PacketVerdict::Untouched;
    }
    let verdict = faults::packet(
        socket::pair(state),
        if sent { DIRECTION_EGRESS } else { DIRECTION_INGRESS },
        state.flags & SOCKET_PROTECTED != 0,
        socket::now_ns(),
        |delay_ns| depart_later(skb, delay_ns),
    );
    match verdict {
        PacketVerdict::Untouched => {}
        PacketVerdict::WouldHave => atomics::add(&raw mut stats.would_have, 1),
        PacketVerdict::Delayed | PacketVerdict::Dropped => {
            atomics::add(&raw mut stats.faulted, 1);
            atomics::set_bits(&raw mut state.flags, SOCKET_FAULTED);
        }
    }
    verdict
}

/// Sets the earliest departure time, never earlier than one that is set already.
#[inline(always)]
fn depart_later(skb: *mut __sk_buff, delay_ns: u64) {
    // SAFETY: a writable field of an egress context; the clock helper has no arguments.
    unsafe {
        let now_ns = bpf_ktime_get_ns();
        let set = (*skb).tstamp;
        let base = if set > now_ns { set } else { now_ns };
        (*skb).tstamp = base + delay_ns;
    }
}

#[inline(always)]
fn on_sent(
    control: &Control,
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
    if state.flags & SOCKET_PASSIVE != 0 {
        return;
    }
    let word = state.exchange_start_ns;
    if !exchange::may_start(word) {
        return;
    }
    let first = first_bytes(ctx, headers);
    if exchange::is_tls_alert(first, headers.payload_bytes) {
        return;
    }
    let next = exchange::on_sent(word, departed_ns(control, ctx.skb.skb), first);
    if next == word || !atomics::replace(&raw mut state.exchange_start_ns, word, next) {
        return;
    }
    if exchange::is_tls_handshake(first) {
        atomics::set_bits(&raw mut state.flags, SOCKET_TLS);
    }
    if word == 0
        && !matches!(verdict, PacketVerdict::Delayed | PacketVerdict::Dropped)
        && state.flags & SOCKET_FAULTED != 0
    {
        atomics::clear_bits(&raw mut state.flags, SOCKET_FAULTED);
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
fn first_bytes(ctx: &SkBuffContext, headers: &Headers) -> exchange::FirstBytes {
    if headers.payload_bytes < 2 {
        return [0; 2];
    }
    headers::bytes::<2>(ctx.skb.skb, headers.payload_offset as usize).unwrap_or_else(|| {
        maps::hook_stats(|stats| &raw mut stats.odd_packets);
        [0; 2]
    })
}

#[inline(always)]
fn on_received(
    ctx: &SkBuffContext,
    sk: *mut bpf_sock,
    state: &mut SocketState,
    stats: &mut PairStats,
    headers: &Headers,
) {
    let payload = u64::from(headers.payload_bytes);
    if state.flags & SOCKET_RELEASED != 0 {
        // The agent has closed: what still comes says nothing of the call that it gave up.
        atomics::add(&raw mut stats.received_bytes, payload);
        return;
    }
    if headers.tcp_flags & TCP_RST != 0 {
        atomics::set_bits(&raw mut state.flags, SOCKET_RST_SEEN);
        if state.flags & SOCKET_ADOPTED != 0 {
            // No callback tells of the end of a socket that is older than the daemon.
            // SAFETY: the context is the helper's argument.
            let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
            socket::finish(state, 0, cookie);
        }
        return;
    }
    if payload != 0 {
        atomics::add(&raw mut stats.received_bytes, payload);
        atomics::add(&raw mut state.received_bytes, payload);
        let word = state.exchange_start_ns;
        if word != 0 {
            let status = http::status(ctx.skb.skb, state, headers, word);
            // After an interim answer the call goes on.
            if !logic_http::is_interim(status)
                && atomics::replace(&raw mut state.exchange_start_ns, word, 0)
            {
                answered(ctx, sk, state, stats, headers, word, status);
            }
        }
    }
    if headers.tcp_flags & TCP_FIN != 0 {
        socket::peer_closed(state);
    }
}

/// The first byte of an answer has come.
#[inline(always)]
fn answered(
    ctx: &SkBuffContext,
    sk: *mut bpf_sock,
    state: &mut SocketState,
    stats: &mut PairStats,
    headers: &Headers,
    word: u64,
    status: u32,
) {
    let now_ns = socket::now_ns();
    let took_ns = match exchange::on_received(word, now_ns) {
        exchange::Ended::Nothing => return,
        exchange::Ended::Handshake => {
            atomics::add(&raw mut stats.handshakes, 1);
            return;
        }
        exchange::Ended::Call(took_ns) => took_ns,
    };
    state.answer_ns = now_ns;
    atomics::add(&raw mut state.exchanges, 1);
    let outcome = http::guard_answer_outcome(state.breaker, status);
    socket::count_call_number(stats, outcome, socket::origin(state));
    if let Some(count) = stats.call_buckets.get_mut(guard_bucket_of(took_ns) as usize) {
        atomics::add(&raw mut *count, 1);
    }
    atomics::add(&raw mut stats.call_ns, took_ns);
    breaker::call_ended(state, outcome, took_ns);
    sample_tcp(sk, state, stats);
    let bad = Result::of_number(outcome).is_bad();
    if bad || socket::verbose() {
        // SAFETY: the context is the helper's argument.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        let kind = if bad { EVENT_CALL_FAILED } else { EVENT_CALL };
        let mut event = socket::event(kind, state, cookie);
        event.time_ns = now_ns;
        event.duration_ns = took_ns;
        event.outcome = outcome;
        event.status = status;
        emit::emit(&event);
    }
    if bad && status != 0 && state.breaker != 0 {
        let (offset, bytes) = (headers.payload_offset, headers.payload_bytes);
        breaker::leave_alone(state.breaker, http::guard_retry_after(ctx.skb.skb, offset, bytes));
    }
}

/// Bucket of a time.
///
/// A global function: kernels before 6.4 follow the rest of the packet once for each bucket else.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_bucket_of(ns: u64) -> u32 {
    let bucket = histogram::bucket_of(ns) as u32;
    // SAFETY: a local variable. Volatile for the reason that `http::guard_answer_outcome` gives.
    unsafe { core::ptr::read_volatile(&raw const bucket) }
}

/// Takes the round-trip time, and for sockets without callbacks the retransmissions.
#[inline(always)]
fn sample_tcp(sk: *mut bpf_sock, state: &mut SocketState, stats: &mut PairStats) {
    if state.flags & SOCKET_UDP != 0 {
        return;
    }
    // SAFETY: `sk` is a full socket; the helper's result is checked for null.
    unsafe {
        let tcp = bpf_tcp_sock(sk);
        if tcp.is_null() {
            return;
        }
        let srtt_us = (*tcp).srtt_us >> SRTT_SHIFT;
        if srtt_us != 0 {
            atomics::add(&raw mut stats.rtt_samples, 1);
            atomics::add(&raw mut stats.rtt_us, u64::from(srtt_us));
        }
        if state.flags & SOCKET_ADOPTED != 0 {
            let total = u64::from((*tcp).total_retrans);
            let seen = state.retransmits;
            if total > seen && atomics::replace(&raw mut state.retransmits, seen, total) {
                atomics::add(&raw mut stats.retransmits, total - seen);
            }
        }
    }
}

/// First packet of a socket without storage: it is older than the daemon, or an unconnected
/// datagram socket.
#[inline(always)]
fn adopt(
    control: &Control,
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    headers: &Headers,
    sent: bool,
) -> Option<&'static mut SocketState> {
    let bulkhead = maps::bulkhead();
    // SAFETY: fields of a full socket.
    let (tcp_state, protocol) = unsafe { ((*sk).state, (*sk).protocol) };
    let udp = protocol == IPPROTO_UDP;
    if bulkhead == BULKHEAD_NONE || (!udp && tcp_state == TCP_LISTEN) {
        return None;
    }
    let address = headers::address(skb, sent)?;
    let (local, remote) = if sent {
        (headers.source_port, headers.destination_port)
    } else {
        (headers.destination_port, headers.source_port)
    };
    let destination = classify::destination(address, remote);
    // Whether an old socket called or was called is not known; a port below those that the kernel
    // gives to callers belongs to a server.
    let passive = u32::from(local) < control.ephemeral_port_low;
    let mut flags =
        if udp { SOCKET_UDP } else { SOCKET_ADOPTED | SOCKET_SYN_SENT | SOCKET_ESTABLISHED };
    if passive {
        flags |= SOCKET_PASSIVE;
    }
    if destination.protected {
        flags |= SOCKET_PROTECTED;
    }
    // SAFETY: `sk` is a full socket; the helper's result is checked for null.
    let retransmits = unsafe {
        let tcp = if udp { core::ptr::null_mut() } else { bpf_tcp_sock(sk) };
        if tcp.is_null() { 0 } else { u64::from((*tcp).total_retrans) }
    };
    let service = if passive { SERVICE_OTHER } else { destination.service };
    let pair = PairKey { bulkhead, service };
    let mut fresh = socket::fresh(pair, flags, address, u32::from(remote));
    fresh.retransmits = retransmits;
    if !passive && !destination.protected {
        fresh.breaker = maps::breaker_of(pair);
    }
    let state = socket::get_or_make(sk, &mut fresh)?;
    if let Some(stats) = maps::pair_stats(socket::pair(state)) {
        socket::count_open(state, stats);
    }
    Some(state)
}

/// A datagram socket may talk to many peers: each packet is counted for the one it goes to.
#[inline(always)]
fn follow_peer(state: &mut SocketState, skb: *mut __sk_buff, headers: &Headers, sent: bool) {
    let Some(address) = headers::address(skb, sent) else { return };
    let port = u32::from(if sent { headers.destination_port } else { headers.source_port });
    if port == state.peer_port && classify::halves(address) == classify::halves(state.peer) {
        if state.opened == 0
            && let Some(stats) = maps::pair_stats(socket::pair(state))
        {
            socket::count_open(state, stats);
        }
        return;
    }
    if !sent || state.flags & SOCKET_PASSIVE != 0 {
        // An answer from elsewhere does not move the socket: it belongs to whom it sends.
        return;
    }
    let destination = classify::destination(address, port as u16);
    // The count of open sockets stays with the service where it began: move it along.
    if state.opened != 0 && state.service != destination.service {
        if let Some(stats) = maps::pair_stats(socket::pair(state)) {
            atomics::add(&raw mut stats.closed, 1);
        }
        state.opened = 0;
    }
    // What it still owes a breaker is nothing that another service's answer could settle.
    breaker::give_back(state);
    state.breaker = if destination.protected {
        0
    } else {
        maps::breaker_of(PairKey { bulkhead: state.bulkhead, service: destination.service })
    };
    state.service = destination.service;
    state.peer = address;
    state.peer_port = port;
    state.exchange_start_ns = 0;
    if destination.protected {
        atomics::set_bits(&raw mut state.flags, SOCKET_PROTECTED);
    } else {
        atomics::clear_bits(&raw mut state.flags, SOCKET_PROTECTED);
    }
    if let Some(stats) = maps::pair_stats(socket::pair(state)) {
        socket::count_open(state, stats);
    }
}
