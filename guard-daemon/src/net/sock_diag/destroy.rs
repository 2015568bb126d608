//! Ends single TCP sockets (SOCK_DESTROY): the owner gets ECONNABORTED, the peer an RST. It ends
//! none but the one it is told: addresses, ports and cookie must all be those of that socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::{DiagError, DiagSocket, Transport, in_netns};
use crate::net::netlink::{ACK, Builder, Connection, REQUEST};

/// `SOCK_DESTROY`.
const DESTROY: u16 = 21;
/// `INET_DIAG_NOCOOKIE`, for a question about no socket.
const NO_COOKIE: u64 = u64::MAX;

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// It was ended.
    Ended,
    /// It was gone already.
    Gone,
}

/// Ends a TCP socket of this thread's network namespace.
pub fn destroy(socket: &DiagSocket) -> Result<Destroyed, DiagError> {
    if socket.transport != Transport::Tcp {
        return Ok(Destroyed::Gone);
    }
    ask(socket.ipv6, socket.local, socket.peer, socket.device_index, socket.cookie)
}

/// The same in another network namespace (an open `/proc/PID/ns/net`).
pub fn destroy_in_netns(
    netns: BorrowedFd<'_>,
    socket: &DiagSocket,
) -> Result<Destroyed, DiagError> {
    in_netns(netns, || destroy(socket))
}

/// Whether this kernel ends sockets at all: asked about one that cannot exist.
pub fn can_destroy() -> Result<(), DiagError> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    ask(false, nowhere, nowhere, 0, NO_COOKIE - 1).map(|_| ())
}

fn ask(
    ipv6: bool,
    local: SocketAddr,
    peer: SocketAddr,
    device_index: u32,
    cookie: u64,
) -> Result<Destroyed, DiagError> {
    let failed = |source| DiagError::Destroy { source };
    let mut connection =
        Connection::open(netlink_sys::protocols::NETLINK_SOCK_DIAG, "the end of a socket")
            .map_err(failed)?;
    let bytes = request(ipv6, local, peer, device_index, cookie);
    let message = Builder::new(DESTROY, REQUEST | ACK).raw(&bytes);
    match connection.request(message, |_| Ok(())) {
        Ok(()) => Ok(Destroyed::Ended),
        // ENOENT: no such socket any more; ESTALE: another one has its addresses.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {
            Ok(Destroyed::Gone)
        }
        Err(e) => Err(failed(e)),
    }
}

/// `struct inet_diag_req_v2` for one socket.
fn request(
    ipv6: bool,
    local: SocketAddr,
    peer: SocketAddr,
    device_index: u32,
    cookie: u64,
) -> Vec<u8> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    let mut bytes = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    // Whatever its state: the cookie says which one is meant.
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&peer.port().to_be_bytes());
    bytes.extend_from_slice(&address(ipv6, local.ip()));
    bytes.extend_from_slice(&address(ipv6, peer.ip()));
    bytes.extend_from_slice(&device_index.to_ne_bytes());
    // Two words, the low one first whatever the byte order.
    bytes.extend_from_slice(&(cookie as u32).to_ne_bytes());
    bytes.extend_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
    bytes
}

/// An address in the form of the socket's family: an IPv6 socket has IPv4 peers as mapped ones.
fn address(ipv6: bool, ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) if ipv6 => ip.to_ipv6_mapped().octets(),
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::net::sock_diag::{SocketState, dump};

    fn root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// The connecting end of a connection to this listener, and the socket as it is listed.
    fn connection(listener: &TcpListener) -> (TcpStream, TcpStream, DiagSocket) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let local = client.local_addr().unwrap();
        let canonical = SocketAddr::new(local.ip().to_canonical(), local.port());
        let found = dump(None)
            .unwrap()
            .into_iter()
            .find(|socket| socket.local == canonical && socket.state == SocketState::Established);
        (client, server, found.unwrap())
    }

    #[test]
    fn one_connection_ends_and_its_neighbour_does_not() {
        if !root() {
            eprintln!("skipped: not root");
            return;
        }
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let (mut ended, mut peer, socket) = connection(&listener);
            let (mut other, _other_peer, _) = connection(&listener);
            assert_eq!(destroy(&socket).unwrap(), Destroyed::Ended);
            let error = ended.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{address}");
            assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(destroy(&socket).unwrap(), Destroyed::Gone);
            other.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_peer_ends_too() {
        if !root() {
            eprintln!("skipped: not root");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mapped: SocketAddr =
            format!("[::ffff:127.0.0.1]:{}", listener.local_addr().unwrap().port())
                .parse()
                .unwrap();
        let mut client = TcpStream::connect(mapped).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let local = client.local_addr().unwrap();
        let canonical = SocketAddr::new(local.ip().to_canonical(), local.port());
        let sockets = dump(None).unwrap();
        let socket =
            sockets.iter().find(|socket| socket.local == canonical && socket.ipv6).unwrap();
        assert_eq!(destroy(socket).unwrap(), Destroyed::Ended);
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_socket_with_another_cookie_stays() {
        if !root() {
            eprintln!("skipped: not root");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut client, _peer, socket) = connection(&listener);
        let other = DiagSocket { cookie: socket.cookie + 1_000_000, ..socket };
        assert_eq!(destroy(&other).unwrap(), Destroyed::Gone);
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn this_kernel_ends_sockets() {
        if root() {
            can_destroy().unwrap();
        }
    }
}
