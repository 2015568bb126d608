//! For how long an HTTP/1 answer in clear text asks to be left alone (`logic::http`), from its first
//! segment. It reads, and never changes a packet.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_skb_load_bytes};
use guard_common::logic::http::{HEAD_BYTES, RetryAfter};

use crate::maps::{self, ANSWER_BYTES, Answer};

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
