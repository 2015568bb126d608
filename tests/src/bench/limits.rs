//! The count of connections after a million opens and closes by many at once: exact, or it leaks.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::wait;

use super::Effort;
use super::report::Row;
use super::server::Server;
use super::sides::enter_for;

/// Threads that open and close.
const CALLERS: usize = 8;
/// What each of them does before it looks at the clock.
const BATCH: usize = 1_000;
/// More than are ever open at once: nothing is refused, so that all is counted.
const MOST: usize = 1_000;
/// Wait for the last ends.
const SETTLE: Duration = Duration::from_secs(20);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let wanted = effort.pick(1_000_000, 100_000);
    let server = Server::start(None)?;
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{}\"]\n[bulkheads.a]\nmax_connections = {MOST}\n",
        server.accept
    )))?;
    let start = Instant::now();
    let cgroup = guardd.bulkhead("a");
    enter_for(&cgroup, || churn(server.accept, wanted))?;
    let seconds = start.elapsed().as_secs_f64();
    let left = || -> Result<u64> {
        let status = guardd.ctl_json(&["status"])?;
        let limits = &status["bulkheads"][0]["limits"];
        let whole =
            limits.as_array().and_then(|all| all.iter().find(|l| l["service"] == Value::Null));
        whole.and_then(|limit| limit["connections"].as_u64()).context("no limit is listed")
    };
    let settled = wait::until("the last ends", SETTLE, || left().is_ok_and(|left| left == 0));
    let left = left()?;
    let status = guardd.ctl_json(&["status"])?;
    let connects = status["bulkheads"][0]["services"][0]["connects"].as_u64().unwrap_or(0);
    ensure!(connects >= wanted as u64, "{connects} connects were seen, not {wanted}");
    guardd.finish()?;
    let row = Row::single("counted as open after all are closed", "connections", left as f64);
    let row = row.of(usize::try_from(connects)?);
    Ok(vec![
        row.target("= 0", settled.is_ok() && left == 0),
        Row::single("opened and closed", "/s", connects as f64 / seconds),
    ])
}

/// So many connects, by several threads, each of which closes at once.
fn churn(address: SocketAddr, wanted: usize) -> Result<()> {
    let each = wanted.div_ceil(CALLERS * BATCH) * BATCH;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    for _ in 0..each {
                        once(address)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?
        })
    })
}

/// One connect and close. Ports of ended connections come back after a while only.
fn once(address: SocketAddr) -> Result<()> {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                drop(stream);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("neither refused nor full was to be met"),
        }
    }
}
