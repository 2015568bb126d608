//! Much traffic under a latency of 100 ms by NFQUEUE: how many bits per second, and is any packet out
//! of order? In a network namespace of its own, so that the kernel's counters are of these
//! connections alone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::Row;
use super::sides::Sides;
use super::{Effort, netns};

mod datagrams;
mod streams;

use datagrams::Receiver;
use streams::{Streams, Way};

/// What the fault holds each packet of the bulkhead for.
const LATENCY: Duration = Duration::from_millis(100);
/// What must be reached.
const TARGET_GBIT: f64 = 1.0;
/// The streams that are measured: ways, and connections at once. TCP keeps two or three packets of
/// 64 KiB of a connection that sends in its own host, and no more: few cannot reach the target.
const STREAMS: [(Way, usize); 5] =
    [(Way::Up, 1), (Way::Up, 4), (Way::Up, 64), (Way::Down, 1), (Way::Down, 4)];

/// The flows of datagrams: bytes of one, Gbit/s. What fills frames of Ethernet is many packets: the
/// queue must be long enough.
const FLOWS: [(usize, f64); 3] = [(8192, 1.0), (1472, 0.5), (1472, 1.0)];

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    netns::inside(|| measure(effort))
}

fn measure(effort: Effort) -> Result<Vec<Row>> {
    let streams = Streams::new()?;
    let receiver = Receiver::new()?;
    let sides = Sides::start(&[streams.address()?, receiver.address()?])?;
    let injected = sides.inject(&["--latency", &format!("{}ms", LATENCY.as_millis())])?;
    let engine = injected["engine"].as_str().context("the fault has no engine")?;
    ensure!(engine == "nfqueue", "guard chose {engine}: this is about nfqueue");
    let seconds = effort.pick(5, 2);
    let mut rows = Vec::new();
    for (way, connections) in STREAMS {
        let seen = streams.measure(&sides, way, connections, Duration::from_secs(seconds))?;
        let what = format!("TCP, {connections} {way}");
        rows.push(
            Row::single(what.clone(), "Gbit/s", seen.gbit)
                .target(format!(">= {TARGET_GBIT} Gbit/s"), seen.gbit >= TARGET_GBIT)
                .of(seconds as usize),
        );
        let order =
            Row::single(format!("{what}: segments out of order"), "", seen.out_of_order as f64)
                .of(seen.segments as usize);
        // The server's data does not pass the queue: loopback itself reorders at many Gbit/s, when
        // a sender changes processors.
        let held = way == Way::Up;
        rows.push(if held { order.target("0", seen.out_of_order == 0) } else { order });
        eprintln!("  {what}: {:.3} Gbit/s, {} resent of {}", seen.gbit, seen.resent, seen.segments);
    }
    for (bytes, gbit) in FLOWS {
        let seen = receiver.measure(&sides, bytes, gbit, Duration::from_secs(seconds))?;
        let what = format!("UDP, {bytes} B, {gbit} Gbit/s offered");
        rows.extend([
            Row::single(what.clone(), "Gbit/s", seen.gbit).of(seen.sent),
            Row::single(format!("{what}: out of order"), "", seen.out_of_order as f64)
                .target("0", seen.out_of_order == 0)
                .of(seen.came),
            Row::single(format!("{what}: lost"), "", (seen.sent - seen.came) as f64).of(seen.sent),
            Row::single(format!("{what}: not held"), "", seen.not_held as f64)
                .target("0", seen.not_held == 0)
                .of(seen.came),
        ]);
    }
    sides.clear()?;
    sides.finish()?;
    Ok(rows)
}
