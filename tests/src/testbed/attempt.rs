//! Ways to a destination that somebody might take to get around guard: one function for each, tried
//! by `testbed-probe` from inside and from outside a bulkhead. It reaches loopback alone, and says
//! the errno that it got as it is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, connect, connect_unspec, sendto, socket_with};

/// `IPPROTO_MPTCP`.
const MPTCP: u32 = 262;
/// `MSG_FASTOPEN`.
const FASTOPEN: u32 = 0x2000_0000;
const PAYLOAD: &[u8] = b"x";

/// Ways for streams.
pub const STREAM_WAYS: [&str; 12] = [
    "connect",
    "nonblocking",
    "fastopen",
    "i386_fastopen_connect",
    "mptcp",
    "mapped",
    "bind_first",
    "mark",
    "unspec",
    "uring",
    "i386",
    "other_thread",
];

/// Ways for datagrams.
pub const DATAGRAM_WAYS: [&str; 7] = [
    "sendto",
    "udp_connect",
    "udp_named",
    "udp_pktinfo",
    "udp_connected_tos",
    "udp_mapped",
    "udp_uring",
];

/// A socket by its numbers, and what became of it.
pub fn socket(family: u16, kind: u32, protocol: u32) -> io::Result<OwnedFd> {
    let protocol = protocol.try_into().ok().map(Protocol::from_raw);
    let family = AddressFamily::from_raw(family);
    Ok(socket_with(family, SocketType::from_raw(kind), SocketFlags::CLOEXEC, protocol)?)
}

fn stream(address: SocketAddr, protocol: u32) -> io::Result<OwnedFd> {
    socket(if address.is_ipv4() { 2 } else { 10 }, 1, protocol)
}

/// Goes one way to an IPv4 address. An [`io::Error`] is what the kernel said.
pub fn attempt(way: &str, to: SocketAddr) -> Result<()> {
    let SocketAddr::V4(to_v4) = to else { bail!("{to} is not an IPv4 address") };
    let mapped: SocketAddr = SocketAddrV6::new(to_v4.ip().to_ipv6_mapped(), to.port(), 0, 0).into();
    match way {
        "connect" => Ok(connect(stream(to, 0)?, &to).map_err(io::Error::from)?),
        "nonblocking" => nonblocking(to),
        "fastopen" => {
            let flags = SendFlags::from_bits_retain(FASTOPEN);
            sendto(stream(to, 0)?, PAYLOAD, flags, &to).map_err(io::Error::from)?;
            Ok(())
        }
        "mptcp" => Ok(connect(stream(to, MPTCP)?, &to).map_err(io::Error::from)?),
        "mapped" => Ok(connect(stream(mapped, 0)?, &mapped).map_err(io::Error::from)?),
        "bind_first" => {
            let socket = stream(to, 0)?;
            bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(io::Error::from)?;
            Ok(connect(socket, &to).map_err(io::Error::from)?)
        }
        "mark" => {
            let socket = stream(to, 0)?;
            setsockopt(&socket, sockopt::Mark, &7).map_err(io::Error::from)?;
            Ok(connect(socket, &to).map_err(io::Error::from)?)
        }
        "unspec" => {
            let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let socket = stream(to, 0)?;
            connect(&socket, &elsewhere.local_addr()?).map_err(io::Error::from)?;
            connect_unspec(&socket).map_err(io::Error::from)?;
            Ok(connect(socket, &to).map_err(io::Error::from)?)
        }
        "uring" => Ok(tokio_uring::start(tokio_uring::net::TcpStream::connect(to)).map(drop)?),
        "i386" => i386(to, false),
        "i386_fastopen_connect" => i386(to, true),
        "other_thread" => {
            let connected = std::thread::spawn(move || TcpStream::connect(to)).join();
            Ok(connected.map_err(|_| io::Error::other("the thread panicked"))?.map(drop)?)
        }
        "netns" => netns(to),
        "sendto" => sent(loopback()?.send_to(PAYLOAD, to)),
        "udp_connect" => {
            let socket = loopback()?;
            socket.connect(to)?;
            sent(socket.send(PAYLOAD))
        }
        "udp_named" => {
            let (socket, elsewhere) = (loopback()?, loopback()?);
            socket.connect(elsewhere.local_addr()?)?;
            // std sends where it is connected to; the system call takes both.
            sent(Ok(sendto(&socket, PAYLOAD, SendFlags::empty(), &to).map_err(io::Error::from)?))
        }
        "udp_pktinfo" => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            with_control(&loopback()?, ControlMessage::Ipv4PacketInfo(&info), Some(to))
        }
        "udp_connected_tos" => {
            let socket = loopback()?;
            socket.connect(to)?;
            with_control(&socket, ControlMessage::Ipv4Tos(&0), None)
        }
        "udp_mapped" => sent(UdpSocket::bind("[::]:0")?.send_to(PAYLOAD, mapped)),
        "udp_uring" => tokio_uring::start(async {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let socket = tokio_uring::net::UdpSocket::bind(at).await?;
            sent(socket.send_to(PAYLOAD.to_vec(), to).await.0)
        }),
        _ => bail!("unknown way {way}"),
    }
}

