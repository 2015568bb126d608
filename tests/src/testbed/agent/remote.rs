//! An agent as a process of its own, for a cgroup or a network namespace.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::record::{Record, Summary};
use crate::process::{Process, binary};

/// A running `testbed-agent`; ended on drop.
#[derive(Debug)]
pub struct AgentProcess {
    process: Process,
}

impl AgentProcess {
    /// Starts an agent with these options. `wrap` may put the command into a cgroup or a
    /// namespace: [`crate::cgroup::wrap`], [`crate::netns::Namespace::wrap`].
    pub fn start(args: &[&str], wrap: impl FnOnce(Command) -> Command) -> Result<Self> {
        let mut command = Command::new(binary("testbed-agent")?);
        command.args(args);
        Ok(Self { process: Process::spawn(&mut wrap(command))? })
    }

    /// Starts an agent that waits for [`AgentProcess::call`].
    pub fn stepped(
        target: &str,
        args: &[&str],
        wrap: impl FnOnce(Command) -> Command,
    ) -> Result<Self> {
        let mut all = vec!["--step", "--target", target];
        all.extend(args);
        Self::start(&all, wrap)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Makes one call and waits for its result (stepped agents).
    pub fn call(&mut self, limit: Duration) -> Result<Record> {
        self.start_call()?;
        self.next(limit)
    }

    /// Starts one call without waiting (stepped agents).
    pub fn start_call(&mut self) -> Result<()> {
        self.process.send_line("call")
    }

    /// Makes one call to another target and waits for its result (stepped agents).
    pub fn call_to(&mut self, target: &str, limit: Duration) -> Result<Record> {
        self.process.send_line(&format!("call {target}"))?;
        self.next(limit)
    }

    /// Closes the kept connection (stepped agents).
    pub fn close(&mut self) -> Result<()> {
        self.process.send_line("close")
    }

    /// The next record that was not returned before.
    pub fn next(&mut self, limit: Duration) -> Result<Record> {
        let line = self.process.next_line(limit)?;
        serde_json::from_str(&line).with_context(|| format!("not a record: {line}"))
    }

    /// All records so far, also those returned before.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.process.stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it ends by itself (`--count`, `--duration`) and returns its sums.
    pub fn finish(mut self, limit: Duration) -> Result<(Vec<Record>, Summary)> {
        self.process.wait(limit)?;
        self.result()
    }

    /// Sends SIGTERM and returns its records and sums.
    pub fn stop(mut self) -> Result<(Vec<Record>, Summary)> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(Duration::from_secs(10))?;
        self.result()
    }

    fn result(&self) -> Result<(Vec<Record>, Summary)> {
        let lines = self.process.stdout();
        let summary = lines.last().and_then(|line| serde_json::from_str(line).ok());
        let summary = summary.with_context(|| {
            format!("the agent ended without a summary:\n{}", self.process.last_words())
        })?;
        Ok((self.records(), summary))
    }
}
