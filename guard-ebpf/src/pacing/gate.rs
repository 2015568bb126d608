//! The gate of paced calls: a packet filter that an iptables rule asks whether a packet of a paced
//! bulkhead waits in the daemon's queue. One gate and one queue for all of them. Only what has to wait
//! goes there; all else never leaves the kernel.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::ids::PairKey;
use guard_common::abi::pacing::{FlowKey, LATE_NS, PACE_NFQUEUE, PacedSocket};

use super::{begins, current, first_bytes, guard_pace_take};
use crate::gate::{Outgoing, PASS, QUEUE, outgoing};
use crate::headers::TCP_FIN;
use crate::{atomics, maps, socket};

/// Whether the packet waits.
#[inline(always)]
pub(crate) fn gate(ctx: &SkBuffContext) -> i64 {
    // SAFETY: the context is the helper's argument.
    let Some(known) = maps::paced(unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }) else {
        return PASS;
    };
    let now_ns = socket::now_ns();
    if maps::lease_until_ns() <= now_ns {
        return PASS;
    }
    let Some(packet) = outgoing(ctx) else { return PASS };
    if !packet.tcp {
        return PASS;
    }
    if something_waits(known, now_ns) {
        if packet.payload {
            atomics::add(&raw mut known.queued, 1);
            return QUEUE;
        }
        return if packet.tcp_flags & TCP_FIN != 0 { QUEUE } else { PASS };
    }
    if !packet.payload {
        return PASS;
    }
    // Of what departure times hold, the egress hook finds out where a call begins.
    let own = maps::limits_of(PairKey { bulkhead: known.bulkhead, service: known.service });
    if maps::limits(own).is_none_or(|slot| slot.pace_engine != PACE_NFQUEUE) {
        return PASS;
    }
    let bytes = packet.payload_bytes;
    let first = first_bytes(ctx.skb.skb, packet.payload_offset, bytes);
    if !begins(known, now_ns, first, bytes) {
        return PASS;
    }
    let wait_ns = guard_pace_take(own, now_ns);
    if wait_ns == 0 {
        return PASS;
    }
    hold(known, packet, now_ns + wait_ns);
    QUEUE
}

/// Whether a packet that was held has not left yet.
#[inline(always)]
fn something_waits(known: &PacedSocket, now_ns: u64) -> bool {
    current(&raw const known.queued) != current(&raw const known.left)
        && now_ns < current(&raw const known.until_ns).wrapping_add(LATE_NS)
}

/// The first packet of a call that waits.
#[inline(always)]
fn hold(known: &mut PacedSocket, packet: Outgoing, until_ns: u64) {
    let flow = FlowKey {
        peer: packet.address,
        peer_port: u32::from(packet.destination_port),
        local_port: u32::from(packet.source_port),
    };
    maps::hold_flow(&flow, until_ns);
    atomics::publish(&raw mut known.until_ns, until_ns);
    // Of an earlier call some may have been lost with an engine that was killed.
    let queued = current(&raw const known.queued);
    atomics::publish(&raw mut known.left, queued);
    atomics::add(&raw mut known.queued, 1);
}
