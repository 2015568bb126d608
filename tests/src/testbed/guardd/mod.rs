//! A real guardd, with a configuration, a cgroup root, a state directory and ports of its own.
//! On drop it is stopped, and the test fails if it left anything on the host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

mod config;
mod leftovers;

pub use config::{GuarddConfig, free_port};

use crate::cgroup::ScratchCgroup;
use crate::process::{Process, binary};
use crate::{http, timing, wait};

/// Longest start of a guardd that a test waits for.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A guardd under test.
#[derive(Debug)]
pub struct Guardd {
    // Fields are dropped in this order: process, cgroups, directory.
    process: Option<Process>,
    cgroup: ScratchCgroup,
    directory: TempDir,
    config: GuarddConfig,
    metrics: SocketAddr,
    check_leftovers: bool,
    /// Whether it has never run, or ended in good order when it was asked to.
    stopped_well: bool,
}

/// What `guardctl` said.
#[derive(Clone, Debug)]
pub struct Ctl {
    /// Exit code; -1 if it was ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Guardd {
    /// Writes the configuration, starts guardd and waits until it is ready.
    pub fn start(config: GuarddConfig) -> Result<Self> {
        let mut guardd = Self::prepare(config)?;
        guardd.launch()?;
        guardd.wait_ready()?;
        Ok(guardd)
    }

    /// Makes everything except the process: for tests of starts that fail.
    pub fn prepare(config: GuarddConfig) -> Result<Self> {
        let guardd = Self {
            process: None,
            cgroup: ScratchCgroup::new("guardd")?,
            directory: tempfile::Builder::new().prefix("guard-test-").tempdir()?,
            config,
            metrics: free_port()?,
            check_leftovers: true,
            stopped_well: true,
        };
        guardd.write_config()?;
        Ok(guardd)
    }

    /// Starts the process without waiting for anything.
    pub fn launch(&mut self) -> Result<&mut Process> {
        ensure!(!self.is_running(), "guardd runs already");
        self.stopped_well = false;
        let mut command = Command::new(binary("guardd")?);
        command.arg("--config").arg(self.config_path());
        Ok(self.process.insert(Process::spawn(&mut command)?))
    }

