//! One drill that is killed, from the start of its guardd until nothing is left of either. It ends
//! everything that it started, however it fails.

use std::collections::HashMap;
use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};

use super::super::probe::{Probe, now_ns};
use super::super::server::Server;
use super::super::sides::NAME;
use super::caller;
use super::host::{Host, chains};
use super::touched::Traffic;

/// The lease by default, and half a second.
pub(super) const LIMIT: Duration = Duration::from_millis(2500);
/// Traffic is watched for so long after the limit.
const WATCH_MORE: Duration = Duration::from_millis(400);
/// How long whatever is asked to end may take.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Good calls and datagrams after the limit that show that somebody looked.
const ENOUGH_CALLS: usize = 4;
const ENOUGH_DATAGRAMS: usize = 10;

/// All three kinds of effect, on real calls.
const DRILL: &str = r#"name = "killed"
before = "0s"
duration = "60s"
after = "0s"
[[fault]]
bulkhead = "bench"
service = "bench"
latency = { delay = "300ms" }
loss = { percent = 20.0 }
refuse = { percent = 20 }
[[steady_state]]
name = "none"
command = ["/bin/true"]
"#;

/// Who gets which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    KillGuardd,
    KillRunner,
    KillBoth,
    StopGuardd,
}

impl Way {
    pub(super) const ALL: [Self; 4] =
        [Self::KillGuardd, Self::KillRunner, Self::KillBoth, Self::StopGuardd];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillGuardd => "SIGKILL of guardd",
            Self::KillRunner => "SIGKILL of guardctl",
            Self::KillBoth => "SIGKILL of both",
            Self::StopGuardd => "SIGSTOP of guardd",
        })
    }
}

/// A run's plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) way: Way,
    /// From the start of the drill's runner to the signal.
    pub(super) moment: Duration,
    /// Which of two ends: `guardctl cleanup` or another guardd; for a stopped guardd SIGKILL or
    /// SIGCONT and SIGTERM.
    pub(super) first_end: bool,
}

/// Runs it; an error names what was wrong.
pub(super) fn run(plan: Plan, server: &Server, host: &Host) -> Result<Traffic> {
    let probe = Probe::new()?;
    let sink = probe.address()?;
    let config = GuarddConfig::simple(&[(NAME, &[server.data, sink])], &[NAME]);
    let mut guardd = Guardd::start(config)?;
    let mut pids = vec![guardd.pid()?];
    let file = guardd.directory().join("drill.toml");
    std::fs::write(&file, DRILL)?;
    let mut agent = caller::start(&guardd.bulkhead(NAME), server.data, sink)?;
    let over = AtomicBool::new(false);
    let (watched, arrivals) = thread::scope(|scope| {
        let sink = scope.spawn(|| collect(&probe, &over));
        let watched = disturb(plan, &mut guardd, &file);
        agent.close_stdin();
        let ended = agent.wait(END_LIMIT);
        over.store(true, Ordering::SeqCst);
        let arrivals = sink.join().map_err(|_| anyhow!("the receiver panicked"))??;
        ended?;
        Ok::<_, anyhow::Error>((watched?, arrivals))
    })?;
    let (mut runner, kill_ns) = watched;
    let traffic = Traffic::of(&caller::read(&agent.stdout()), &arrivals, kill_ns, LIMIT);
    // The agent is gone: its cgroup can go.
    end(plan, &mut guardd, &mut runner, &mut pids)?;
    let left = host.left(&guardd, &pids)?;
    ensure!(left.is_empty(), "left on the host: {}", left.join("; "));
    ensure!(traffic.last <= LIMIT, "a fault touched traffic {:?} after the signal", traffic.last);
    ensure!(
        traffic.good_calls >= ENOUGH_CALLS && traffic.good_datagrams >= ENOUGH_DATAGRAMS,
        "too little traffic after the limit: {traffic:?}"
    );
    guardd.finish()?;
    Ok(traffic)
}

/// Starts the drill, sends the signals at the moment of the plan and waits until the limit is over.
fn disturb(plan: Plan, guardd: &mut Guardd, file: &std::path::Path) -> Result<(Process, u64)> {
    let mut command = Command::new(binary("guardctl")?);
    command.arg("--socket").arg(guardd.socket());
    command.args(["--json", "drill", "run"]).arg(file);
    let mut runner = Process::spawn(&mut command)?;
    thread::sleep(plan.moment);
    // Waiting for their ends would take time that belongs to the measurement.
    let (kill_ns, killed) = (now_ns()?, Instant::now());
    match plan.way {
        Way::KillGuardd => guardd.signal(Signal::SIGKILL)?,
        Way::KillRunner => runner.signal(Signal::SIGKILL)?,
        Way::KillBoth if plan.first_end => {
            guardd.signal(Signal::SIGKILL)?;
            runner.signal(Signal::SIGKILL)?;
        }
        Way::KillBoth => {
            runner.signal(Signal::SIGKILL)?;
            guardd.signal(Signal::SIGKILL)?;
        }
        Way::StopGuardd => guardd.signal(Signal::SIGSTOP)?,
    }
    thread::sleep((LIMIT + WATCH_MORE).saturating_sub(killed.elapsed()));
    Ok((runner, kill_ns))
}

/// Ends what the signals have left, as an operator would.
fn end(plan: Plan, guardd: &mut Guardd, runner: &mut Process, pids: &mut Vec<u32>) -> Result<()> {
    match plan.way {
        Way::KillRunner => {
            let listed = guardd.ctl_json(&["status"])?;
            let faults = listed["faults"].as_array().context("no list of faults")?;
            ensure!(faults.is_empty(), "faults go on without their runner: {faults:?}");
            let chains = chains(pids);
            ensure!(chains.is_empty(), "chains stay while guardd runs: {chains:?}");
            stop(guardd)?;
        }
        Way::StopGuardd if !plan.first_end => {
            guardd.signal(Signal::SIGCONT)?;
            stop(guardd)?;
        }
        Way::KillGuardd | Way::KillBoth | Way::StopGuardd => {
            guardd.sigkill()?;
            if plan.first_end {
                let said = guardd.cleanup()?;
                ensure!(said.code == 0, "guardctl cleanup: {}{}", said.stdout, said.stderr);
            } else {
                guardd.restart()?;
                pids.push(guardd.pid()?);
                stop(guardd)?;
            }
        }
    }
    runner.wait(END_LIMIT).context("the drill's runner goes on without guardd").map(drop)
}

fn stop(guardd: &mut Guardd) -> Result<()> {
    let status = guardd.stop()?;
    ensure!(status.success(), "guardd ended with {status}");
    Ok(())
}

/// Numbers and times of the datagrams that come until it is over.
fn collect(probe: &Probe, over: &AtomicBool) -> Result<HashMap<u64, u64>> {
    let mut arrivals = HashMap::new();
    loop {
        // One more look when it is over: the last may be under way.
        let last = over.load(Ordering::SeqCst);
        while let Some(got) = probe.next(Duration::from_millis(50))? {
            arrivals.insert(got.number, got.arrival_ns);
        }
        if last {
            return Ok(arrivals);
        }
    }
}
