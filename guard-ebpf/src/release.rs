//! sock_release: the agent closes a socket. Ends what no TCP state change reports: datagram
//! sockets, connects that failed before a packet was made, and sockets older than the daemon.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockContext;
use guard_common::abi::socket::{SOCKET_ADOPTED, SOCKET_RELEASED, SOCKET_SYN_SENT, SOCKET_UDP};

use crate::{atomics, socket};

/// A socket of an agent is closed; always allowed.
#[inline(always)]
pub(crate) fn release(ctx: &SockContext) -> i32 {
    if let Some(state) = socket::get(ctx.sock) {
        atomics::set_bits(&raw mut state.flags, SOCKET_RELEASED);
        let unreported =
            state.flags & (SOCKET_UDP | SOCKET_ADOPTED) != 0 || state.flags & SOCKET_SYN_SENT == 0;
        if unreported {
            // SAFETY: the context is the helper's argument.
            let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
            socket::finish(state, 0, cookie);
        }
    }
    1
}
