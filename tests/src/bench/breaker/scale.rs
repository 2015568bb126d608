//! 1000 bulkheads and 100 services, 100 000 breakers: how long until they are there, what memory
//! they take, and whether a connect becomes slower.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;
use testbed::guardd::{Guardd, GuarddConfig, free_port};

use super::{NAME, Row};
use crate::bench::Effort;
use crate::bench::cpu::{Pinned, two};
use crate::bench::idle::map_mib;
use crate::bench::packet::{Statistics, runs_of};
use crate::bench::sides::enter_for;

const SERVICES: usize = 100;
const BULKHEADS: usize = 1_000;
/// Seconds until 100 000 breakers are there.
const CONFIGURED: f64 = 5.0;
/// Allowed growth of the admission program's time.
const GROWTH: f64 = 1.1;
const CONNECTS: usize = 20_000;

pub(super) fn run(effort: Effort) -> Result<Vec<Row>> {
    let closed = free_port()?;
    let few = Guardd::start(config(closed, 1, 1))?;
    let start = Instant::now();
    let many = Guardd::start(config(closed, BULKHEADS, SERVICES))?;
    let started = start.elapsed().as_secs_f64();
    let listed = many.ctl_json(&["breaker", "list"])?;
    let breakers = listed["breakers"].as_array().map_or(0, Vec::len);
    let (few_mib, many_mib) = (map_mib(few.pid()?)?, map_mib(many.pid()?)?);
    let _on = Statistics::enable()?;
    let mut ratios = Vec::new();
    let (mut few_ns, mut many_ns) = (Vec::new(), Vec::new());
    let _pinned = Pinned::to(two()?.0)?;
    for _ in 0..effort.rounds(20) {
        let a = admission_ns(&few, closed)?;
        let b = admission_ns(&many, closed)?;
        ratios.push(b / a);
        few_ns.push(a);
        many_ns.push(b);
    }
    few.finish()?;
    many.finish()?;
    let median = |values: &[f64]| testbed::stats::median(values).unwrap_or(f64::NAN);
    let ratio = median(&ratios);
    Ok(vec![
        Row::single(format!("start with {breakers} breakers until ready"), "s", started).target(
            format!("< {CONFIGURED} s"),
            started < CONFIGURED && breakers == BULKHEADS * SERVICES,
        ),
        Row::both(
            "memory of the kernel's maps with 100 000 breakers, against 1",
            "MiB",
            many_mib,
            few_mib,
        ),
        Row::both(
            "guard_connect4 with 100 000 breakers, against 1",
            "ns",
            median(&many_ns),
            median(&few_ns),
        )
        .of(ratios.len())
        .target(format!("x <= {GROWTH}"), ratio <= GROWTH),
    ])
}

/// The last bulkhead calls the last service; the addresses of the others are loopback's, and
/// nothing is ever sent to them. Refused all the time: nothing but the program runs.
fn config(endpoint: SocketAddr, bulkheads: usize, services: usize) -> GuarddConfig {
    let others = (1..services)
        .map(|n| format!("[services.service-{n}]\nendpoints = [\"127.20.0.{n}:443\"]\n"));
    let bulkheads = (1..bulkheads).map(|n| format!("[bulkheads.agent-{n}]\n"));
    let own = format!(
        "[defaults.breaker]\nmode = \"force_open\"\n[bulkheads.{NAME}]\n[services.{NAME}]\n\
         endpoints = [\"{endpoint}\"]\n"
    );
    let body: String = others.chain(bulkheads).chain([own]).collect();
    GuarddConfig::new(body)
}

/// Nanoseconds per run of the admission program.
fn admission_ns(guardd: &Guardd, address: SocketAddr) -> Result<f64> {
    let before = runs_of(guardd, "guard_connect4")?;
    enter_for(&guardd.bulkhead(NAME), || {
        for _ in 0..CONNECTS {
            drop(std::net::TcpStream::connect(address));
        }
        Ok(())
    })?;
    let after = runs_of(guardd, "guard_connect4")?;
    Ok((after.0 - before.0) / (after.1 - before.1))
}
