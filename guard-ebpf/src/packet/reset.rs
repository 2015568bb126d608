//! Resets of open connections: no hook can send a packet, so the daemon is asked to. The packet that
//! is answered is dropped; without a daemon TCP sends it again, and it passes once the lease is over.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use guard_common::abi::fault::ResetOrder;

use crate::{emit, headers, maps};

const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
/// Offset of the acknowledgement number in a TCP header.
const ACKNOWLEDGEMENT_OFFSET: u32 = 8;

/// Asks for a reset as if the peer had answered this packet with one.
///
/// A global function: so the packet's own frame needs no room for the order, and the verifier looks at
/// it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn guard_order_reset(skb: *mut __sk_buff, slot: u32) -> u32 {
    let (Some(rule), Some(headers)) = (maps::fault_rule(slot), headers::parse(skb)) else {
        return 0;
    };
    let (Some(local), Some(peer)) = (headers::address(skb, false), headers::address(skb, true))
    else {
        return 0;
    };
    let at = (headers.l4_offset + ACKNOWLEDGEMENT_OFFSET) as usize;
    let Some(sequence) = headers::bytes::<4>(skb, at) else { return 0 };
    emit::order_reset(&ResetOrder {
        // SAFETY: the context is the helper's argument.
        cookie: unsafe { bpf_get_socket_cookie(skb.cast()) },
        fault: rule.id,
        local,
        peer,
        local_port: u32::from(headers.source_port),
        peer_port: u32::from(headers.destination_port),
        sequence: u32::from_be_bytes(sequence),
        // SAFETY: a field of the context.
        ip_version: if unsafe { (*skb).protocol } == ETH_P_IP { 4 } else { 6 },
    });
    1
}
