//! Failures of processes: an agent that crashes in its task, one that leaks, a resolver that is gone.
//! On the bare side nobody starts anything again, as on a host without a supervisor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::cgroup::{mount_point, wrap};
use testbed::guardd::free_port;
use testbed::process::Process;

use super::PATIENCE;
use super::lane::{Lane, NAME};
use super::work::steps;
use crate::bench::paired::Side;

const LONG: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// How long a task goes on before: longer than from one checkpoint to the next.
const BEFORE: Duration = Duration::from_secs(8);
const CHECKPOINT_EVERY: &str = "2s";
/// What is left of a write at the moment of a crash.
const TORN: &str = "17";
/// What the leaking agent may use, with guard.
const MEMORY_MAX: &str = "64MiB";
/// A bare agent above this has taken the host's memory.
const GONE_TOO_FAR_BYTES: u64 = 256 << 20;

pub(super) fn can_limit_memory() -> Result<bool> {
    let top = mount_point()?;
    let offered = fs::read_to_string(top.join("cgroup.controllers"))?;
    let memory = offered.split_whitespace().any(|word| word == "memory");
    if memory {
        // As systemd does on its hosts; guard never writes above its root.
        fs::write(top.join("cgroup.subtree_control"), "+memory")
            .context("cgroup.subtree_control")?;
    }
    Ok(memory)
}

/// The state and the files of a task.
struct Task {
    state: PathBuf,
    pid: PathBuf,
    leak: PathBuf,
}

impl Task {
    fn new(files: &Path) -> Result<Self> {
        let state = files.join("state");
        fs::create_dir_all(&state)?;
        Ok(Self { state, pid: files.join("pid"), leak: files.join("leak") })
    }

    fn arguments(&self) -> Result<Vec<String>> {
        let own = std::env::current_exe()?;
        let leak = self.leak.display().to_string();
        let words = [own.as_path(), Path::new("work"), Path::new("task"), &self.state, &self.pid];
        let mut words: Vec<String> = words.iter().map(|word| word.display().to_string()).collect();
        words.extend(["--leak".to_owned(), leak]);
        Ok(words)
    }

    /// The part of the configuration that has guard run it.
    fn configured(&self) -> Result<String> {
        Ok(format!(
            "[agents.{NAME}]\nbulkhead = \"{NAME}\"\ncommand = {:?}\nrestart = \"always\"\n\
             [agents.{NAME}.checkpoint]\npaths = [\"{}\"]\nevery = \"{CHECKPOINT_EVERY}\"\n",
            self.arguments()?,
            self.state.display()
        ))
    }

    fn steps(&self) -> u64 {
        steps(&self.state.join("steps")).unwrap_or(0)
    }

    /// Has guard run it, or starts it.
    fn start(&self, lane: &Lane) -> Result<Option<Process>> {
        if lane.is_guarded() {
            return Ok(None);
        }
        let arguments = self.arguments()?;
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]);
        Process::spawn(&mut wrap(lane.cgroup(), &command)).map(Some)
    }

    fn wait_for_steps(&self, more_than: u64) -> Option<Duration> {
        since(|| self.steps() > more_than)
    }
}

/// How long until it is so; `None` = longer than anybody waits.
fn since(is_so: impl Fn() -> bool) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if is_so() {
            return Some(start.elapsed());
        }
        thread::sleep(LOOK);
    }
    None
}

fn pid_in(file: &Path) -> Result<u32> {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Ok(pid) = text.parse() {
            return Ok(pid);
        }
        anyhow::ensure!(start.elapsed() < LONG, "{} tells no process", file.display());
        thread::sleep(LOOK);
    }
}

fn end(pid: u32) -> Result<()> {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).with_context(|| format!("process {pid}"))
}

/// Dies in the middle of a write; heals when it is further than it was.
pub(super) fn crash(side: Side) -> Result<Option<Duration>> {
    let mut configured = Ok(String::new());
    let lane = Lane::start(side, |files| {
        configured = Task::new(files).and_then(|task| task.configured());
        format!("[bulkheads.{NAME}]\n{}", configured.as_deref().unwrap_or_default())
    })?;
    configured?;
    let task = Task::new(lane.files())?;
    let _bare = task.start(&lane)?;
    let pid = pid_in(&task.pid)?;
    thread::sleep(BEFORE);
    let reached = task.steps();
    end(pid)?;
    fs::write(task.state.join("steps"), TORN)?;
    let took = task.wait_for_steps(reached);
    lane.finish()?;
    Ok(took)
}

/// Wants ever more memory; heals when the task goes on without it. The outage begins and ends with the
/// leak's first step.
pub(super) fn leak(side: Side) -> Result<Option<Duration>> {
    let mut configured = Ok(String::new());
    let lane = Lane::start(side, |files| {
        configured = Task::new(files).and_then(|task| task.configured());
        format!(
            "[bulkheads.{NAME}]\nmemory_max = \"{MEMORY_MAX}\"\nmemory_swap_max = \"0MiB\"\n{}",
            configured.as_deref().unwrap_or_default()
        )
    })?;
    configured?;
    let task = Task::new(lane.files())?;
    let mut bare = task.start(&lane)?;
    let first = pid_in(&task.pid)?;
    thread::sleep(BEFORE);
    fs::write(&task.leak, "")?;
    let resident = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages = text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        pages.map(|pages| pages * 4096)
    };
    // Until the process that leaks is gone, or has gone too far.
    since(|| resident(first).is_none_or(|bytes| bytes > GONE_TOO_FAR_BYTES))
        .context("it does not leak")?;
    let took = if resident(first).is_some() {
        None
    } else {
        let reached = task.steps();
        task.wait_for_steps(reached)
    };
    if let Some(bare) = &mut bare {
        bare.kill()?;
    }
    lane.finish()?;
    Ok(took)
}

/// The resolver of the host dies; heals when the agent's look-ups go well again.
pub(super) fn dns(side: Side) -> Result<Option<Duration>> {
    let address = free_port()?;
    let own = std::env::current_exe()?;
    let own_text = own.display().to_string();
    let lane = Lane::start(side, |files| {
        let pid = files.join("pid");
        let command = [
            own_text.clone(),
            "work".into(),
            "resolver".into(),
            address.to_string(),
            pid.display().to_string(),
        ];
        format!(
            "[bulkheads.{NAME}]\n[bulkheads.resolver]\n\
             [agents.resolver]\ncommand = {command:?}\nrestart = \"always\"\n"
        )
    })?;
    let pid = lane.files().join("pid");
    let mut command = Command::new(&own);
    command.args(["work", "resolver", &address.to_string()]).arg(&pid);
    let _bare = if lane.is_guarded() { None } else { Some(Process::spawn(&mut command)?) };
    let resolver = pid_in(&pid)?;
    let mut command = Command::new(&own);
    command.args(["work", "lookups", &address.to_string()]);
    let mut agent = Process::spawn(&mut wrap(lane.cgroup(), &command))?;
    agent.wait_for_line(LONG, |line| line == "good")?;
    end(resolver)?;
    let start = Instant::now();
    agent.wait_for_line(LONG, |line| line == "bad")?;
    let took = agent.wait_for_line(PATIENCE, |line| line == "good").ok().map(|_| start.elapsed());
    drop(agent);
    lane.finish()?;
    Ok(took)
}
