//! What an HTTP/1 answer in clear text says of its service (`logic::http`), from the first segment
//! of the answer. It reads, and never changes a packet; whatever it cannot read is an answer.

use aya_ebpf::bindings::__sk_buff;
use guard_common::abi::outcome::Outcome;
use guard_common::abi::socket::{EXCHANGE_HANDSHAKE, SOCKET_TLS, SOCKET_UDP, SocketState};
use guard_common::logic::http::{self, HEAD_BYTES};

use crate::breaker;
use crate::headers::{self, Headers};

/// Status of the answer that begins with this packet; 0 if there is none to be read.
#[inline(always)]
pub(crate) fn status(
    skb: *const __sk_buff,
    state: &SocketState,
    headers: &Headers,
    word: u64,
) -> u32 {
    let opaque = word & EXCHANGE_HANDSHAKE != 0 || state.flags & (SOCKET_TLS | SOCKET_UDP) != 0;
    if opaque || (headers.payload_bytes as usize) < HEAD_BYTES {
        return 0;
    }
    let Some(head) = headers::bytes::<HEAD_BYTES>(skb, headers.payload_offset as usize) else {
        return 0;
    };
    let (Some(first), Some(rest)) = (head.first_chunk::<8>(), head.last_chunk::<4>()) else {
        return 0;
    };
    guard_http_status(u64::from_le_bytes(*first), u32::from_le_bytes(*rest))
}

/// Status in the first twelve bytes of an answer.
///
/// A global function, with numbers as arguments: the verifier looks at it once, whoever calls it,
/// and does not follow its caller once for each status. So are the next ones.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_http_status(first: u64, rest: u32) -> u32 {
    let mut head = [0; HEAD_BYTES];
    let (start, end) = head.split_at_mut(8);
    start.copy_from_slice(&first.to_le_bytes());
    end.copy_from_slice(&rest.to_le_bytes());
    http::status(head)
}

/// What an answer with this status (0 = not HTTP) is: number of an [`Outcome`]. For a service whose
/// protocol is `tcp`, any answer is a good one.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_answer_outcome(place: u32, status: u32) -> u32 {
    let outcome = http::outcome(status);
    let good = breaker::any_answer_is_good(place);
    let number = if good { Outcome::Success as u32 } else { outcome as u32 };
    // SAFETY: a local variable. Volatile: a compiler that knows how few numbers there are would leave
    // out the caller's bound, which the verifier, who does not know, needs.
    unsafe { core::ptr::read_volatile(&raw const number) }
}
