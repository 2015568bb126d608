//! Exchanges of 64 bytes on an open connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::stats::median;

/// One exchange, and how long it took.
pub(crate) fn exchange(stream: &mut TcpStream) -> Result<Duration> {
    let mut message = [0x55_u8; 64];
    let start = Instant::now();
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    Ok(start.elapsed())
}

/// Median of `count` exchanges, µs.
pub(crate) fn round(stream: &mut TcpStream, count: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(exchange(stream)?.as_secs_f64() * 1e6);
    }
    Ok(median(&times).unwrap_or(f64::NAN))
}
