//! Reads IP, TCP and UDP headers of a packet, as far as guard needs them.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;

use crate::classify::{self, Address};

const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;
const IPV4_HEADER_BYTES: usize = 20;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV6_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
/// IPv6 extension headers that are looked behind; packets with more are odd.
const MAX_EXTENSION_HEADERS: usize = 3;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// FIN bit of the TCP flags.
pub(crate) const TCP_FIN: u8 = 1;
/// SYN bit of the TCP flags.
pub(crate) const TCP_SYN: u8 = 2;
/// SYN and ACK bits: an agent's own SYN has only the first.
pub(crate) const TCP_SYN_ACK: u8 = 2 + 16;
/// RST bit of the TCP flags.
pub(crate) const TCP_RST: u8 = 4;

/// Where the parts of a packet are.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    /// Offset of the TCP or UDP header from the IP header.
    pub(crate) l4_offset: u32,
    /// Offset of the payload from the IP header.
    pub(crate) payload_offset: u32,
    /// Length of the payload (of all segments, if the stack has not cut it yet).
    pub(crate) payload_bytes: u32,
    /// TCP flags; 0 for UDP.
    pub(crate) tcp_flags: u8,
    /// Source port, host order.
    pub(crate) source_port: u16,
    /// Destination port, host order.
    pub(crate) destination_port: u16,
}

/// `N` bytes at `offset` from the IP header.
///
/// Through the helper, not by direct access: the compiler may extend the packet's end pointer to 64
/// bits by an instruction that makes it a number to the verifier, and payload may not be linear.
#[inline(always)]
pub(crate) fn bytes<const N: usize>(skb: *const __sk_buff, offset: usize) -> Option<[u8; N]> {
    // Not zeroed first: beyond 16 bytes that is a call of a byte-wise loop, which took longer than
    // all the rest of a packet's visit.
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the helper checks the bounds and writes all bytes, zeros if it fails.
    unsafe {
        let failed =
            bpf_skb_load_bytes(skb.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32);
        (failed == 0).then_some(bytes.assume_init())
    }
}

/// Reads the headers of a TCP or UDP packet; `None` for anything else or anything odd.
#[inline(always)]
pub(crate) fn parse(skb: *const __sk_buff) -> Option<Headers> {
    // SAFETY: a field of the context.
    let (protocol, length) = unsafe { ((*skb).protocol, (*skb).len) };
    // Nearly every packet: TCP over IPv4 without options, both headers in one call.
    if protocol == ETH_P_IP && length as usize >= IPV4_HEADER_BYTES + TCP_HEADER_BYTES {
        let both = bytes::<{ IPV4_HEADER_BYTES + TCP_HEADER_BYTES }>(skb, 0)?;
        let whole = u16::from_be_bytes([both[6], both[7]]) & FRAGMENT_OFFSET == 0;
        if both[0] & 0xf == 5 && both[9] == IPPROTO_TCP && whole {
            let header_bytes = usize::from(both[32] >> 4) * 4;
            let ports = [both[20], both[21], both[22], both[23]];
            return headers(length, IPV4_HEADER_BYTES, header_bytes, both[33], ports);
        }
    }
    let (l4_offset, l4_protocol) = match protocol {
        ETH_P_IP => ipv4(skb)?,
        ETH_P_IPV6 => ipv6(skb)?,
        _ => return None,
    };
    let (header_bytes, tcp_flags, ports) = match l4_protocol {
        IPPROTO_TCP => {
            let tcp = bytes::<TCP_HEADER_BYTES>(skb, l4_offset)?;
            (usize::from(tcp[12] >> 4) * 4, tcp[13], [tcp[0], tcp[1], tcp[2], tcp[3]])
        }
        IPPROTO_UDP => {
            let udp = bytes::<UDP_HEADER_BYTES>(skb, l4_offset)?;
            (UDP_HEADER_BYTES, 0, [udp[0], udp[1], udp[2], udp[3]])
        }
        _ => return None,
    };
    headers(length, l4_offset, header_bytes, tcp_flags, ports)
}

#[inline(always)]
fn headers(
    length: u32,
    l4_offset: usize,
    header_bytes: usize,
    tcp_flags: u8,
    ports: [u8; 4],
) -> Option<Headers> {
    let payload_offset = (l4_offset + header_bytes) as u32;
    Some(Headers {
        l4_offset: l4_offset as u32,
        payload_offset,
        payload_bytes: length.checked_sub(payload_offset)?,
        tcp_flags,
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        destination_port: u16::from_be_bytes([ports[2], ports[3]]),
    })
}

#[inline(always)]
fn ipv4(skb: *const __sk_buff) -> Option<(usize, u8)> {
    let header = bytes::<IPV4_HEADER_BYTES>(skb, 0)?;
    if u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_OFFSET != 0 {
        return None;
    }
    Some((usize::from(header[0] & 0xf) * 4, header[9]))
}

#[inline(always)]
fn ipv6(skb: *const __sk_buff) -> Option<(usize, u8)> {
    let mut next = bytes::<IPV6_HEADER_BYTES>(skb, 0)?[6];
    let mut offset = IPV6_HEADER_BYTES;
    for _ in 0..MAX_EXTENSION_HEADERS {
        match next {
            IPPROTO_TCP | IPPROTO_UDP => return Some((offset, next)),
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => {
                let extension = bytes::<2>(skb, offset)?;
                next = extension[0];
                offset += (usize::from(extension[1]) + 1) * 8;
            }
            // A fragment header: only the first fragment has what follows.
            44 => {
                let fragment = bytes::<4>(skb, offset)?;
                if u16::from_be_bytes([fragment[2], fragment[3]]) & 0xfff8 != 0 {
                    return None;
                }
                next = fragment[0];
                offset += 8;
            }
            _ => return None,
        }
    }
    matches!(next, IPPROTO_TCP | IPPROTO_UDP).then_some((offset, next))
}

/// Source (`false`) or destination (`true`) address.
#[inline(always)]
pub(crate) fn address(skb: *const __sk_buff, destination: bool) -> Option<Address> {
    // SAFETY: a field of the context.
    if unsafe { (*skb).protocol } == ETH_P_IP {
        let word = bytes::<4>(skb, if destination { 16 } else { 12 })?;
        Some(classify::mapped(u32::from_ne_bytes(word)))
    } else {
        bytes::<16>(skb, if destination { 24 } else { 8 })
    }
}