    /// Waits until guardd says that it is ready; an error with its last words if it ends first.
    /// How long that took.
    pub fn wait_ready(&mut self) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let process = self.process.as_mut().context("guardd was not started")?;
            if let Some(status) = process.try_wait()? {
                process.wait(STOP_LIMIT)?;
                bail!("guardd ended ({status}) before it was ready:\n{}", process.last_words());
            }
            // Refused or slow answers mean only that it is not ready yet.
            let ready = http::get(self.metrics, "/readyz", Duration::from_secs(2));
            if ready.is_ok_and(|(status, _)| status == 200) && self.socket().exists() {
                return Ok(start.elapsed());
            }
            if start.elapsed() > timing::at_most(START_LIMIT) {
                bail!("guardd is not ready after {:?}:\n{}", start.elapsed(), self.last_words());
            }
            std::thread::sleep(timing::at_most(Duration::from_millis(5)));
        }
    }

    /// Starts it again after [`Guardd::sigkill`] or [`Guardd::stop`], with the same files.
    pub fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_ready().map(drop)
    }

    /// Writes another configuration; takes effect at a reload or restart.
    pub fn set_config(&mut self, config: GuarddConfig) -> Result<()> {
        self.config = config;
        self.write_config()
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("guard.toml")
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("guardd.sock")
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Address of `/metrics`.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// The directory that holds all its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its cgroup root.
    #[must_use]
    pub fn cgroup(&self) -> &ScratchCgroup {
        &self.cgroup
    }

    /// Path of a bulkhead's cgroup, from the `cgroup` key of its configuration.
    #[must_use]
    pub fn bulkhead(&self, cgroup: &str) -> PathBuf {
        self.cgroup.path().join(cgroup)
    }

    /// The process; an error if it does not run.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("guardd was not started")
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("guardd was not started")?.pid())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// `guardctl ARGS --socket …`, whatever its exit code.
    pub fn ctl(&self, args: &[&str]) -> Result<Ctl> {
        let mut command = Command::new(binary("guardctl")?);
        // The option first: after `exec B --` everything belongs to the command.
        command.arg("--socket").arg(self.socket()).args(args);
        let output = command.output().context("cannot run guardctl")?;
        Ok(Ctl {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// `guardctl --json ARGS`; an error unless it exits with 0 and prints one JSON document.
    pub fn ctl_json(&self, args: &[&str]) -> Result<Value> {
        let mut all = vec!["--json"];
        all.extend(args);
        let ctl = self.ctl(&all)?;
        ensure!(ctl.code == 0, "guardctl {args:?} gave {}: {}{}", ctl.code, ctl.stdout, ctl.stderr);
        serde_json::from_str(&ctl.stdout)
            .with_context(|| format!("guardctl {args:?} did not print JSON: {}", ctl.stdout))
    }

    /// Text of `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        let (status, body) = http::get(self.metrics, "/metrics", Duration::from_secs(5))?;
        ensure!(status == 200, "/metrics answered {status}: {body}");
        Ok(body)
    }

    /// Sum of all series of a metric whose labels contain every one of `labels`
    /// (`bulkhead="a"`); `None` if there is no such series.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<Option<f64>> {
        let text = self.metrics()?;
        let values: Vec<f64> = text.lines().filter_map(|l| series(l, name, labels)).collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// Kills it without warning and reaps it. What it left is not held against it at drop until
    /// it is started again.
    pub fn sigkill(&mut self) -> Result<()> {
        self.check_leftovers = false;
        self.process()?.kill().map(drop)
    }

    /// Stops it with SIGTERM; an error if that takes too long.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let status = self.process()?.stop(STOP_LIMIT)?;
        self.check_leftovers = true;
        self.stopped_well = status.success();
        Ok(status)
    }

    /// `guardctl cleanup` after it was killed; after success nothing is held against it at drop.
    pub fn cleanup(&mut self) -> Result<Ctl> {
        let state = self.state_dir().display().to_string();
        let said = self.ctl(&["cleanup", "--state-dir", &state])?;
        (self.check_leftovers, self.stopped_well) = (true, said.code == 0);
        Ok(said)
    }

    /// What is still on the host that only this guardd can have made, one line each.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        leftovers::find(self.directory.path(), &self.cgroup)
    }

    /// Stops it if it runs, and checks that nothing is left.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.is_running() {
            let status = self.stop()?;
            ensure!(status.success(), "guardd ended with {status}:\n{}", self.last_words());
        }
        if self.check_leftovers && self.process.is_some() {
            self.check_leftovers = false;
            // Cgroups of processes that the test is just ending go a moment later.
            let clean = || self.leftovers().is_empty();
            if wait::until("nothing left", Duration::from_millis(500), clean).is_err() {
                bail!("guardd left on the host:\n  {}", self.leftovers().join("\n  "));
            }
        }
        Ok(())
    }

    /// A test that failed may have left it stopped: then it could not end.
    fn signal_if_running(&mut self, signal: Signal) -> Result<()> {
        if self.is_running() { self.signal(signal) } else { Ok(()) }
    }

    /// For a test that failed after it has killed guardd: the next one shall find a clean host.
    fn clean_up(&self) {
        let state = self.state_dir().display().to_string();
        match self.ctl(&["cleanup", "--state-dir", &state]) {
            Ok(said) => eprintln!("guardctl cleanup said:\n{}{}", said.stdout, said.stderr),
            Err(error) => eprintln!("testbed: {error:#}"),
        }
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }

    fn write_config(&self) -> Result<()> {
        let text = self.config.render(self.directory.path(), self.metrics, self.cgroup.path());
        std::fs::write(self.config_path(), text).context("cannot write guard.toml")
    }
}

impl Drop for Guardd {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && let Err(error) = self.signal_if_running(Signal::SIGCONT) {
            eprintln!("testbed: {error:#}");
        }
        let result = self.end();
        // Killed by whoever gave up with an error and no panic, as benchmarks do, it must leave
        // nothing either.
        if failed || result.is_err() || !self.stopped_well {
            self.clean_up();
        }
        if failed {
            // The test has failed already: what guardd said is the best hint why.
            eprintln!("guardd's last words:\n{}", self.last_words());
            return;
        }
        assert!(result.is_ok(), "{:#}", result.err().unwrap_or_else(|| anyhow::anyhow!("")));
    }
}

/// The value of a line of the Prometheus text format, if it is of this metric and these labels.
fn series(line: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (series, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    if !labels.iter().all(|label| series.split(',').any(|own| own == *label)) {
        return None;
    }
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::series;

    #[test]
    fn series_are_found_by_name_and_labels() {
        let line = r#"guard_calls_total{bulkhead="a",outcome="success"} 7"#;
        assert_eq!(series(line, "guard_calls_total", &[r#"bulkhead="a""#]), Some(7.0));
        assert_eq!(series(line, "guard_calls_total", &[r#"bulkhead="b""#]), None);
        assert_eq!(series(line, "guard_calls", &[]), None);
        assert_eq!(series("guard_events_lost_total 2", "guard_events_lost_total", &[]), Some(2.0));
    }
}
