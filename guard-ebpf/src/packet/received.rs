//! What a packet that arrives says of its call: its answer, or the end of the connection.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::bpf_tcp_sock;
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::event::{EVENT_CALL, EVENT_CALL_FAILED};
use guard_common::abi::outcome::Outcome;
use guard_common::abi::socket::{
    SOCKET_ADOPTED, SOCKET_FALLBACK, SOCKET_RELEASED, SOCKET_RST_SEEN, SOCKET_UDP, SocketState,
};
use guard_common::abi::stats::PairStats;
use guard_common::logic::breaker::Result;
use guard_common::logic::{exchange, histogram};

use super::cookie;
use crate::answer::{self, Answer};
use crate::headers::{self, Headers, TCP_FIN, TCP_RST};
use crate::{atomics, breaker, emit, http, maps, pacing, socket};

/// Of the sequence number in the TCP header.
const SEQUENCE_OFFSET: usize = 4;
const SRTT_SHIFT: u32 = 3;
/// Every so many answered calls of a connection its round-trip time is taken.
const RTT_EVERY: u32 = 8;

/// A packet has come.
#[inline(always)]
pub(super) fn on_received(
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
            socket::finish(sk, state, 0, cookie(ctx));
        }
        return;
    }
    if payload != 0 {
        atomics::add(&raw mut stats.received_bytes, payload);
        atomics::add(&raw mut state.received_bytes, payload);
        let word = state.exchange_start_ns;
        if word != 0 && !is_repeated(ctx, sk, headers) {
            let answer = answer::of(ctx.skb.skb, state, headers, word);
            if !answer.goes_on && atomics::replace(&raw mut state.exchange_start_ns, word, 0) {
                pacing::answered(cookie(ctx));
                answered(ctx, sk, state, stats, headers, word, answer);
            }
        }
    }
    if headers.tcp_flags & TCP_FIN != 0 {
        socket::peer_closed(state);
    }
}

/// Whether TCP had all of this payload before: the peer has sent it again, because our acknowledgement
/// was late (it rides on a request that guard holds) or lost. It answers nothing. When in doubt (the
/// socket is busy and lags behind) it is new.
#[inline(always)]
fn is_repeated(ctx: &SkBuffContext, sk: *mut bpf_sock, headers: &Headers) -> bool {
    if headers.tcp_flags == 0 {
        return false;
    }
    let at = headers.l4_offset as usize + SEQUENCE_OFFSET;
    let Some(sequence) = headers::bytes::<4>(ctx.skb.skb, at) else { return false };
    // SAFETY: as in `sample_rtt`.
    let next = unsafe {
        let tcp = bpf_tcp_sock(sk);
        if tcp.is_null() { None } else { Some((*tcp).rcv_nxt) }
    };
    let end = u32::from_be_bytes(sequence).wrapping_add(headers.payload_bytes);
    next.is_some_and(|next| exchange::is_behind(end, next))
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
    answer: Answer,
) {
    let now_ns = socket::now_ns();
    if answer.outcome == Outcome::TlsAlert as u32 {
        socket::guard_handshake_failed(state, cookie(ctx));
        return;
    }
    let took_ns = match exchange::on_received(word, now_ns) {
        exchange::Ended::Nothing => return,
        exchange::Ended::Handshake => {
            atomics::add(&raw mut stats.handshakes, 1);
            return;
        }
        exchange::Ended::Call(took_ns) => took_ns,
    };
    state.answer_ns = now_ns;
    // TCP's round-trip time is smoothed already: the first call and then some tell it well enough.
    if state.exchanges.is_multiple_of(RTT_EVERY) {
        sample_rtt(sk, state, stats);
    }
    if state.flags & SOCKET_ADOPTED != 0 {
        count_retransmits(sk, state, stats);
    }
    atomics::add32(&raw mut state.exchanges, 1);
    if maps::control().is_some_and(|control| control.faults_active != 0)
        && let Some(known) = maps::gate_socket(cookie(ctx))
    {
        known.call = state.exchanges;
    }
    let outcome = answer.outcome;
    if state.flags & SOCKET_FALLBACK != 0 {
        let bad = Result::of_number(outcome).is_bad();
        socket::count_of_fallback(stats, bad);
        return;
    }
    socket::count_call_number(stats, outcome, socket::origin(state));
    if let Some(count) = stats.call_buckets.get_mut(guard_bucket_of(took_ns) as usize) {
        atomics::add(&raw mut *count, 1);
    }
    atomics::add(&raw mut stats.call_ns, took_ns);
    breaker::call_ended(state, outcome, took_ns, now_ns);
    let bad = Result::of_number(outcome).is_bad();
    let failed = bad || outcome == Outcome::DnsFailure as u32;
    if failed || socket::verbose() {
        let kind = if failed { EVENT_CALL_FAILED } else { EVENT_CALL };
        let mut event = socket::event(kind, state, cookie(ctx));
        event.time_ns = now_ns;
        event.duration_ns = took_ns;
        event.outcome = outcome;
        event.status = answer.status;
        emit::emit(&event);
    }
    if bad && answer.status != 0 && state.breaker != 0 {
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
    // SAFETY: a local variable. Volatile for the reason that `answer::guard_answer` gives.
    unsafe { core::ptr::read_volatile(&raw const bucket) }
}

#[inline(always)]
fn sample_rtt(sk: *mut bpf_sock, state: &SocketState, stats: &mut PairStats) {
    if state.flags & SOCKET_UDP != 0 {
        return;
    }
    // SAFETY: `sk` is a full socket; the helper's result is checked for null.
    let srtt_us = unsafe {
        let tcp = bpf_tcp_sock(sk);
        if tcp.is_null() { 0 } else { (*tcp).srtt_us >> SRTT_SHIFT }
    };
    if srtt_us != 0 {
        atomics::add(&raw mut stats.rtt_samples, 1);
        atomics::add(&raw mut stats.rtt_us, u64::from(srtt_us));
    }
}

/// For a socket without callbacks.
#[inline(always)]
fn count_retransmits(sk: *mut bpf_sock, state: &mut SocketState, stats: &mut PairStats) {
    // SAFETY: as in `sample_rtt`.
    let total = unsafe {
        let tcp = bpf_tcp_sock(sk);
        if tcp.is_null() { 0 } else { u64::from((*tcp).total_retrans) }
    };
    let seen = state.retransmitted;
    if total > seen && atomics::replace(&raw mut state.retransmitted, seen, total) {
        atomics::add(&raw mut stats.retransmits, total - seen);
    }
}
