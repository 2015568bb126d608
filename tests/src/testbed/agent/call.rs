//! One call, timed phase by phase. Plain sockets: what the kernel says is what is reported.

use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::record::{Record, outcome};
use super::target::{Protocol, Target};

/// How patient a caller is, and what it sends.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Patience with `connect()`; `None` = the kernel's.
    pub connect_timeout: Option<Duration>,
    /// Patience with the answer, from the end of the request to the answer's end; `None` = endless.
    pub timeout: Option<Duration>,
    /// Bytes sent: body of a POST, or the payload of an echo.
    pub payload_bytes: usize,
    /// Whether the connection is kept for the next call.
    pub keep_alive: bool,
}

/// A caller with at most one kept connection.
#[derive(Debug, Default)]
pub struct Caller {
    kept: Option<(Target, TcpStream)>,
    udp: Option<(Target, UdpSocket)>,
}

struct Progress {
    phase: &'static str,
    connect: Option<Duration>,
    ttfb: Option<Duration>,
    local_port: u16,
    reused: bool,
    received_bytes: u64,
    status: u16,
}

impl Caller {
    /// Makes one call; failures are results like any other.
    pub fn call(&mut self, seq: u64, target: &Target, options: &CallOptions) -> Record {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut progress = Progress {
            phase: "connect",
            connect: None,
            ttfb: None,
            local_port: 0,
            reused: false,
            received_bytes: 0,
            status: 0,
        };
        let start = Instant::now();
        let result = match target.protocol {
            Protocol::Udp => self.udp(target, options, &mut progress),
            _ => self.tcp(target, options, &mut progress),
        };
        let total = start.elapsed();
        let (outcome, errno) = if let Err(error) = result {
            outcome(&error)
        } else {
            progress.phase = "done";
            let good = progress.status < 300;
            (if good { "ok".to_owned() } else { format!("http_{}", progress.status) }, 0)
        };
        Record {
            seq,
            target: target.to_string(),
            start_unix_ns: unix.as_nanos() as u64,
            connect_us: progress.connect.map(micros),
            ttfb_us: progress.ttfb.map(micros),
            total_us: micros(total),
            outcome,
            errno,
            phase: progress.phase.to_owned(),
            local_port: progress.local_port,
            peer: target.address.to_string(),
            reused: progress.reused,
            received_bytes: progress.received_bytes,
        }
    }

    /// Closes the kept connection.
    pub fn close(&mut self) {
        self.kept = None;
        self.udp = None;
    }

    fn tcp(
        &mut self,
        target: &Target,
        options: &CallOptions,
        progress: &mut Progress,
    ) -> io::Result<()> {
        let kept = self.kept.take().filter(|(of, _)| of.address == target.address);
        progress.reused = kept.is_some();
        let mut stream = match kept {
            Some((_, stream)) => stream,
            None => connect(target, options, progress)?,
        };
        progress.local_port = stream.local_addr()?.port();
        let reusable = match target.protocol {
            Protocol::Http => http(&mut stream, target, options, progress)?,
            Protocol::TcpEcho => echo(&mut stream, options, progress)?,
            Protocol::Connect | Protocol::Udp => false,
        };
        if reusable && options.keep_alive {
            self.kept = Some((target.clone(), stream));
        }
        Ok(())
    }

    fn udp(
        &mut self,
        target: &Target,
        options: &CallOptions,
        progress: &mut Progress,
    ) -> io::Result<()> {
        let kept = self.udp.take().filter(|(of, _)| of == target);
        progress.reused = kept.is_some();
        let socket = if let Some((_, socket)) = kept {
            socket
        } else {
            let any = if target.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            let start = Instant::now();
            let connected = socket.connect(target.address);
            progress.connect = Some(start.elapsed());
            connected?;
            socket
        };
        progress.local_port = socket.local_addr()?.port();
        progress.phase = "send";
        let payload = vec![b'x'; options.payload_bytes.clamp(1, 65_507)];
        let start = Instant::now();
        socket.send(&payload)?;
        progress.phase = "receive";
        socket.set_read_timeout(options.timeout)?;
        let mut buffer = vec![0; 65_536];
        progress.received_bytes = socket.recv(&mut buffer)? as u64;
        progress.ttfb = Some(start.elapsed());
        if options.keep_alive {
            self.udp = Some((target.clone(), socket));
        }
        Ok(())
    }
}

/// `connect_timeout` of std is a non-blocking connect, a poll and SO_ERROR: the kernel's errno
/// comes through as it is, and only its own patience has no errno.
fn connect(
    target: &Target,
    options: &CallOptions,
    progress: &mut Progress,
) -> io::Result<TcpStream> {
    let start = Instant::now();
    let connected = match options.connect_timeout {
        Some(limit) => TcpStream::connect_timeout(&target.address, limit),
        None => TcpStream::connect(target.address),
    };
    progress.connect = Some(start.elapsed());
    let stream = connected?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its answer; whether the connection may be used again.
fn http(
    stream: &mut TcpStream,
    target: &Target,
    options: &CallOptions,
    progress: &mut Progress,
) -> io::Result<bool> {
    let method = if options.payload_bytes > 0 { "POST" } else { "GET" };
    let connection = if options.keep_alive { "keep-alive" } else { "close" };
    let mut request = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n",
        target.path, target.address, options.payload_bytes
    )
    .into_bytes();
    request.resize(request.len() + options.payload_bytes, b'x');
    let (start, mut reader) = send(stream, &request, options, progress)?;

    let mut received = Vec::new();
    let header_bytes = loop {
        if reader.read(stream, &mut received)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        progress.ttfb.get_or_insert_with(|| start.elapsed());
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&received[..header_bytes]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    progress.status = status.ok_or(io::ErrorKind::InvalidData)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: u64 =
        length.and_then(|text| text.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    progress.received_bytes = (received.len() - header_bytes) as u64;
    while progress.received_bytes < length {
        received.clear();
        match reader.read(stream, &mut received)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => progress.received_bytes += count as u64,
        }
    }
    Ok(!head.contains("connection: close"))
}

/// Sends some bytes and waits for as many.
fn echo(
    stream: &mut TcpStream,
    options: &CallOptions,
    progress: &mut Progress,
) -> io::Result<bool> {
    let payload = vec![b'x'; options.payload_bytes.max(1)];
    let (start, mut reader) = send(stream, &payload, options, progress)?;
    let mut received = Vec::new();
    while received.len() < payload.len() {
        if reader.read(stream, &mut received)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        progress.ttfb.get_or_insert_with(|| start.elapsed());
    }
    progress.received_bytes = received.len() as u64;
    Ok(true)
}

fn send(
    stream: &mut TcpStream,
    bytes: &[u8],
    options: &CallOptions,
    progress: &mut Progress,
) -> io::Result<(Instant, Reader)> {
    progress.phase = "send";
    stream.set_write_timeout(options.timeout)?;
    let start = Instant::now();
    stream.write_all(bytes)?;
    progress.phase = "receive";
    let deadline = options.timeout.map(|limit| Instant::now() + limit);
    Ok((start, Reader { deadline, buffer: vec![0; 64 * 1024] }))
}

/// Reads with a deadline for the answer as a whole, not for each piece.
struct Reader {
    deadline: Option<Instant>,
    buffer: Vec<u8>,
}

impl Reader {
    fn read(&mut self, stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
        } else {
            stream.set_read_timeout(None)?;
        }
        let count = stream.read(&mut self.buffer)?;
        into.extend_from_slice(&self.buffer[..count]);
        Ok(count)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}
