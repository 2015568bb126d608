//! What an HTTP/1 answer in clear text says of its service (`logic::http`), from the first segment
//! of the answer. It reads, and never changes a packet; whatever it cannot read is an answer.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_skb_load_bytes};
use guard_common::abi::outcome::Outcome;
use guard_common::abi::socket::{EXCHANGE_HANDSHAKE, SOCKET_TLS, SOCKET_UDP, SocketState};
use guard_common::logic::http::{self, HEAD_BYTES, RetryAfter};

use crate::breaker;
use crate::headers::{self, Headers};
use crate::maps::{self, ANSWER_BYTES, Answer};

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

const _: () = assert!(ANSWER_BYTES.is_power_of_two());

/// What goes through the loop over an answer's bytes.
struct Walk {
    answer: *mut Answer,
    bytes: u32,
}

/// One step of the loop: the byte at `index`.
unsafe extern "C" fn step(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is the argument that `guard_retry_after` gave to the kernel, alive during the
    // loop; `answer` is a map value, alive for the program.
    let (bytes, answer) = unsafe { ((*walk).bytes, &mut *(*walk).answer) };
    let Some(byte) = answer.bytes.get(index as usize) else { return 1 };
    i64::from(index >= bytes || answer.search.push(*byte))
}

/// For how long the answer that begins at `offset` of this packet, with `bytes` bytes in it, asks to be
/// left alone (`Retry-After`), seconds; 0 = it does not say, or not within [`ANSWER_BYTES`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_retry_after(skb: *mut __sk_buff, offset: u32, bytes: u32) -> u32 {
    let Some(answer) = maps::answer() else { return 0 };
    let bytes = if bytes > ANSWER_BYTES as u32 { ANSWER_BYTES as u32 } else { bytes };
    if bytes < HEAD_BYTES as u32 {
        return 0;
    }
    // SAFETY: a local variable. Volatile, and with a mask that changes nothing: the compiler knows the
    // range, and kernels before 6.4 do not.
    let bytes = unsafe { core::ptr::read_volatile(&raw const bytes) };
    let bytes = (bytes.wrapping_sub(1) & (ANSWER_BYTES as u32 - 1)) + 1;
    let to = answer.bytes.as_mut_ptr();
    // SAFETY: `to` has room for ANSWER_BYTES, and `bytes` is no more than that.
    if unsafe { bpf_skb_load_bytes(skb.cast(), offset, to.cast(), bytes) } != 0 {
        return 0;
    }
    answer.search = RetryAfter::default();
    let mut walk = Walk { answer, bytes };
    // SAFETY: the callback has the signature that the kernel asks for, and `walk` outlives the call.
    unsafe {
        bpf_loop(ANSWER_BYTES as u32, step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
        (*walk.answer).search.seconds()
    }
}
