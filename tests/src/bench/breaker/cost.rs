//! A call that an open breaker refuses, against a closed port and against no connect at all.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use testbed::guardd::free_port;

use super::{Row, config, operate};
use crate::bench::Effort;
use crate::bench::cpu::{Pinned, two};
use crate::bench::paired::{Paired, Side};
use crate::bench::sides::Sides;

/// Calls per side and round.
const CALLS: usize = 1_000;
/// Calls after a change of cgroup that do not count.
const WARM_UP: usize = 100;
/// Allowed ratios: to a closed port, to socket() and close().
const LIMIT_CLOSED: f64 = 0.7;
const LIMIT_SOCKET: f64 = 1.6;

pub(super) fn run(effort: Effort) -> Result<Vec<Row>> {
    let closed = free_port()?;
    let sides = Sides::with(config(closed, "open_timeout = \"24h\""))?;
    operate(sides.guardd()?, "trip")?;
    let rounds = effort.rounds(150);
    let _pinned = Pinned::to(two()?.0)?;
    let to_closed =
        Paired::measure(rounds, |side| sides.inside(side, || per_call(|| refused(closed))))?;
    let to_socket = Paired::measure(rounds, |side| {
        sides.inside(side, || match side {
            Side::Guarded => per_call(|| refused(closed)),
            Side::Bare => per_call(bare_socket),
        })
    })?;
    let list = sides.guardd()?.ctl_json(&["breaker", "list"])?;
    let least = (rounds * 2 * (CALLS + WARM_UP)) as u64;
    let rejected = list["breakers"][0]["rejected"].as_u64().unwrap_or_default();
    ensure!(rejected >= least, "the breaker refused only {rejected} of {least} calls");
    sides.finish()?;
    let row = |what, paired: &Paired, limit: f64| {
        let ratio = paired.ratio().median;
        Row::ratio(what, "us", paired).target(format!("x <= {limit}"), ratio <= limit)
    };
    Ok(vec![
        row("refused by an open breaker, against a closed port", &to_closed, LIMIT_CLOSED),
        row("refused by an open breaker, against socket + close", &to_socket, LIMIT_SOCKET),
    ])
}

/// Microseconds per call.
fn per_call(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..WARM_UP {
        call()?;
    }
    let start = Instant::now();
    for _ in 0..CALLS {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / CALLS as f64)
}

fn refused(address: SocketAddr) -> Result<()> {
    match TcpStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => anyhow::bail!("not the refusal that was asked for: {other:?}"),
    }
}

fn bare_socket() -> Result<()> {
    drop(socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    Ok(())
}
