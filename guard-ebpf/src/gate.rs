//! Gates of the NFQUEUE engine: packet filters that an iptables rule asks whether a packet
//! of the bulkhead goes through the daemon's queue. All conditions of the fault are checked here,
//! in the kernel, so that a stopped or hung daemon holds nothing back once its lease is over.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SkBuffContext;
use guard_common::abi::fallback::AskedKey;
use guard_common::abi::fault::{
    EFFECT_DELAY, EFFECT_RATE, FaultRule, GateSocket, PACKET_CONNECT, PACKET_PAYLOAD, PACKET_TCP,
    SHARE_OF_NOTHING, Subject,
};
use guard_common::abi::policy::{Control, FLAG_FALLBACKS};
use guard_common::logic::fault;

use crate::classify::{self, Address};
use crate::faults::{self, Decision};
use crate::headers::{TCP_SYN, TCP_SYN_ACK, bytes};
use crate::{atomics, maps, socket};

pub(crate) const PASS: i64 = 0;
pub(crate) const QUEUE: i64 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const TCP_FLAGS_OFFSET: usize = 13;
const TCP_DATA_OFFSET: usize = 12;
const UDP_HEADER_BYTES: u32 = 8;

/// Where an outgoing packet goes.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) address: Address,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) tcp: bool,
    pub(crate) tcp_flags: u8,
    pub(crate) payload: bool,
    pub(crate) payload_offset: u32,
    pub(crate) payload_bytes: u32,
}

/// Whether the fault of this gate holds the packet.
#[inline(always)]
pub(crate) fn gate(ctx: &SkBuffContext, gate: u32) -> i64 {
    let (Some(slot), Some(control)) = (maps::gate_slot(gate), maps::control()) else { return PASS };
    let Some(rule) = maps::fault_rule(slot) else { return PASS };
    if control.faults_active == 0 || (rule.effect != EFFECT_DELAY && rule.effect != EFFECT_RATE) {
        return PASS;
    }
    let Some(packet) = outgoing(ctx) else { return PASS };
    if packet.tcp && accepted(ctx, control, packet) {
        return PASS;
    }
    let Some(packet) = as_asked(ctx, control, packet) else { return PASS };
    let destination = classify::destination(packet.address, packet.destination_port);
    if rule.any_service == 0 && destination.service != rule.service {
        return PASS;
    }
    let subject = subject(ctx, rule, packet);
    if !fault::is_about(rule, &subject) {
        return PASS;
    }
    let Some(stats) = maps::fault_stats(slot) else { return PASS };
    let now_ns = socket::now_ns();
    if fault::window(rule, now_ns, maps::lease_until_ns()) == fault::Window::Open
        && !faults::is_chosen(slot, rule, &subject, stats)
    {
        return PASS;
    }
    match faults::decide(control.mode, slot, rule, stats, destination.protected, now_ns) {
        Decision::Act(_) => {
            atomics::add(&raw mut stats.delayed, 1);
            if rule.effect == EFFECT_RATE {
                atomics::add(&raw mut stats.bytes, u64::from(subject.bytes));
            }
            if packet.tcp && packet.payload {
                // SAFETY: the context is the helper's argument.
                maps::remember_queued(unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }, now_ns);
            }
            QUEUE
        }
        Decision::Pass | Decision::WouldAct => PASS,
    }
}

/// The packet as it would be without a redirect: to whom the agent has asked for. `None`: it goes to
/// something that stands in for the service, of which the service's faults are none.
#[inline(always)]
fn as_asked(ctx: &SkBuffContext, control: &Control, packet: Outgoing) -> Option<Outgoing> {
    if control.flags & FLAG_FALLBACKS == 0 || !packet.tcp {
        return Some(packet);
    }
    let skb = ctx.skb.skb;
    let [version] = bytes::<1>(skb, 0)?;
    let source = if version >> 4 == 4 {
        classify::mapped(u32::from_ne_bytes(bytes::<4>(skb, 12)?))
    } else {
        bytes::<16>(skb, 8)?
    };
    let key = AskedKey { address: source, port: u32::from(packet.source_port) };
    let Some(asked) = maps::asked(&key) else { return Some(packet) };
    if asked.refused != 0 {
        return None;
    }
    Some(Outgoing { address: asked.address, destination_port: asked.port as u16, ..packet })
}

/// What the packet is to fault rules.
#[inline(always)]
fn subject(ctx: &SkBuffContext, rule: &FaultRule, packet: Outgoing) -> Subject {
    let knocks = packet.tcp_flags & TCP_SYN_ACK == TCP_SYN;
    let payload = u32::from(packet.payload);
    let port = u32::from(packet.destination_port);
    let [high, low] = classify::halves(packet.address);
    let mut subject = Subject {
        connection: 0,
        destination: fault::destination(high, low, port),
        opened_ns: u64::MAX,
        call: 0,
        port,
        packet: (u32::from(knocks) * PACKET_CONNECT)
            | (payload * PACKET_PAYLOAD)
            | (u32::from(packet.tcp) * PACKET_TCP),
        // SAFETY: a field of the context.
        bytes: unsafe { (*ctx.skb.skb).len },
    };
    if rule.share_of == SHARE_OF_NOTHING && rule.new_only == 0 {
        return subject;
    }
    // SAFETY: the context is the helper's argument.
    subject.connection = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let known = socket_of(subject.connection, knocks);
    subject.call = known.call.wrapping_add(payload);
    if packet.tcp {
        subject.opened_ns = known.opened_ns;
    }
    subject
}

/// What is known of a socket. Of one whose SYN no gate has seen, it is not known when it was opened.
#[inline(always)]
fn socket_of(cookie: u64, knocks: bool) -> GateSocket {
    if let Some(known) = maps::gate_socket(cookie) {
        return GateSocket { opened_ns: known.opened_ns, call: known.call, pad: 0 };
    }
    let opened_ns = if knocks { socket::now_ns() } else { 0 };
    let known = GateSocket { opened_ns, call: 0, pad: 0 };
    maps::remember_gate_socket(cookie, known);
    known
}

/// Whether a packet belongs to a connection that the agent accepted: those are never touched. By
/// its port (see `packet::adopt`); on ports that callers have too, by what sockops remembered, and
/// before that by the answer to the SYN.
#[inline(always)]
fn accepted(ctx: &SkBuffContext, control: &Control, packet: Outgoing) -> bool {
    if u32::from(packet.source_port) < control.ephemeral_port_low {
        return true;
    }
    if packet.tcp_flags & TCP_SYN_ACK == TCP_SYN_ACK {
        return true;
    }
    // SAFETY: the context is the helper's argument.
    maps::was_accepted(unsafe { bpf_get_socket_cookie(ctx.as_ptr()) })
}

#[inline(always)]
pub(crate) fn outgoing(ctx: &SkBuffContext) -> Option<Outgoing> {
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
    let header_bytes = if tcp {
        let [data_offset] = bytes::<1>(skb, l4_offset + TCP_DATA_OFFSET)?;
        u32::from(data_offset >> 4) * 4
    } else {
        UDP_HEADER_BYTES
    };
    let payload_offset = l4_offset as u32 + header_bytes;
    // SAFETY: a field of the context.
    let payload_bytes = unsafe { (*skb).len }.saturating_sub(payload_offset);
    Some(Outgoing {
        address,
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        tcp,
        tcp_flags,
        payload: payload_bytes != 0,
        payload_offset,
        payload_bytes,
    })
}
