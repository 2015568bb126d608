//! Time from SIGKILL of guardd, with an active latency fault, until calls are normal again: a
//! fresh connection with one exchange, and an exchange on a connection kept open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use testbed::stats::{median, quantile};

use super::Effort;
use super::paired::Side;
use super::pingpong;
use super::report::Row;
use super::server::{Server, Service};
use super::sides::Sides;

/// Latency of the fault.
const LATENCY: Duration = Duration::from_millis(200);
/// A call is normal if it takes less: no packet of it was held.
const NORMAL: Duration = Duration::from_millis(100);
/// guard's lease, by default.
const LEASE: Duration = Duration::from_secs(2);
/// Longest time after SIGKILL that is allowed.
const LIMIT: Duration = Duration::from_millis(2_500);
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let server = Server::start(None)?;
    let mut sides = Sides::start(&[server.data])?;
    let (mut fresh, mut kept) = (Vec::new(), Vec::new());
    let tries = effort.pick(50, 5);
    for number in 0..tries {
        if number > 0 {
            sides.guardd_mut()?.restart()?;
        }
        // Kills come at every moment of a call.
        let phase = LATENCY * 2 * number as u32 / tries as u32;
        let took = one(&mut sides, &server, phase).with_context(|| format!("try {number}"))?;
        fresh.push(took.0.as_secs_f64());
        kept.push(took.1.as_secs_f64());
    }
    sides.guardd_mut()?.restart()?;
    sides.finish()?;
    let rows = [("fresh connection", fresh), ("kept connection", kept)];
    let rows = rows.into_iter().flat_map(|(what, times)| {
        let middle = median(&times).unwrap_or(f64::NAN);
        let longest = quantile(&times, 1.0).unwrap_or(f64::NAN);
        let limit = LIMIT.as_secs_f64();
        let row = |name, value| Row::single(format!("{what}, {name}"), "s", value).of(times.len());
        [
            row("median", middle),
            row("longest", longest).target(format!("< {limit} s"), longest < limit),
        ]
    });
    Ok(rows.collect())
}

/// Time until a fresh and until a kept connection are normal again.
fn one(sides: &mut Sides, server: &Server, phase: Duration) -> Result<(Duration, Duration)> {
    ensure!(LIMIT == LEASE + Duration::from_millis(500));
    let mut stream = sides.inside(Side::Guarded, || server.connect(Service::Echo))?;
    pingpong::exchange(&mut stream)?;
    sides.inject(&["--latency", &format!("{}ms", LATENCY.as_millis())])?;
    let killed = AtomicBool::new(false);
    let mut fresh_call =
        || -> Result<()> { pingpong::exchange(&mut server.connect(Service::Echo)?).map(drop) };
    let mut kept_call = || pingpong::exchange(&mut stream).map(drop);
    let (kill_at, ends) = thread::scope(|scope| {
        sides
            .inside(Side::Guarded, || {
                // Threads first, then the kill from here: guardd is not ours to move.
                let fresh = scope.spawn(|| until_normal(&killed, &mut fresh_call));
                let kept = scope.spawn(|| until_normal(&killed, &mut kept_call));
                thread::sleep(LATENCY * 4 + phase);
                let pid = nix::unistd::Pid::from_raw(sides.guardd()?.pid()? as i32);
                let kill_at = Instant::now();
                // Before the kill: what it sets free may be back before the next line here.
                killed.store(true, Ordering::SeqCst);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
                    .context("killing guardd")?;
                let join = |thread: thread::ScopedJoinHandle<'_, Result<Instant>>| {
                    thread.join().map_err(|_| anyhow!("a caller panicked"))?
                };
                Ok((kill_at, (join(fresh)?, join(kept)?)))
            })
            .inspect_err(|_: &anyhow::Error| {
                // The callers end at their next normal call, at the latest after their patience.
                killed.store(true, Ordering::SeqCst);
            })
    })?;
    // Reaps it.
    sides.guardd_mut()?.sigkill()?;
    Ok((ends.0.saturating_duration_since(kill_at), ends.1.saturating_duration_since(kill_at)))
}

/// Calls again and again; when the first normal call after the kill ended. Before the kill every
/// call must be held, or there was nothing to measure.
fn until_normal(killed: &AtomicBool, call: &mut dyn FnMut() -> Result<()>) -> Result<Instant> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let after_kill = killed.load(Ordering::SeqCst);
        let start = Instant::now();
        call()?;
        let end = Instant::now();
        if end - start < NORMAL {
            ensure!(killed.load(Ordering::SeqCst), "a call was not delayed by the fault");
            if after_kill {
                return Ok(end);
            }
        }
    }
    Err(anyhow!("no normal call within {PATIENCE:?}"))
}
