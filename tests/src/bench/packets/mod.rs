//! Latency and loss packet by packet, 10 000 of each: how far each delay is from what was asked,
//! how many are lost, and whether guard has counted the same. One direction, datagrams. In a network
//! namespace of its own, so that nobody else's packets wait before these.

use anyhow::Result;

use super::probe::Probe;
use super::report::Row;
use super::sides::Sides;
use super::{Effort, netns};

mod delay;
mod loss;

/// Packets of each measurement.
const COUNT: usize = 10_000;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    netns::inside(|| {
        let probe = Probe::new()?;
        let sides = Sides::start(&[probe.address()?])?;
        let count = effort.pick(COUNT, COUNT / 10);
        let mut rows = delay::rows(&probe, &sides, count)?;
        rows.extend(loss::rows(&probe, &sides, count, effort.seed)?);
        sides.finish()?;
        Ok(rows)
    })
}
