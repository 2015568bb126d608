//! What the first packet that comes back says of its call: HTTP/1 in clear text by its status
//! (`logic::http`), TLS by its alerts (`logic::tls`), a name server by its response code
//! (`logic::dns`). It reads, and never changes a packet; whatever it cannot read is a good answer.

use aya_ebpf::bindings::__sk_buff;
use guard_common::abi::outcome::Outcome;
use guard_common::abi::socket::{
    EXCHANGE_HANDSHAKE, SOCKET_FALLBACK, SOCKET_REDIRECTED, SOCKET_TLS, SOCKET_TLS_READY,
    SOCKET_UDP, SocketState,
};
use guard_common::logic::http::{self, HEAD_BYTES, PHRASE_BYTES};
use guard_common::logic::outcome::is_name_query;
use guard_common::logic::{dns, tls};

use crate::breaker;
use crate::headers::{self, Headers};

/// What a packet says.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// Number of an [`Outcome`].
    pub(crate) outcome: u32,
    /// HTTP status; 0 if there is none to be read.
    pub(crate) status: u32,
    /// It is no answer yet: the call goes on.
    pub(crate) goes_on: bool,
}

/// Bits of what [`guard_answer`] is asked.
const ASK_OPAQUE: u32 = 1;
const ASK_TLS: u32 = 2;
const ASK_NAME: u32 = 4;
/// The connection has answered no call yet, or its handshake is under way.
const ASK_FIRST: u32 = 8;
/// guardd's gateway answers.
const ASK_GATEWAY: u32 = 16;
/// Places of what it answers: outcome lowest, then the status.
const OUTCOME: u32 = 0xff;
const STATUS_AT: u32 = 8;
const STATUS: u32 = 0xffff;
const GOES_ON: u32 = 1 << 31;

/// What the packet says of the call that began with `word`.
#[inline(always)]
pub(crate) fn of(skb: *mut __sk_buff, state: &SocketState, headers: &Headers, word: u64) -> Answer {
    let handshake = word & EXCHANGE_HANDSHAKE != 0;
    let asked = if is_name_query(state.flags, state.peer_port) {
        ASK_NAME
    } else if state.flags & SOCKET_TLS != 0 {
        let before = handshake || state.exchanges == 0 || state.flags & SOCKET_TLS_READY == 0;
        if before { ASK_TLS | ASK_FIRST } else { ASK_TLS }
    } else if handshake || state.flags & SOCKET_UDP != 0 {
        ASK_OPAQUE
    } else if state.flags & (SOCKET_REDIRECTED | SOCKET_FALLBACK) == SOCKET_REDIRECTED {
        ASK_GATEWAY
    } else {
        0
    };
    let (offset, bytes) = (headers.payload_offset, headers.payload_bytes);
    let answer = guard_answer(skb, offset, bytes, state.breaker, asked);
    Answer {
        outcome: answer & OUTCOME,
        status: (answer >> STATUS_AT) & STATUS,
        goes_on: answer & GOES_ON != 0,
    }
}

/// [`of`] in plain numbers: where the payload is, the breaker's place plus one, and `ASK_*`.
///
/// A global function, with numbers as arguments: the verifier looks at it once, whoever calls it,
/// and does not follow its caller once for each answer. So is the next one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_answer(
    skb: *mut __sk_buff,
    offset: u32,
    bytes: u32,
    breaker: u32,
    asked: u32,
) -> u32 {
    let answer = match asked {
        0 | ASK_GATEWAY => http(skb, offset, bytes, breaker, asked),
        ASK_NAME => name(skb, offset, bytes),
        ASK_OPAQUE => Outcome::Success as u32,
        _ => alert(skb, offset, bytes, asked & ASK_FIRST != 0),
    };
    // SAFETY: a local variable. Volatile: a compiler that knows how few answers there are would leave
    // out the caller's bounds, which the verifier, who does not know, needs.
    unsafe { core::ptr::read_volatile(&raw const answer) }
}

#[inline(always)]
fn http(skb: *mut __sk_buff, offset: u32, bytes: u32, breaker: u32, asked: u32) -> u32 {
    let good = Outcome::Success as u32;
    if (bytes as usize) < HEAD_BYTES {
        return good;
    }
    let Some(head) = headers::bytes::<HEAD_BYTES>(skb, offset as usize) else { return good };
    let (Some(first), Some(rest)) = (head.first_chunk::<8>(), head.last_chunk::<4>()) else {
        return good;
    };
    let status = guard_http_status(u64::from_le_bytes(*first), u32::from_le_bytes(*rest));
    if http::is_interim(status) {
        return GOES_ON;
    }
    let outcome = if asked == ASK_GATEWAY && status != 0 && is_stale(skb, offset, bytes) {
        Outcome::ServerError as u32
    } else if breaker::any_answer_is_good(breaker) {
        good
    } else {
        http::outcome(status) as u32
    };
    ((status & STATUS) << STATUS_AT) | outcome
}

/// Whether an answer of the gateway is a kept one.
#[inline(always)]
fn is_stale(skb: *mut __sk_buff, offset: u32, bytes: u32) -> bool {
    if (bytes as usize) < HEAD_BYTES + PHRASE_BYTES {
        return false;
    }
    headers::bytes::<PHRASE_BYTES>(skb, offset as usize + HEAD_BYTES).is_some_and(http::is_stale)
}

/// Status in the first twelve bytes of an answer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_http_status(first: u64, rest: u32) -> u32 {
    let mut head = [0; HEAD_BYTES];
    let (start, end) = head.split_at_mut(8);
    start.copy_from_slice(&first.to_le_bytes());
    end.copy_from_slice(&rest.to_le_bytes());
    http::status(head)
}

#[inline(always)]
fn name(skb: *mut __sk_buff, offset: u32, bytes: u32) -> u32 {
    match headers::bytes::<{ dns::HEAD_BYTES }>(skb, offset as usize) {
        Some(head) if dns::is_failure(head, bytes) => Outcome::DnsFailure as u32,
        _ => Outcome::Success as u32,
    }
}

/// An alert is no answer: before the first one it says that there will be none. Later it says, as a
/// rule, that the server closes, and whatever comes next tells what became of the call.
#[inline(always)]
fn alert(skb: *mut __sk_buff, offset: u32, bytes: u32, first_answer: bool) -> u32 {
    let good = Outcome::Success as u32;
    if (bytes as usize) < tls::ALERT_BYTES {
        return good;
    }
    let Some(head) = headers::bytes::<{ tls::ALERT_BYTES }>(skb, offset as usize) else {
        return good;
    };
    let first = [head[0], head[1]];
    if !tls::is_alert(first, bytes) {
        return good;
    }
    let may_go_on = tls::is_clear(first, bytes) && !tls::is_fatal(head);
    if first_answer && !may_go_on { Outcome::TlsAlert as u32 } else { GOES_ON }
}
