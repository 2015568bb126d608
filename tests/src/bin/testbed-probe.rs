//! `testbed-probe`: sockets by hand, one command per line, one JSON line back. For what the agent
//! does not do: IPv4-mapped IPv6 sockets, unconnected datagrams, volleys of numbered datagrams.
//! It never hides an errno, never retries, and reaches loopback and the tests' namespaces only.

use std::collections::BTreeMap;
use std::io::{self, Read, Write, stdin, stdout};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use testbed::attempt;
use testbed::server::is_ours;
use testbed::sockopts::Options;

/// Bytes of one numbered datagram; the number comes first, big-endian.
const DATAGRAM_BYTES: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: probe\r\ncontent-length: 0\r\n\r\n";
const OLD_REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Patience with an answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Probe {
    tcp: BTreeMap<String, TcpStream>,
    udp: BTreeMap<String, (UdpSocket, u32)>,
    listeners: BTreeMap<String, TcpListener>,
    raw: BTreeMap<String, OwnedFd>,
    /// Processes that hold a connection too.
    children: BTreeMap<String, Child>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            // Gone already is as good.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

fn main() -> Result<()> {
    let mut probe = Probe::default();
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = Instant::now();
        let mut reply = match probe.command(&words) {
            Ok(reply) => reply,
            Err(error) => match error.downcast_ref::<io::Error>() {
                Some(error) => json!({"error": name(error)}),
                None => return Err(error),
            },
        };
        reply["us"] = json!(start.elapsed().as_nanos() as f64 / 1000.0);
        writeln!(stdout(), "{reply}")?;
    }
    Ok(())
}

/// `ECONNREFUSED`, `timeout` (nothing came in time) or `eof`.
fn name(error: &io::Error) -> String {
    match (error.raw_os_error(), error.kind()) {
        (Some(errno), _) if errno == Errno::EAGAIN as i32 => "timeout".to_owned(),
        (Some(errno), _) => format!("{:?}", Errno::from_raw(errno)),
        (None, io::ErrorKind::UnexpectedEof) => "eof".to_owned(),
        (None, kind) => format!("{kind:?}"),
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let address: SocketAddr = text.parse().with_context(|| format!("`{text}`: no ADDRESS:PORT"))?;
    let plain = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address.ip(), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    let plain = SocketAddr::new(plain, address.port());
    ensure!(is_ours(plain) || plain.ip().is_unspecified(), "`{text}` is not ours");
    Ok(address)
}

/// A descriptor that somebody sends to a Unix socket.
fn received(path: &str) -> Result<OwnedFd> {
    let listener = UnixListener::bind(path)?;
    let (stream, _) = listener.accept()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).map_err(io::Error::from)?;
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    rights.context("no descriptor came")
}

