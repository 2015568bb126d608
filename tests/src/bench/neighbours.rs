//! What a bulkhead's neighbours notice of a flood of connects, a memory hog and a fork bomb in it: the
//! same agents in bulkheads and in bare cgroups, quiet and loud by turns. Nothing is let off in a bare
//! cgroup that only a limit ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::cgroup::{self, ScratchCgroup, mount_point};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};
use testbed::stats::quantile;
use testbed::wait;

use super::Effort;
use super::paired::{Paired, Side};
use super::report::Row;
use super::server::Server;
use super::sides::enter_for;

/// How long a neighbour calls in one stretch; the 99th percentile of its calls is one sample.
const STRETCH: Duration = Duration::from_secs(1);
/// Largest ratio of that percentile, beside the noise and without it.
const LIMIT: f64 = 1.2;
/// How long a call may take before it has failed, and noise to begin or end.
const LONG: Duration = Duration::from_secs(30);
/// What the hog wants again and again.
const DEVOURED_BYTES: usize = 500 << 20;
/// Controllers without which nothing but connections is limited.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const LIMITS: &str = "memory_max = \"64MiB\"\nmemory_swap_max = \"0MiB\"\npids_max = 16\n\
                      cpu_max = \"1%\"\ncpu_weight = 1\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noise {
    Flood,
    Hog,
    Bomb,
}

impl Noise {
    fn name(self) -> &'static str {
        match self {
            Self::Flood => "a flood of connects",
            Self::Hog => "a memory hog",
            Self::Bomb => "a fork bomb",
        }
    }

    fn order(self, server: &Server) -> String {
        match self {
            Self::Flood => format!("flood {}", server.pool),
            Self::Hog => format!("devour {DEVOURED_BYTES}"),
            Self::Bomb => "bomb".to_owned(),
        }
    }
}

/// Two neighbours in bulkheads, and two in bare cgroups.
struct Host {
    server: Server,
    guardd: Guardd,
    plain: ScratchCgroup,
}

/// What one side's neighbour met.
#[derive(Default)]
struct Met {
    p99_us: Paired,
    failed: usize,
    calls: usize,
}

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let top = mount_point()?;
    let offered = fs::read_to_string(top.join("cgroup.controllers"))?;
    let all = CONTROLLERS.iter().all(|name| offered.split_whitespace().any(|word| word == *name));
    if all {
        // As systemd does on its hosts; guard never writes above its root.
        let handed = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        fs::write(top.join("cgroup.subtree_control"), handed).context("cgroup.subtree_control")?;
    }
    let server = Server::start(None)?;
    let limits = if all { LIMITS } else { "" };
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{}\"]\n[bulkheads.loud]\nmax_connections = 16\n{limits}\
         [bulkheads.writing]\n",
        server.pool
    ));
    // Limits that are not in force would make a figure of nothing.
    let guardd = Guardd::start(config.daemon("strict", "true"))?;
    let host = Host { server, guardd, plain: ScratchCgroup::new("plain")? };
    for name in ["loud", "writing"] {
        host.plain.child(name)?;
    }
    let mut noises = vec![Noise::Flood];
    if all {
        noises.extend([Noise::Hog, Noise::Bomb]);
    } else {
        eprintln!("  no cpu, memory and pids in cgroup2 here: only connections are limited");
    }
    let mut rows = Vec::new();
    for noise in noises {
        for side in [Side::Guarded, Side::Bare] {
            if noise == Noise::Bomb && side == Side::Bare {
                continue;
            }
            let met = host.beside(noise, side, effort.rounds(20))?;
            rows.extend(rows_of(noise, side, &met));
        }
    }
    host.guardd.finish()?;
    host.plain.remove()?;
    Ok(rows)
}

fn rows_of(noise: Noise, side: Side, met: &Met) -> [Row; 2] {
    let (noise, where_) = (noise.name(), if side == Side::Guarded { "guarded" } else { "bare" });
    // The table's columns are those of two sides; here they are loud and quiet.
    let p99 = Row::ratio(
        format!("{where_}: p99 of a neighbour's call beside {noise} | without"),
        "us",
        &met.p99_us,
    );
    let failed = Row::single(format!("{where_}: its failed calls"), "calls", met.failed as f64);
    let failed = failed.of(met.calls);
    if side == Side::Bare {
        return [p99, failed];
    }
    let ratio = met.p99_us.ratio().median;
    [p99.target(format!("x < {LIMIT}"), ratio < LIMIT), failed.target("= 0", met.failed == 0)]
}

impl Host {
    fn cgroup(&self, side: Side, name: &str) -> std::path::PathBuf {
        match side {
            Side::Guarded => self.guardd.bulkhead(name),
            Side::Bare => self.plain.path().join(name),
        }
    }

    /// A neighbour's calls, loud and quiet by turns.
    fn beside(&self, noise: Noise, side: Side, rounds: usize) -> Result<Met> {
        let (loud, writing) = (self.cgroup(side, "loud"), self.cgroup(side, "writing"));
        let mut met = Met::default();
        let mut calls = 0;
        let mut failed = 0;
        let mut stretch = || -> Result<f64> {
            let (times, bad) = enter_for(&writing, || Ok(calls_of(&self.server)))?;
            (calls, failed) = (calls + times.len() + bad, failed + bad);
            quantile(&times, 0.99).context("not one call was answered")
        };
        // Here `Guarded` stands for loud and `Bare` for quiet: what is paired are the two.
        met.p99_us = Paired::measure(rounds, |turn| {
            if turn == Side::Bare {
                return stretch();
            }
            let command = Command::new(binary("testbed-hog")?);
            let mut hog = Process::spawn(&mut cgroup::wrap(&loud, &command))?;
            hog.send_line(&noise.order(&self.server))?;
            hog.next_line(LONG)?;
            let p99 = stretch();
            // The bomb first, which would keep its own beginner waiting.
            silence(&loud)?;
            drop(hog);
            p99
        })?;
        (met.calls, met.failed) = (calls, failed);
        Ok(met)
    }
}

/// Connects, one exchange of 64 bytes, and the close, again and again for a stretch: times in us, and
/// how many failed.
fn calls_of(server: &Server) -> (Vec<f64>, usize) {
    let (mut times, mut failed) = (Vec::new(), 0);
    let begin = Instant::now();
    while begin.elapsed() < STRETCH {
        let start = Instant::now();
        match call(server) {
            Ok(()) => times.push(start.elapsed().as_secs_f64() * 1e6),
            Err(_) => failed += 1,
        }
    }
    (times, failed)
}

fn call(server: &Server) -> Result<()> {
    let mut stream = TcpStream::connect(server.pool)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    let mut message = [0x55_u8; 64];
    stream.write_all(&message)?;
    Ok(stream.read_exact(&mut message)?)
}

/// Ends all that is left in a cgroup, and waits until it is empty.
fn silence(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.kill"), "1").context("cgroup.kill")?;
    let procs = cgroup.join("cgroup.procs");
    wait::until("the noise to end", LONG, || {
        fs::read_to_string(&procs).is_ok_and(|text| text.is_empty())
    })?;
    Ok(())
}