fn loopback() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}

fn sent(result: io::Result<usize>) -> Result<()> {
    ensure!(result? == PAYLOAD.len(), "sent in part");
    Ok(())
}

fn nonblocking(to: SocketAddr) -> Result<()> {
    let socket = TcpStream::from(stream(to, 0)?);
    socket.set_nonblocking(true)?;
    match connect(&socket, &to) {
        Err(rustix::io::Errno::INPROGRESS) => {
            poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None).map_err(io::Error::from)?;
            Ok(socket.take_error()?.map_or(Ok(()), Err)?)
        }
        other => Ok(other.map_err(io::Error::from)?),
    }
}

fn with_control(
    socket: &UdpSocket,
    control: ControlMessage<'_>,
    to: Option<SocketAddr>,
) -> Result<()> {
    let to = match to {
        Some(SocketAddr::V4(to)) => Some(SockaddrIn::from(to)),
        _ => None,
    };
    let payload = [io::IoSlice::new(PAYLOAD)];
    let result = sendmsg(socket.as_raw_fd(), &payload, &[control], MsgFlags::empty(), to.as_ref());
    sent(result.map_err(io::Error::from))
}

/// From another network namespace, that this thread makes and ends in: nobody listens there.
fn netns(to: SocketAddr) -> Result<()> {
    let connected = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        TcpStream::connect(to)
    });
    Ok(connected.join().map_err(|_| io::Error::other("the thread panicked"))?.map(drop)?)
}

/// By the system calls of 32-bit programs: a program of a few instructions, whose exit code is the
/// errno.
fn i386(to: SocketAddr, fast_open: bool) -> Result<()> {
    let SocketAddr::V4(to) = to else { bail!("not an IPv4 address") };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("i386");
    std::fs::write(&path, i386_program(to.ip().octets(), to.port(), fast_open))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    match Command::new(&path).status()?.code().context("the program was killed")? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno).into()),
    }
}

/// An executable for i386: `exit(-connect(socket(AF_INET, SOCK_STREAM, 0), address, 16))`, with
/// `fast_open` after `setsockopt(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)`: no library here sets that
/// option.
fn i386_program(address: [u8; 4], port: u16, fast_open: bool) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mut code = vec![
        0xb8, 0x67, 0x01, 0, 0, // mov eax, 359 (socket)
        0xbb, 2, 0, 0, 0, // mov ebx, AF_INET
        0xb9, 1, 0, 0, 0, // mov ecx, SOCK_STREAM
        0x31, 0xd2, // xor edx, edx
        0xcd, 0x80, // int 0x80
        0x89, 0xc3, // mov ebx, eax
    ];
    let mut option_at = None;
    if fast_open {
        code.extend_from_slice(&[
            0xb9, 6, 0, 0, 0, // mov ecx, IPPROTO_TCP
            0xba, 30, 0, 0, 0, // mov edx, TCP_FASTOPEN_CONNECT
            0xbe, 0, 0, 0, 0, // mov esi, the option below
            0xbf, 4, 0, 0, 0, // mov edi, 4
            0xb8, 0x6e, 0x01, 0, 0, // mov eax, 366 (setsockopt)
            0xcd, 0x80, // int 0x80
        ]);
        option_at = Some(code.len() - 16);
    }
    let address_at = code.len() + 1;
    code.extend_from_slice(&[
        0xb9, 0, 0, 0, 0, // mov ecx, the address below
        0xba, 16, 0, 0, 0, // mov edx, 16
        0xb8, 0x6a, 0x01, 0, 0, // mov eax, 362 (connect)
        0xcd, 0x80, // int 0x80
        0xf7, 0xd8, // neg eax
        0x89, 0xc3, // mov ebx, eax
        0xb8, 1, 0, 0, 0, // mov eax, 1 (exit)
        0xcd, 0x80, // int 0x80
    ]);
    let data = BASE + HEADERS + code.len() as u32;
    code[address_at..address_at + 4].copy_from_slice(&data.to_le_bytes());
    if let Some(at) = option_at {
        code[at..at + 4].copy_from_slice(&(data + 16).to_le_bytes());
    }
    code.extend_from_slice(&2_u16.to_le_bytes());
    code.extend_from_slice(&port.to_be_bytes());
    code.extend_from_slice(&address);
    code.extend_from_slice(&[0; 8]);
    code.extend_from_slice(&1_u32.to_le_bytes());
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1];
    file.resize(16, 0);
    // Executable, Intel 80386.
    for half in [2_u16, 3] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    for word in [1, BASE + HEADERS, 52, 0, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    // Sizes: this header, one program header; no sections.
    for half in [52_u16, 32, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let size = HEADERS + code.len() as u32;
    // Load all of the file, readable and executable.
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&code);
    file
}
