//! Sockets that connect() told nothing of: older than the daemon, or datagram sockets that send to
//! whom they like.

use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_tcp_sock};
use guard_common::abi::ids::{BULKHEAD_NONE, PairKey, SERVICE_OTHER};
use guard_common::abi::policy::Control;
use guard_common::abi::socket::{
    SOCKET_ADOPTED, SOCKET_ESTABLISHED, SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_SYN_SENT,
    SOCKET_UDP, SocketState,
};

use crate::headers::{self, Headers};
use crate::{atomics, breaker, classify, limits, maps, nesting, socket};

const IPPROTO_UDP: u32 = 17;
const TCP_LISTEN: u32 = 10;

/// First packet of a socket without storage: it is older than the daemon, or an unconnected
/// datagram socket. Afterwards it has one, unless it is none of guard's business.
///
/// A global function: so the packet's own frame needs no room for what is made here, and the
/// verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn guard_adopt(skb: *mut __sk_buff, sent: u32) -> u32 {
    let sent = sent != 0;
    let (Some(control), Some(headers)) = (maps::control(), headers::parse(skb)) else { return 0 };
    // SAFETY: as in `packet`.
    let sk = unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() { sk } else { bpf_sk_fullsock(sk) }
    };
    if sk.is_null() {
        return 0;
    }
    u32::from(adopt(control, skb, sk, &headers, sent))
}

#[inline(always)]
fn adopt(
    control: &Control,
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    headers: &Headers,
    sent: bool,
) -> bool {
    let bulkhead = maps::bulkhead();
    // SAFETY: fields of a full socket.
    let (tcp_state, protocol) = unsafe { ((*sk).state, (*sk).protocol) };
    let udp = protocol == IPPROTO_UDP;
    if bulkhead == BULKHEAD_NONE || (!udp && tcp_state == TCP_LISTEN) {
        return false;
    }
    let Some(address) = headers::address(skb, sent) else { return false };
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
    fresh.retransmitted = retransmits;
    if !passive && !destination.protected {
        fresh.breaker = maps::breaker_of(pair);
    }
    let Some(state) = socket::get_or_make(sk, &mut fresh) else { return false };
    if flags & (SOCKET_UDP | SOCKET_PASSIVE | SOCKET_PROTECTED) == 0 {
        limits::count_old(state, pair);
        nesting::count_old(control, sk, state);
    }
    if let Some(stats) = maps::pair_stats(socket::pair(state)) {
        socket::count_open(state, stats);
    }
    true
}

/// A datagram socket may talk to many peers: each packet is counted for the one it goes to.
#[inline(always)]
pub(super) fn follow_peer(
    state: &mut SocketState,
    skb: *mut __sk_buff,
    headers: &Headers,
    sent: bool,
) {
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
