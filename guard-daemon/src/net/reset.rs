//! Sends TCP resets to agents on this host, as if their peer had sent them: what no hook of the kernel
//! can do itself. It answers packets of faulted connections only, and sends nothing to anybody else:
//! the destination is the agent's own address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use etherparse::PacketBuilder;
use guard_common::abi::fault::ResetOrder;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

/// As most hosts send.
const HOPS: u8 = 64;

/// Sends resets; its sockets are opened at the first order of their family.
#[derive(Debug, Default)]
pub struct Resetter {
    ipv4: Option<OwnedFd>,
    ipv6: Option<OwnedFd>,
}

/// Why a reset could not be sent.
#[derive(Debug, thiserror::Error)]
enum ResetError {
    #[error("the order says IP version {0}, with an address of another")]
    Family(u32),
    #[error("the packet cannot be built: {0}")]
    Build(#[from] etherparse::err::packet::BuildWriteError),
    #[error("{0} (guardd needs CAP_NET_RAW)")]
    System(#[from] nix::errno::Errno),
}

impl Resetter {
    /// Resets a connection. The hooks give the order again if TCP sends its packet again, so what
    /// fails is only logged.
    pub fn obey(&mut self, order: &ResetOrder) {
        if let Err(error) = self.send(order) {
            tracing::warn!(fault = order.fault, %error, "a connection could not be reset");
        }
    }

    fn send(&mut self, order: &ResetOrder) -> Result<(), ResetError> {
        let (local, peer) = (address(order, order.local)?, address(order, order.peer)?);
        let packet = packet(order, local, peer)?;
        let to = SockaddrStorage::from(match local {
            IpAddr::V4(local) => SocketAddr::V4(SocketAddrV4::new(local, 0)),
            IpAddr::V6(local) => SocketAddr::V6(SocketAddrV6::new(local, 0, 0, 0)),
        });
        let (slot, family) = match local {
            IpAddr::V4(_) => (&mut self.ipv4, AddressFamily::Inet),
            IpAddr::V6(_) => (&mut self.ipv6, AddressFamily::Inet6),
        };
        let socket = match slot {
            Some(socket) => socket,
            // With this protocol the packet brings its own IP header, in both families.
            None => slot.insert(socket(
                family,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::Raw,
            )?),
        };
        sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// The address in one of an order's fields.
fn address(order: &ResetOrder, bytes: [u8; 16]) -> Result<IpAddr, ResetError> {
    let address = Ipv6Addr::from(bytes);
    match (order.ip_version, address.to_ipv4_mapped()) {
        (4, Some(address)) => Ok(IpAddr::V4(address)),
        (6, None) => Ok(IpAddr::V6(address)),
        (version, _) => Err(ResetError::Family(version)),
    }
}

/// What the peer would send.
fn packet(order: &ResetOrder, local: IpAddr, peer: IpAddr) -> Result<Vec<u8>, ResetError> {
    let builder = match (peer, local) {
        (IpAddr::V4(peer), IpAddr::V4(local)) => {
            PacketBuilder::ipv4(Ipv4Addr::octets(&peer), Ipv4Addr::octets(&local), HOPS)
        }
        (IpAddr::V6(peer), IpAddr::V6(local)) => {
            PacketBuilder::ipv6(peer.octets(), local.octets(), HOPS)
        }
        _ => return Err(ResetError::Family(order.ip_version)),
    };
    let (from, to) = (order.peer_port as u16, order.local_port as u16);
    // A window of 0, as Linux sends it.
    let builder = builder.tcp(from, to, order.sequence, 0).rst();
    let mut packet = Vec::with_capacity(builder.size(0));
    builder.write(&mut packet, &[])?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketHeaders, TransportHeader};

    use super::*;

    fn order(local: &str, peer: &str) -> ResetOrder {
        let bytes = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        ResetOrder {
            local: bytes(local),
            peer: bytes(peer),
            local_port: 40_000,
            peer_port: 443,
            sequence: 0xfedc_ba98,
            ip_version: if local.contains(':') { 6 } else { 4 },
            ..ResetOrder::default()
        }
    }

    #[test]
    fn it_looks_as_if_the_peer_had_sent_it() {
        for (local, peer) in [("127.0.0.1", "127.0.0.9"), ("::1", "2001:db8::1")] {
            let order = order(local, peer);
            let (local, peer) =
                (address(&order, order.local).unwrap(), address(&order, order.peer).unwrap());
            let packet = packet(&order, local, peer).unwrap();
            let headers = PacketHeaders::from_ip_slice(&packet).unwrap();
            let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("{packet:?}") };
            assert_eq!((tcp.source_port, tcp.destination_port), (443, 40_000));
            assert_eq!(tcp.sequence_number, 0xfedc_ba98);
            assert!(tcp.rst && !tcp.ack && !tcp.syn && !tcp.fin);
        }
    }

    #[test]
    fn an_order_that_contradicts_itself_sends_nothing() {
        let wrong = ResetOrder { ip_version: 6, ..order("127.0.0.1", "127.0.0.9") };
        assert!(matches!(Resetter::default().send(&wrong), Err(ResetError::Family(6))));
    }
}
