//! Real sockets found in the real kernel's list; arbitrary bytes through the parser.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::net::testing::{in_own_netns, is_root};

/// The socket with this local and peer address.
fn find(sockets: &[DiagSocket], local: SocketAddr, peer: SocketAddr) -> &DiagSocket {
    sockets
        .iter()
        .find(|s| s.local == local && s.peer == peer)
        .unwrap_or_else(|| panic!("{local} -> {peer} is not among {} sockets", sockets.len()))
}

fn inode_of(socket: &impl std::os::fd::AsRawFd) -> u32 {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    std::fs::metadata(path).unwrap().ino() as u32
}

#[test]
fn a_tcp_connection_is_found_with_what_happened_on_it() {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for host in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), IpAddr::from(mapped)] {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect((host, port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[1; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        server.write_all(&[1; 300]).unwrap();
        client.read_exact(&mut [0; 300]).unwrap();
        client.write_all(&[1; 77]).unwrap();
        std::thread::sleep(Duration::from_millis(60));

        let sockets = dump(None).unwrap();
        let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let found = find(&sockets, canonical(local), canonical(peer));
        assert_eq!((found.transport, found.state), (Transport::Tcp, SocketState::Established));
        assert_eq!(found.ipv6, local.is_ipv6());
        assert_eq!(found.inode, inode_of(&client));
        assert_eq!(found.uid, nix::unistd::geteuid().as_raw());
        assert_ne!(found.cookie, 0);
        let info = found.tcp.expect("tcp_info");
        assert_eq!((info.bytes_sent, info.bytes_received), (1077, 300));
        assert_eq!((info.bytes_acked, info.unacked), (1078, 0), "the SYN counts as one");
        assert!((50..10_000).contains(&info.last_data_sent_ms), "{info:?}");
        assert!(info.rtt_us > 0 && info.rto_us >= 200_000 && info.total_retransmits == 0);

        let other = find(&sockets, canonical(peer), canonical(local));
        assert_eq!(other.receive_queue, 77, "not read yet");
        drop(client);
        let sockets = dump(None).unwrap();
        let other = find(&sockets, canonical(peer), canonical(local));
        assert_eq!(other.state, SocketState::CloseWait);
        let listening = sockets.iter().find(|s| s.inode == inode_of(&listener)).unwrap();
        assert_eq!(listening.state, SocketState::Listen);
    }
}

#[test]
fn udp_sockets_are_found() {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
    b.connect(b.local_addr().unwrap()).unwrap();
    let sockets = dump(None).unwrap();
    let unconnected = sockets.iter().find(|s| s.inode == inode_of(&a)).expect("v4");
    assert_eq!((unconnected.transport, unconnected.state), (Transport::Udp, SocketState::Close));
    assert_eq!(unconnected.local, a.local_addr().unwrap());
    let connected = find(&sockets, b.local_addr().unwrap(), b.local_addr().unwrap());
    assert_eq!((connected.state, connected.ipv6), (SocketState::Established, true));
    assert_eq!(connected.tcp, None);
}

#[test]
fn the_cgroup_is_that_of_this_process() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let Some(mount) = mounts.lines().find_map(|l| {
        l.contains(" cgroup2 ").then(|| l.split(' ').nth(1)).flatten().map(str::to_owned)
    }) else {
        println!("the_cgroup_is_that_of_this_process: skipped, cgroup2 is not mounted");
        return;
    };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("0::")).expect("a cgroup2 path");
    let inode = std::fs::metadata(format!("{mount}{own}")).unwrap().ino();
    let sockets = dump(None).unwrap();
    let found = sockets.iter().find(|s| s.inode == inode_of(&socket)).unwrap();
    assert_eq!(found.cgroup_id, Some(inode));
}

#[test]
fn root_another_namespace_shows_its_own_sockets() {
    if !is_root("root_another_namespace_shows_its_own_sockets") {
        return;
    }
    let (namespace, socket) = in_own_netns(|| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (File::open("/proc/thread-self/ns/net").unwrap(), socket)
    });
    let there = dump_in_netns(namespace.as_fd(), None).unwrap();
    assert_eq!(there.len(), 1, "{there:?}");
    assert_eq!(there[0].local, socket.local_addr().unwrap());
    assert_eq!(there[0].inode, inode_of(&socket));
    assert!(dump(None).unwrap().iter().all(|s| s.inode != inode_of(&socket)), "not here");
    let not_a_namespace = File::open("/proc/self/status").unwrap();
    let error = dump_in_netns(not_a_namespace.as_fd(), None).unwrap_err();
    assert!(matches!(error, DiagError::Namespace(_)), "{error}");
}

#[test]
fn root_a_wrong_map_is_refused() {
    if !is_root("root_a_wrong_map_is_refused") {
        return;
    }
    let file = File::open("/dev/null").unwrap();
    let error = dump(Some(file.as_fd())).unwrap_err();
    assert!(matches!(error, DiagError::Netlink { what: "TCP", .. }), "{error}");
}

#[test]
fn storage_is_taken_out_of_its_nests() {
    let mut message = vec![0; 72];
    message[0] = libc::AF_INET as u8;
    // { STORAGES: { STORAGE: { PAD, MAP_ID: 5, MAP_VALUE: 9 bytes } } }
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let inner = [attribute(1, &[]), attribute(2, &5_u32.to_ne_bytes()), attribute(3, b"raw value")];
    message.extend(attribute(20, &attribute(1, &inner.concat())));
    let socket = parse::socket(Transport::Tcp, &message).unwrap();
    assert_eq!(socket.storage.as_deref(), Some(&b"raw value"[..]));
    // As the kernel sends it for a socket without a value in the map.
    message.truncate(72);
    message.extend(attribute(20, &[]));
    assert_eq!(parse::socket(Transport::Tcp, &message).unwrap().storage, None);
}

proptest! {
    #[test]
    fn the_parser_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), v6: bool) {
        // Mostly garbage, often with a first byte that lets the parser go on.
        if let Some(first) = bytes.first_mut().filter(|b| **b < 240) {
            *first = if v6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 };
        }
        for transport in [Transport::Tcp, Transport::Udp] {
            if let Some(socket) = parse::socket(transport, &bytes) {
                prop_assert!(bytes.len() >= 72);
                prop_assert!(socket.storage.is_none_or(|value| value.len() < bytes.len()));
            }
        }
        prop_assert_eq!(TcpInfo::parse(&bytes).is_some(), bytes.len() >= 104);
    }

    #[test]
    fn a_message_cut_anywhere_never_panics(cut in 0..400_usize) {
        let mut message = vec![0; 400];
        message[0] = libc::AF_INET as u8;
        message[72..76].copy_from_slice(&[200, 0, 2, 0]);
        message[272..276].copy_from_slice(&[12, 0, 21, 0]);
        let socket = parse::socket(Transport::Tcp, &message[..cut]);
        prop_assert_eq!(socket.is_some(), cut >= 72);
        prop_assert_eq!(socket.and_then(|s| s.cgroup_id).is_some(), cut >= 284);
    }
}
