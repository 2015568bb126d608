//! sock_release: the agent closes a socket. What it still waited for ends here, as given up by the
//! agent: what the peer does afterwards (its own FIN, a RST for late data) is no answer any more,
//! and TCP's own end may be minutes away. A connection that broke before was ended by its TCP
//! state change; so is one that has sent something again and again: its TCP state, which changes a
//! moment later in the same close(), says whether anybody ever had it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockContext;
use guard_common::abi::socket::SOCKET_RELEASED;

use crate::{atomics, socket};

/// A socket of an agent is closed; always allowed.
#[inline(always)]
pub(crate) fn release(ctx: &SockContext) -> i32 {
    if let Some(state) = socket::get(ctx.sock) {
        atomics::set_bits(&raw mut state.flags, SOCKET_RELEASED);
        if socket::is_judged_by_state(state) {
            return 1;
        }
        // SAFETY: the context is the helper's argument.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        socket::finish(ctx.sock, state, 0, cookie);
    }
    1
}
