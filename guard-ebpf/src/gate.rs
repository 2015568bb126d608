//! Gates of the NFQUEUE delay engine: packet filters that an iptables rule asks whether a packet
//! of the bulkhead goes through the daemon's queue. All conditions of the fault are checked here,
//! in the kernel, so that a stopped or hung daemon holds nothing back once its lease is over.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::fault::EFFECT_DELAY;
use guard_common::abi::policy::Control;

use crate::classify::{self, Address};
use crate::faults::{self, Decision};
use crate::headers::bytes;
use crate::{atomics, maps, socket};

const PASS: i64 = 0;
const QUEUE: i64 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const TCP_FLAGS_OFFSET: usize = 13;
const SYN_ACK: u8 = 0x12;

/// Where an outgoing packet goes.
#[derive(Clone, Copy)]
struct Outgoing {
    address: Address,
    source_port: u16,
    destination_port: u16,
    tcp: bool,
    tcp_flags: u8,
}

/// Whether the fault of this gate holds the packet.
#[inline(always)]
pub(crate) fn gate(ctx: &SkBuffContext, gate: u32) -> i64 {
    let (Some(slot), Some(control)) = (maps::gate_slot(gate), maps::control()) else { return PASS };
    let Some(rule) = maps::fault_rule(slot) else { return PASS };
    if control.faults_active == 0 || rule.effect != EFFECT_DELAY {
        return PASS;
    }
    let Some(packet) = outgoing(ctx) else { return PASS };
    if packet.tcp && accepted(ctx, control, packet) {
        return PASS;
    }
    let destination = classify::destination(packet.address, packet.destination_port);
    if rule.any_service == 0 && destination.service != rule.service {
        return PASS;
    }
    let Some(stats) = maps::fault_stats(slot) else { return PASS };
    match faults::decide(control.mode, slot, rule, stats, destination.protected, socket::now_ns()) {
        Decision::Act(_) => {
            atomics::add(&raw mut stats.delayed, 1);
            QUEUE
        }
        Decision::Pass | Decision::WouldAct => PASS,
    }
}

/// Whether a packet belongs to a connection that the agent accepted: those are never touched. By
/// its port (see `packet::adopt`); on ports that callers have too, by what sockops remembered, and
/// before that by the answer to the SYN.
#[inline(always)]
fn accepted(ctx: &SkBuffContext, control: &Control, packet: Outgoing) -> bool {
    if u32::from(packet.source_port) < control.ephemeral_port_low {
        return true;
    }
    if packet.tcp_flags & SYN_ACK == SYN_ACK {
        return true;
    }
    // SAFETY: the context is the helper's argument.
    maps::was_accepted(unsafe { bpf_get_socket_cookie(ctx.as_ptr()) })
}

#[inline(always)]
fn outgoing(ctx: &SkBuffContext) -> Option<Outgoing> {
    let skb = ctx.skb.skb;
    let [version] = bytes::<1>(skb, 0)?;
    let (address, protocol, l4_offset) = match version >> 4 {
        4 => {
            let [protocol] = bytes::<1>(skb, 9)?;
            let address = classify::mapped(u32::from_ne_bytes(bytes::<4>(skb, 16)?));
            (address, protocol, usize::from(version & 0xf) * 4)
        }
        6 => {
            // Locally made packets of TCP and UDP sockets carry extension headers only when the
            // agent asked for them; such packets pass.
            let [next] = bytes::<1>(skb, 6)?;
            (bytes::<16>(skb, 24)?, next, 40)
        }
        _ => return None,
    };
    if protocol != IPPROTO_TCP && protocol != IPPROTO_UDP {
        return None;
    }
    let ports = bytes::<4>(skb, l4_offset)?;
    let tcp = protocol == IPPROTO_TCP;
    let [tcp_flags] = if tcp { bytes::<1>(skb, l4_offset + TCP_FLAGS_OFFSET)? } else { [0] };
    Some(Outgoing {
        address,
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        tcp,
        tcp_flags,
    })
}
