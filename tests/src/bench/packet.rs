//! Time in the kernel programs, by the kernel's own statistics, against an empty program on the
//! bare side of the same run.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use guard_daemon::kernel::bench::{Direction, EmptyProgram};
use testbed::guardd::Guardd;
use testbed::stats::median;

use super::cpu::{Pinned, two};
use super::paired::{Paired, Side};
use super::report::Row;
use super::server::{Server, Service};
use super::sides::Sides;
use super::{Effort, connect, pingpong};

/// The switch of the kernel's statistics.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Exchanges per side and round.
const EXCHANGES: usize = 500;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let (client_cpu, server_cpu) = two()?;
    let server = Server::start(Some(server_cpu))?;
    let sides = Sides::start(&[server.data, server.accept])?;
    let _on = Statistics::enable()?;
    let mut rows = Vec::new();
    for (program, direction) in
        [("guard_egress", Direction::Egress), ("guard_ingress", Direction::Ingress)]
    {
        let cgroup = File::open(sides.cgroup(Side::Bare))?;
        let empty = EmptyProgram::attach(&cgroup, direction).context("the empty program")?;
        let (mut guarded, mut bare) = sides.both(false, || server.connect(Service::Echo))?;
        let _pinned = Pinned::to(client_cpu)?;
        let paired = Paired::measure(effort.rounds(200), |side| {
            let read = || match side {
                Side::Guarded => runs(&sides, program),
                Side::Bare => Ok(empty.run().map(|(ns, count)| (ns as f64, count as f64))?),
            };
            let before = read()?;
            let stream = if side == Side::Guarded { &mut guarded } else { &mut bare };
            pingpong::round(stream, EXCHANGES)?;
            per_run(before, read()?)
        })?;
        let what = format!("{program} against an empty program");
        rows.push(Row::difference(what, "ns", &paired));
    }
    let _pinned = Pinned::to(client_cpu)?;
    for program in ["guard_connect4", "guard_sockops", "guard_release"] {
        let mut times = Vec::new();
        for _ in 0..effort.rounds(30) {
            let before = runs(&sides, program)?;
            sides.inside(Side::Guarded, || connect::rate(server.accept))?;
            times.push(per_run(before, runs(&sides, program)?)?);
        }
        let time = median(&times).unwrap_or(f64::NAN);
        let what = format!("{program} while connecting, per run");
        rows.push(Row::single(what, "ns", time).of(times.len()));
    }
    sides.finish()?;
    Ok(rows)
}

/// Nanoseconds in one of guardd's programs, and its runs.
fn runs(sides: &Sides, program: &str) -> Result<(f64, f64)> {
    runs_of(sides.guardd()?, program)
}

/// The same of any guardd.
pub(crate) fn runs_of(guardd: &Guardd, program: &str) -> Result<(f64, f64)> {
    let label = format!("program=\"{program}\"");
    let metric = |name| -> Result<f64> {
        // No series: it has not run yet.
        Ok(guardd.metric(name, &[&label])?.unwrap_or(0.0))
    };
    Ok((metric("guard_bpf_program_seconds_total")? * 1e9, metric("guard_bpf_program_runs_total")?))
}

fn per_run(before: (f64, f64), after: (f64, f64)) -> Result<f64> {
    let count = after.1 - before.1;
    ensure!(count >= EXCHANGES as f64, "only {count} runs of a program for {EXCHANGES} exchanges");
    Ok((after.0 - before.0) / count)
}

/// The kernel's statistics, switched on until dropped.
pub(crate) struct Statistics {
    before: String,
}

impl Statistics {
    /// Switches them on.
    pub(crate) fn enable() -> Result<Self> {
        let before = std::fs::read_to_string(SWITCH).with_context(|| SWITCH)?;
        std::fs::write(SWITCH, "1").with_context(|| SWITCH)?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SWITCH, self.before.trim()) {
            eprintln!("{SWITCH} stays 1: {error}");
        }
    }
}
