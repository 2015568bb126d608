//! Throughput of one connection, both ways.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Effort;
use super::cpu::{Pinned, two};
use super::paired::{Paired, Side};
use super::report::Row;
use super::server::{CHUNK_BYTES, Server, Service};
use super::sides::Sides;

/// Bytes per side and round.
const ROUND_BYTES: usize = 32 << 20;
/// Rounds on one pair of connections.
const ROUNDS_PER_PAIR: usize = 15;
/// Allowed ratio.
const LIMIT: f64 = 0.97;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let (client_cpu, server_cpu) = two()?;
    let server = Server::start(Some(server_cpu))?;
    let sides = Sides::start(&[server.data])?;
    let mut rows = Vec::new();
    for (what, service) in [("sending", Service::Drain), ("receiving", Service::Source)] {
        let mut all = Paired::default();
        let _pinned = Pinned::to(client_cpu)?;
        for pair in 0..effort.rounds(20) {
            let (mut guarded, mut bare) = sides.both(pair % 2 == 1, || server.connect(service))?;
            let mut buffer = vec![0; CHUNK_BYTES];
            let mut one = |side| {
                let stream = if side == Side::Guarded { &mut guarded } else { &mut bare };
                transfer(stream, service, &mut buffer)
            };
            // The congestion window grows first.
            one(Side::Guarded)?;
            one(Side::Bare)?;
            all.extend(ROUNDS_PER_PAIR, one)?;
        }
        let ratio = all.ratio().median;
        rows.push(Row::ratio(what, "MB/s", &all).target(format!("x >= {LIMIT}"), ratio >= LIMIT));
    }
    sides.finish()?;
    Ok(rows)
}

/// Megabytes per second of one transfer.
fn transfer(stream: &mut TcpStream, service: Service, buffer: &mut [u8]) -> Result<f64> {
    let start = Instant::now();
    stream.write_all(&(ROUND_BYTES as u64).to_le_bytes())?;
    if service == Service::Drain {
        for _ in 0..ROUND_BYTES / buffer.len() {
            stream.write_all(buffer)?;
        }
        stream.read_exact(&mut [0])?;
    } else {
        let mut left = ROUND_BYTES;
        while left > 0 {
            let wanted = left.min(buffer.len());
            let count = stream.read(&mut buffer[..wanted])?;
            ensure!(count > 0, "the server ended the connection early");
            left -= count;
        }
    }
    Ok(ROUND_BYTES as f64 / 1e6 / start.elapsed().as_secs_f64())
}
