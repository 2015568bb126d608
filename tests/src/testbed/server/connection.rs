//! Serves one connection as the behaviour in force says.

use std::io;
use std::net::{SocketAddr, TcpStream};

use super::shared::Shared;
use super::wire::{Order, Wake, Wire};
use super::{Answer, Behaviour};

/// Longest request header accepted, bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// What bodies are made of.
static FILLING: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// How a connection ends.
enum End {
    Close,
    Reset,
}

/// Serves until the peer, the behaviour or an order ends it.
pub(super) fn serve(stream: TcpStream, peer: SocketAddr, wake: &Wake, shared: &Shared) {
    let Ok(mut wire) = Wire::new(stream, wake) else { return };
    let end = match exchanges(&mut wire, peer, shared) {
        Ok(end) => end,
        // Either an order, or the peer is gone: that is its business and no failure of ours.
        Err(_) if wake.ordered() == Some(Order::Reset) => End::Reset,
        Err(_) => End::Close,
    };
    if matches!(end, End::Reset)
        && let Err(error) = wire.reset()
    {
        eprintln!("testbed: cannot reset the connection of {peer}: {error}");
    }
}

fn exchanges(wire: &mut Wire<'_>, peer: SocketAddr, shared: &Shared) -> io::Result<End> {
    match shared.on_accept() {
        Some(Behaviour::ResetOnAccept) => return Ok(End::Reset),
        Some(_) => return Ok(End::Close),
        None => {}
    }
    let mut received = Vec::new();
    loop {
        if received.is_empty() && !receive(wire, &mut received)? {
            return Ok(End::Close);
        }
        if shared.is_echo() {
            shared.on_request();
            shared.requested(peer);
            wire.write(&received)?;
            received.clear();
            shared.answered();
            continue;
        }
        if !request(wire, &mut received)? {
            return Ok(End::Close);
        }
        shared.requested(peer);
        match shared.on_request() {
            Behaviour::Answer(answer) => {
                send(wire, &answer)?;
                shared.answered();
                if answer.close {
                    return Ok(End::Close);
                }
            }
            Behaviour::Echo => {}
            Behaviour::Hang => return swallow(wire),
            Behaviour::CloseOnAccept | Behaviour::CloseAfterRequest => return Ok(End::Close),
            Behaviour::ResetOnAccept | Behaviour::ResetAfterRequest => return Ok(End::Reset),
        }
    }
}

/// Reads more; `false` at the end of the stream.
fn receive(wire: &mut Wire<'_>, received: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    let count = wire.read(&mut buffer)?;
    received.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}

/// Reads one request with its body and takes it out of `received`; `false` if the peer stopped
/// before its end.
fn request(wire: &mut Wire<'_>, received: &mut Vec<u8>) -> io::Result<bool> {
    let header_bytes = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if received.len() > MAX_HEADER_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !receive(wire, received)? {
            return Ok(false);
        }
    };
    let header = String::from_utf8_lossy(&received[..header_bytes]).to_ascii_lowercase();
    let length = header.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body_bytes: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    received.drain(..header_bytes);
    let mut left = body_bytes;
    loop {
        let taken = left.min(received.len());
        received.drain(..taken);
        left -= taken;
        if left == 0 {
            return Ok(true);
        }
        if !receive(wire, received)? {
            return Ok(false);
        }
    }
}

fn send(wire: &mut Wire<'_>, answer: &Answer) -> io::Result<()> {
    wire.pause(answer.first_byte_after)?;
    let retry = answer.retry_after_seconds.map(|seconds| format!("retry-after: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-length: {}\r\nconnection: {}\r\n{}\r\n",
        answer.status,
        reason(answer.status),
        answer.body_bytes,
        if answer.close { "close" } else { "keep-alive" },
        retry.unwrap_or_default()
    );
    let chunks = u64::from(answer.chunks.max(1));
    let first = answer.body_bytes / chunks + answer.body_bytes % chunks;
    // A short answer goes out in one piece, so that it is one packet.
    let mut start = head.into_bytes();
    let with_head = first.min(8 * 1024);
    start.extend_from_slice(&FILLING[..with_head as usize]);
    wire.write(&start)?;
    fill(wire, first - with_head)?;
    for _ in 1..chunks {
        wire.pause(answer.chunk_delay)?;
        fill(wire, answer.body_bytes / chunks)?;
    }
    Ok(())
}

fn fill(wire: &mut Wire<'_>, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        let piece = bytes.min(FILLING.len() as u64);
        wire.write(&FILLING[..piece as usize])?;
        bytes -= piece;
    }
    Ok(())
}

/// Reads for ever, answers nothing.
fn swallow(wire: &mut Wire<'_>) -> io::Result<End> {
    let mut buffer = [0; 16 * 1024];
    while wire.read(&mut buffer)? > 0 {}
    // Silence to the end: not even a FIN before the peer is gone or an order comes.
    Ok(End::Close)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