impl Probe {
    fn command(&mut self, words: &[&str]) -> Result<Value> {
        match *words {
            ["tcp", name, to] => self.keep(name, TcpStream::connect(address(to)?)?),
            ["tcp", name, to, options] => {
                let options: Options = serde_json::from_str(options)?;
                self.keep(name, options.connect(address(to)?)?)
            }
            ["listen", name, at] => {
                let listener = TcpListener::bind(address(at)?)?;
                let local = listener.local_addr()?.to_string();
                self.listeners.insert(name.to_owned(), listener);
                Ok(json!({"local": local}))
            }
            ["accept", name, listener] => {
                let listener = self.listeners.get(listener).context("no such listener")?;
                let (stream, _) = listener.accept()?;
                self.keep(name, stream)
            }
            ["options", name] => Ok(json!(Options::of(self.stream(name)?)?)),
            ["options", name, options] => {
                serde_json::from_str::<Options>(options)?.set(self.stream(name)?)?;
                Ok(json!({}))
            }
            ["peername", name] => Ok(json!({"peer": self.stream(name)?.peer_addr()?.to_string()})),
            ["send", name, bytes] => {
                self.stream(name)?.write_all(&vec![b'x'; bytes.parse()?])?;
                Ok(json!({}))
            }
            ["read", name] => {
                let count = self.stream(name)?.read(&mut [0; 16_384])?;
                Ok(json!({"received": count}))
            }
            ["http", name] => self.http(name, REQUEST),
            ["http10", name] => self.http(name, OLD_REQUEST),
            ["udp", name, at] => {
                let socket = UdpSocket::bind(address(at)?)?;
                let local = socket.local_addr()?.to_string();
                self.udp.insert(name.to_owned(), (socket, 0));
                Ok(json!({"local": local}))
            }
            ["peer", name, to] => {
                self.udp(name)?.0.connect(address(to)?)?;
                Ok(json!({}))
            }
            ["volley", name, count] => self.volley(name, count.parse()?, None),
            ["volley", name, count, to] => self.volley(name, count.parse()?, Some(address(to)?)),
            ["drain", name, count, quiet_ms] => {
                let quiet = Duration::from_millis(quiet_ms.parse()?);
                self.drain(name, count.parse()?, quiet)
            }
            // A process that holds the connection too, as a forked child does.
            ["lend", name] => {
                let stream = self.tcp.get(name).with_context(|| format!("no connection {name}"))?;
                let copy = OwnedFd::from(stream.try_clone()?);
                let child = Command::new("sleep").arg("60").stdin(copy).spawn()?;
                let pid = child.id();
                self.children.insert(name.to_owned(), child);
                Ok(json!({"pid": pid}))
            }
            ["take_back", name] => {
                let child = self.children.remove(name);
                let mut child = child.with_context(|| format!("nobody has {name}"))?;
                child.kill()?;
                child.wait()?;
                Ok(json!({}))
            }
            ["try", way, to] => attempt::attempt(way, address(to)?).map(|()| json!({})),
            // Kept open under this name.
            ["socket", name, family, kind, protocol] => {
                let socket = attempt::socket(family.parse()?, kind.parse()?, protocol.parse()?)?;
                self.raw.insert(name.to_owned(), socket);
                Ok(json!({}))
            }
            ["receive", name, path] => {
                let socket = received(path)?;
                self.tcp.insert(name.to_owned(), TcpStream::from(socket));
                Ok(json!({}))
            }
            ["close", name] => {
                let known = self.tcp.remove(name).is_some()
                    | self.udp.remove(name).is_some()
                    | self.raw.remove(name).is_some();
                ensure!(known, "there is no socket {name}");
                Ok(json!({}))
            }
            _ => bail!("unknown command {words:?}"),
        }
    }

    fn keep(&mut self, name: &str, stream: TcpStream) -> Result<Value> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let local = stream.local_addr()?.to_string();
        self.tcp.insert(name.to_owned(), stream);
        Ok(json!({"local": local}))
    }

    fn stream(&mut self, name: &str) -> Result<&mut TcpStream> {
        self.tcp.get_mut(name).with_context(|| format!("no connection {name}"))
    }

    fn udp(&mut self, name: &str) -> Result<&mut (UdpSocket, u32)> {
        self.udp.get_mut(name).with_context(|| format!("there is no datagram socket {name}"))
    }

    /// One request and its answer; the payload bytes of both.
    fn http(&mut self, name: &str, request: &[u8]) -> Result<Value> {
        let stream = self.stream(name)?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            answer.extend_from_slice(&buffer[..count]);
            let Some(at) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.context("no content-length")?.trim().parse()?;
            if answer.len() >= at + 4 + length {
                let status = head.lines().next().unwrap_or_default();
                return Ok(
                    json!({"sent": request.len(), "received": answer.len(), "status": status}),
                );
            }
        }
    }

    /// Sends numbered datagrams, without waiting for anything; the errors by name.
    fn volley(&mut self, name: &str, count: u32, to: Option<SocketAddr>) -> Result<Value> {
        let (socket, next) = self.udp(name)?;
        let mut errors = BTreeMap::<String, u32>::new();
        let mut sent = 0;
        for _ in 0..count {
            let mut datagram = [b'x'; DATAGRAM_BYTES];
            datagram[..4].copy_from_slice(&next.to_be_bytes());
            *next += 1;
            let result = match to {
                Some(to) => socket.send_to(&datagram, to),
                None => socket.send(&datagram),
            };
            match result {
                Ok(bytes) => sent += bytes,
                Err(error) => *errors.entry(self::name(&error)).or_default() += 1,
            }
        }
        Ok(json!({"sent": sent, "errors": errors}))
    }

    /// Numbers of the datagrams that come, until there are `count` or it is quiet for so long.
    fn drain(&mut self, name: &str, count: usize, quiet: Duration) -> Result<Value> {
        let (socket, _) = self.udp(name)?;
        socket.set_read_timeout(Some(quiet))?;
        let (mut numbers, mut received) = (Vec::new(), 0);
        let mut buffer = [0; 2048];
        while numbers.len() < count {
            match socket.recv(&mut buffer) {
                Ok(bytes) => {
                    received += bytes;
                    let number = buffer.first_chunk::<4>().map_or(0, |n| u32::from_be_bytes(*n));
                    numbers.push(number);
                }
                Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(json!({"numbers": numbers, "received": received}))
    }
}
