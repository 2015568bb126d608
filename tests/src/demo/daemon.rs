//! guardd as the demo runs it: the real daemon with the configuration file, and the real guardctl
//! to operate it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::http;
use testbed::process::{Process, binary};

use super::leftovers::MARK;
use super::setup::Setup;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// guardd, running or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    setup: Setup,
    process: Option<Process>,
}

impl Daemon {
    /// Not running yet.
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, process: None }
    }

    /// Starts it and waits until it is ready; how long that took.
    pub(crate) fn start(&mut self) -> Result<Duration> {
        let mut command = Command::new(binary("guardd")?);
        command.arg("--config").arg(&self.setup.config);
        let start = Instant::now();
        let process = self.process.insert(Process::spawn(ours(&mut command))?);
        loop {
            // Refused or slow answers mean only that it is not ready yet.
            let ready = http::get(self.setup.metrics, "/readyz", Duration::from_secs(2));
            if ready.is_ok_and(|(status, _)| status == 200) && self.setup.socket.exists() {
                return Ok(start.elapsed());
            }
            if let Some(status) = process.try_wait()? {
                bail!("guardd ended ({status}):\n{}", process.last_words());
            }
            ensure!(start.elapsed() < START_LIMIT, "guardd:\n{}", process.last_words());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: it has no chance to clear anything away. When that was, Unix time in nanoseconds.
    pub(crate) fn kill(&mut self) -> Result<u64> {
        let mut process = self.process.take().context("guardd does not run")?;
        let at = unix_ns();
        process.kill()?;
        Ok(at)
    }

    /// SIGTERM, and waits until it has cleared away.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.stop(STOP_LIMIT)?;
        ensure!(status.success(), "guardd ended with {status}:\n{}", process.last_words());
        Ok(())
    }

    /// Lines of its log that contain `text`.
    pub(crate) fn log_lines(&self, text: &str) -> Vec<String> {
        let Some(process) = &self.process else { return Vec::new() };
        let lines = process.stdout().into_iter().chain(process.stderr());
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Text of `/metrics`.
    pub(crate) fn metrics(&self) -> Result<String> {
        let (status, text) = http::get(self.setup.metrics, "/metrics", Duration::from_secs(5))?;
        ensure!(status == 200, "/metrics answered {status}");
        Ok(text)
    }
}

/// `guardctl ARGS`; what it printed, or an error if it did not exit with 0.
pub(crate) fn ctl(setup: &Setup, args: &[&str]) -> Result<String> {
    let output = guardctl(&setup.socket)?.args(args).output().context("cannot run guardctl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "guardctl {}: {text}{}", args.join(" "), said.trim_end());
    Ok(text)
}

/// `guardctl --json ARGS`.
pub(crate) fn ask(setup: &Setup, args: &[&str]) -> Result<Value> {
    let text = ctl(setup, &[&["--json"], args].concat())?;
    serde_json::from_str(&text).with_context(|| format!("guardctl {args:?} printed {text}"))
}

/// `guardctl cleanup`: for when guardd did not clear away itself. An error while it runs.
pub(crate) fn clean_up(setup: &Setup) -> Result<String> {
    let state_dir = setup.state_dir.display().to_string();
    ctl(setup, &["cleanup", "--state-dir", &state_dir])
}

/// guardctl with the demo's socket; options before the subcommand, so that what follows `exec`
/// belongs to the command.
pub(crate) fn guardctl(socket: &Path) -> Result<Command> {
    let mut command = Command::new(binary("guardctl")?);
    command.arg("--socket").arg(socket);
    ours(&mut command);
    Ok(command)
}

/// Marks a process as the demo's and keeps the terminal's Ctrl-C from it: the demo ends its
/// processes itself, in the right order.
fn ours(command: &mut Command) -> &mut Command {
    command.env(MARK.0, MARK.1).process_group(0)
}

/// Now, Unix time in nanoseconds: the agents' records bear the same.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
