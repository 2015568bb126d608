//! Of which connection a packet is, from its first bytes. A packet that is not understood is of none.

use guard_common::abi::pacing::FlowKey;

/// Bytes that are looked at: an IPv4 header with all options, and the ports behind it.
pub(super) const HEADER_BYTES: u8 = 64;

const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP: u8 = 6;

/// The connection of a TCP packet that this host sends.
pub(super) fn of(packet: &[u8]) -> Option<FlowKey> {
    let first = *packet.first()?;
    let (peer, protocol, header_bytes) = match first >> 4 {
        4 => {
            let address: [u8; 4] = *packet.get(16..IPV4_BYTES)?.first_chunk()?;
            let mapped = std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets();
            (mapped, *packet.get(9)?, usize::from(first & 0xf) * 4)
        }
        6 => (*packet.get(24..IPV6_BYTES)?.first_chunk()?, *packet.get(6)?, IPV6_BYTES),
        _ => return None,
    };
    let ports: [u8; 4] = *packet.get(header_bytes..)?.first_chunk()?;
    (protocol == TCP).then(|| FlowKey {
        peer,
        peer_port: u32::from(u16::from_be_bytes([ports[2], ports[3]])),
        local_port: u32::from(u16::from_be_bytes([ports[0], ports[1]])),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_families_are_read_as_the_kernel_reads_them() {
        let mut packet = [0_u8; 64];
        (packet[0], packet[9]) = (0x46, TCP);
        packet[16..20].copy_from_slice(&[10, 1, 2, 3]);
        packet[24..28].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
        let flow = of(&packet).expect("IPv4 with options");
        assert_eq!((flow.local_port, flow.peer_port), (40_000, 443));
        assert_eq!(flow.peer[10..], [0xff, 0xff, 10, 1, 2, 3]);
        let mut packet = [0_u8; 64];
        (packet[0], packet[6], packet[39]) = (0x60, TCP, 1);
        packet[40..44].copy_from_slice(&[0x9c, 0x40, 0x1f, 0x90]);
        let flow = of(&packet).expect("IPv6");
        assert_eq!((flow.local_port, flow.peer_port, flow.peer[15]), (40_000, 8080, 1));
        packet[6] = 17;
        assert_eq!(of(&packet), None, "UDP");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _read = of(&bytes);
        }
    }
}
