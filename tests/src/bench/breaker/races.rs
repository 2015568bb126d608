//! How many calls get through when many call at once: counted by the server that they reach.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::guardd::Guardd;
use testbed::server::{Behaviour, Server};

use super::{Row, config, operate};
use crate::bench::Effort;
use crate::bench::paired::Side;
use crate::bench::sides::Sides;

const RUNS: usize = 1_000;
const THRESHOLD: u64 = 5;
const CALLERS: [u64; 3] = [1, 8, 64];
const PROBERS: usize = 256;
/// Open time of the second part, and with it the longest that a burst may take.
const OPEN: Duration = Duration::from_millis(250);

pub(super) fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for callers in CALLERS {
        rows.push(threshold(effort.pick(RUNS, RUNS / 20), callers)?);
    }
    rows.push(half_open(effort.pick(RUNS, RUNS / 20))?);
    Ok(rows)
}

/// As many failures as the threshold get through, and those that were under way when it tripped.
fn threshold(runs: usize, callers: u64) -> Result<Row> {
    let server = Server::loopback()?;
    let address = server.address()?;
    let breaker = format!("failure_threshold = {THRESHOLD}\nopen_timeout = \"24h\"");
    let sides = Sides::with(config(address, &breaker))?;
    server.set(Behaviour::ResetOnAccept);
    let (mut wrong, mut most) = (0, 0);
    for _ in 0..runs {
        let before = server.counts().connections;
        sides.inside(Side::Guarded, || call_until_refused(address, callers))?;
        let through = server.counts().connections - before;
        most = most.max(through);
        wrong += u32::from(!(THRESHOLD..THRESHOLD + callers).contains(&through));
        operate(sides.guardd()?, "reset")?;
    }
    sides.finish()?;
    let what = format!(
        "{callers} callers: runs in which other than {THRESHOLD} calls (and those under way) got through; most {most}"
    );
    Ok(Row::single(what, "runs", f64::from(wrong)).of(runs).target("0", wrong == 0))
}

/// Each caller calls until it is refused.
fn call_until_refused(address: SocketAddr, callers: u64) -> Result<()> {
    let start = Barrier::new(callers as usize);
    let refused = thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    // More than can ever get through, so that a breaker that never trips ends too.
                    (0..1_000).any(|_| is_refused(address))
                })
            })
            .collect();
        threads.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    ensure!(refused, "a caller was never refused");
    Ok(())
}

/// Makes one call; whether the connect was refused.
fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect(address) {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(mut stream) => {
            // The server resets: whatever comes, the call has failed.
            drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
            drop(stream.read(&mut [0; 64]));
            false
        }
    }
}

/// In HALF_OPEN, of many callers at once one reaches the server.
fn half_open(runs: usize) -> Result<Row> {
    let server = Server::loopback()?;
    let address = server.address()?;
    let breaker = format!("open_timeout = \"{}ms\"", OPEN.as_millis());
    let sides = Sides::with(config(address, &breaker))?;
    server.set(Behaviour::Hang);
    let (mut wrong, mut late) = (0, 0);
    for _ in 0..runs {
        operate(sides.guardd()?, "trip")?;
        thread::sleep(OPEN + Duration::from_millis(10));
        let before = server.counts().connections;
        let (through, took) = sides.inside(Side::Guarded, || Ok(burst(address)))?;
        // A probe whose time is over makes way for another, as it should.
        if took >= OPEN {
            late += 1;
            continue;
        }
        settle(&server, before);
        let reached = server.counts().connections - before;
        wrong += u32::from(reached != 1 || through != 1);
        back(sides.guardd()?)?;
    }
    sides.finish()?;
    let what = format!(
        "{PROBERS} callers in HALF_OPEN: runs in which other than 1 reached the server ({late} too slow to count)"
    );
    let counted = runs - late;
    Ok(Row::single(what, "runs", f64::from(wrong))
        .of(counted)
        .target("0", wrong == 0 && counted > runs / 2))
}

/// All connect at once; how many could, and how long all of it took. Whoever could keeps its
/// connection until all have tried.
fn burst(address: SocketAddr) -> (usize, Duration) {
    let (start, end) = (Barrier::new(PROBERS + 1), Barrier::new(PROBERS + 1));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..PROBERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let stream = TcpStream::connect(address);
                    end.wait();
                    stream.is_ok()
                })
            })
            .collect();
        start.wait();
        let begin = std::time::Instant::now();
        end.wait();
        let took = begin.elapsed();
        let through = threads.into_iter().filter_map(|t| t.join().ok()).filter(|ok| *ok).count();
        (through, took)
    })
}

/// The server counts a connection a moment after it was made.
fn settle(server: &Server, before: u64) {
    let counted = || server.counts().connections > before;
    // That none comes at all is counted as wrong by the caller.
    drop(testbed::wait::until("a connection", Duration::from_secs(1), counted));
}

fn back(guardd: &Guardd) -> Result<()> {
    operate(guardd, "reset")
}
