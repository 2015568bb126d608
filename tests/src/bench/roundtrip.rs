//! Round trip on one connection, without a fault.

use anyhow::Result;

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
    let mut rows = Vec::new();
    for (what, server_cpu) in
        [("round trip between processors", other_cpu), ("round trip on one processor", client_cpu)]
    {
        let server = Server::start(Some(server_cpu))?;
        let sides = Sides::start(&[server.data])?;
        let paired = {
            let _pinned = Pinned::to(client_cpu)?;
            measure(&sides, &server, effort.rounds(40))?
        };
        sides.finish()?;
        let ratio = paired.ratio().median;
        rows.push(Row::ratio(what, "us", &paired).target(format!("x <= {LIMIT}"), ratio <= LIMIT));
    }
    Ok(rows)
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
