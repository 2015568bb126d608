//! sock_create: an agent makes an IPv4 or IPv6 socket. Kinds that no other hook would see are
//! refused here, once, instead of being looked for in every packet. Other families (packet, vsock)
//! never come here; sockets that the kernel makes for itself (MPTCP's subflows) neither.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::programs::SockContext;
use guard_common::abi::creation::CreationKey;
use guard_common::abi::event::{EVENT_SOCKET_REFUSED, Event};
use guard_common::abi::ids::BULKHEAD_NONE;
use guard_common::abi::policy::MODE_MONITOR;
use guard_common::logic::creation;

use crate::connect::errno_verdict;
use crate::{atomics, emit, maps, nesting, socket};

const ALLOW: i32 = 1;

/// Whether the agent may have this socket.
#[inline(always)]
pub(crate) fn create(ctx: &SockContext) -> i32 {
    let identity = maps::identity();
    let (bulkhead, kinds) = (identity as u32, (identity >> 32) as u32);
    // Of bulkheads inside one another each has its say; the first that says no has counted it.
    if bulkhead == BULKHEAD_NONE || ctx.sock.is_null() || nesting::is_refused() {
        return ALLOW;
    }
    // SAFETY: fields of the context, read one by one as the verifier wants them.
    let (socket_type, protocol) = unsafe { ((*ctx.sock).type_, (*ctx.sock).protocol) };
    let kind = creation::kind(socket_type, protocol);
    if kinds & (1 << kind) != 0 {
        return ALLOW;
    }
    let monitor = maps::control().is_none_or(|control| control.mode == MODE_MONITOR);
    if let Some(counts) = maps::creation_counts(CreationKey { bulkhead, kind }) {
        let count = if monitor { &raw mut counts.would_have } else { &raw mut counts.refused };
        atomics::add(count, 1);
    }
    if monitor {
        return ALLOW;
    }
    let errno = creation::errno(kind);
    emit::emit(&Event {
        time_ns: socket::now_ns(),
        kind: EVENT_SOCKET_REFUSED,
        bulkhead,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        errno,
        status: protocol,
        peer_port: socket_type,
        ..Event::default()
    });
    errno_verdict(errno)
}
