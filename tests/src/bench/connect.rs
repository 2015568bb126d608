//! Connect rate: socket, connect, close to a listening port.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Effort;
use super::cpu::{Pinned, two};
use super::paired::Paired;
use super::report::Row;
use super::server::Server;
use super::sides::Sides;

/// Connects per side and round: fewer than the server's backlog, so that none is ever dropped.
const CONNECTS: usize = 1_000;
/// Connects after a change of cgroup that do not count.
const WARM_UP: usize = 100;
/// Allowed ratio.
const LIMIT: f64 = 0.95;
/// A connect that takes longer met a full backlog (the SYN is sent again after a second).
const TOO_LONG: Duration = Duration::from_millis(900);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let (client_cpu, server_cpu) = two()?;
    let server = Server::start(Some(server_cpu))?;
    let sides = Sides::start(&[server.accept])?;
    let paired = {
        let _pinned = Pinned::to(client_cpu)?;
        Paired::measure(effort.rounds(150), |side| sides.inside(side, || rate(server.accept)))?
    };
    sides.finish()?;
    let ratio = paired.ratio().median;
    let row = Row::ratio("connect + close", "/s", &paired);
    Ok(vec![row.target(format!("x >= {LIMIT}"), ratio >= LIMIT)])
}

/// Connects per second.
pub(crate) fn rate(address: SocketAddr) -> Result<f64> {
    for _ in 0..WARM_UP {
        drop(TcpStream::connect(address)?);
    }
    let start = Instant::now();
    let mut last = start;
    for _ in 0..CONNECTS {
        drop(TcpStream::connect(address)?);
        let now = Instant::now();
        ensure!(now - last < TOO_LONG, "a connect waited for the server: the machine is too busy");
        last = now;
    }
    Ok(CONNECTS as f64 / (last - start).as_secs_f64())
}
