//! Round trip on one connection, without a fault.

use std::fs::File;

use anyhow::{Context, Result};
use guard_daemon::kernel::bench::{Direction, EmptyProgram};

use super::cpu::{Pinned, two};
use super::paired::{Paired, Side};
use super::report::Row;
use super::server::{Server, Service};
use super::sides::Sides;
use super::{Effort, pingpong};

/// Exchanges per side and round.
const EXCHANGES: usize = 100;
/// Rounds on one pair of connections.
const ROUNDS_PER_PAIR: usize = 25;
/// Allowed ratio.
const LIMIT: f64 = 1.03;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let (client_cpu, other_cpu) = two()?;
    let pairs = effort.rounds(40);
    let limit = format!("x <= {LIMIT}");
    // As agents are: the peer is elsewhere, on another processor at least.
    let apart = apart(client_cpu, other_cpu, pairs)?;
    let met = apart.ratio().median <= LIMIT;
    let mut rows =
        vec![Row::ratio("between two processors", "us", &apart).target(limit.clone(), met)];
    if other_cpu != client_cpu {
        // The hardest case: no wake-up of another processor, a fifth of the time. And what of it
        // any program at all would cost.
        let together = self::apart(client_cpu, client_cpu, pairs)?;
        rows.push(Row::ratio("on one processor", "us", &together));
        let floor = floor(client_cpu, pairs)?;
        rows.push(Row::ratio("on one processor, empty programs instead of guard", "us", &floor));
    }
    Ok(rows)
}

/// Guard against nothing.
fn apart(client_cpu: usize, server_cpu: usize, pairs: usize) -> Result<Paired> {
    let server = Server::start(Some(server_cpu))?;
    let sides = Sides::start(&[server.data])?;
    let paired = {
        let _pinned = Pinned::to(client_cpu)?;
        measure(&sides, &server, pairs)?
    };
    sides.finish()?;
    Ok(paired)
}

/// Two empty programs against nothing, without a guardd.
fn floor(cpu: usize, pairs: usize) -> Result<Paired> {
    let server = Server::start(Some(cpu))?;
    let sides = Sides::unguarded()?;
    let paired = {
        let cgroup = File::open(sides.cgroup(Side::Guarded))?;
        let _programs = [Direction::Egress, Direction::Ingress]
            .map(|direction| EmptyProgram::attach(&cgroup, direction).context("the empty program"))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let _pinned = Pinned::to(cpu)?;
        measure(&sides, &server, pairs)?
    };
    sides.finish()?;
    Ok(paired)
}

/// Fresh connections again and again: where two of them land in the kernel's tables and in memory
/// is chance.
fn measure(sides: &Sides, server: &Server, pairs: usize) -> Result<Paired> {
    let mut all = Paired::default();
    for pair in 0..pairs {
        let (mut guarded, mut bare) =
            sides.both(pair % 2 == 1, || server.connect(Service::Echo))?;
        let mut one = |side| match side {
            Side::Guarded => pingpong::round(&mut guarded, EXCHANGES),
            Side::Bare => pingpong::round(&mut bare, EXCHANGES),
        };
        one(Side::Guarded)?;
        one(Side::Bare)?;
        all.extend(ROUNDS_PER_PAIR, one)?;
    }
    Ok(all)
}
