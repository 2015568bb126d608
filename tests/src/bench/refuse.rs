//! Refused connects: by a fault of guard against by a closed port.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testbed::guardd::free_port;

use super::Effort;
use super::cpu::{Pinned, two};
use super::paired::{Paired, Side};
use super::report::Row;
use super::sides::Sides;

/// Connects per side and round.
const CONNECTS: usize = 1_000;
/// Connects after a change of cgroup that do not count.
const WARM_UP: usize = 100;
/// Allowed ratio.
const LIMIT: f64 = 0.7;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let closed = free_port()?;
    let sides = Sides::start(&[closed])?;
    sides.inject(&["--refuse", "100%"])?;
    let paired = {
        let _pinned = Pinned::to(two()?.0)?;
        Paired::measure(effort.rounds(150), |side| sides.inside(side, || refused(closed)))?
    };
    check(&sides, paired.guarded.len() + 1)?;
    sides.finish()?;
    let ratio = paired.ratio().median;
    let row = Row::ratio("socket + connect + close, refused", "us", &paired);
    Ok(vec![row.target(format!("x <= {LIMIT}"), ratio <= LIMIT)])
}

/// Microseconds per refused connect.
fn refused(address: SocketAddr) -> Result<f64> {
    let once = || match TcpStream::connect(address) {
        Ok(_) => anyhow::bail!("{address} is not closed"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error).context("not the refusal that was asked for"),
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let start = Instant::now();
    for _ in 0..CONNECTS {
        once()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / CONNECTS as f64)
}

/// It was guard that refused on one side, and the port on the other.
fn check(sides: &Sides, rounds: usize) -> Result<()> {
    let list = sides.guardd()?.ctl_json(&["fault", "list"])?;
    let refused = list["faults"][0]["counters"]["refused"].as_u64();
    let expected = (rounds * (CONNECTS + WARM_UP)) as u64;
    ensure!(
        refused == Some(expected),
        "guard refused {refused:?} connects, not {expected}, in {}: {list}",
        sides.cgroup(Side::Guarded).display()
    );
    Ok(())
}
