//! Starts an agent, and waits for it, whether it is a child or was adopted.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::report::End;
use super::spec::AgentSpec;
use super::tree::{alive, oom_kills, start_ticks};

/// Pause between two looks at an adopted agent.
const ADOPTED_LOOK: Duration = Duration::from_millis(100);
/// A log that is larger is moved to `.1`.
const LOG_MOST_BYTES: u64 = 10 << 20;
/// Variables that the supervisor passes on to an agent that starts clean.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

/// An agent that runs.
pub(super) struct Agent {
    /// Process id and when it began.
    pub(super) id: (u32, u64),
    kind: Kind,
    oom_before: u64,
}

enum Kind {
    Child(Box<Child>),
    /// Looked at now and then: only its parent would be told.
    Adopted,
}

impl Agent {
    /// Starts it by way of `guardctl exec`, which joins the bulkhead and becomes the command.
    pub(super) fn start(spec: &AgentSpec) -> Result<Self, String> {
        let mut command = guardctl(spec, &["--else-cgroup"], &spec.command)?;
        if let Some(log) = &spec.log {
            let out = open_log(log)?;
            let also = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
            command.stdout(out).stderr(also);
        }
        let child = command.spawn().map_err(|error| format!("guardctl exec: {error}"))?;
        let pid = child.id().ok_or("it has ended already")?;
        // A child that has ended already is a zombie until it is waited for: no start time.
        let id = (pid, start_ticks(pid).unwrap_or(0));
        Ok(Self { id, kind: Kind::Child(Box::new(child)), oom_before: oom_kills(&spec.cgroup) })
    }

    /// Takes over one that another supervisor has started.
    pub(super) fn adopt(spec: &AgentSpec, id: (u32, u64)) -> Option<Self> {
        if !alive(id) {
            return None;
        }
        let kind = Kind::Adopted;
        Some(Self { id, kind, oom_before: oom_kills(&spec.cgroup) })
    }

    /// Until it has ended.
    pub(super) async fn ended(&mut self, cgroup: &Path) -> End {
        let end = match &mut self.kind {
            Kind::Child(child) => match child.wait().await {
                Ok(status) => {
                    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                    signal.map_or(End::Code(status.code().unwrap_or(1)), End::Signal)
                }
                Err(_) => End::Unknown,
            },
            Kind::Adopted => {
                while alive(self.id) {
                    tokio::time::sleep(ADOPTED_LOOK).await;
                }
                End::Unknown
            }
        };
        let killed = matches!(end, End::Signal(9) | End::Unknown | End::Code(_)) && end.is_crash();
        if killed && oom_kills(cgroup) > self.oom_before { End::OutOfMemory } else { end }
    }

    /// Sends it a signal; one that has ended gets none.
    pub(super) fn signal(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.id.0) else { return };
        // A child is not reaped before `ended` says so, so its number is still its own.
        let runs = match self.kind {
            Kind::Child(_) => true,
            Kind::Adopted => alive(self.id),
        };
        if runs && let Err(error) = kill(Pid::from_raw(pid), signal) {
            tracing::debug!(pid, %signal, %error, "a signal did not reach the agent");
        }
    }
}

/// `guardctl exec` for a command of this agent; `flags` come before the path of its cgroup.
pub(super) fn guardctl(
    spec: &AgentSpec,
    flags: &[&str],
    words: &[String],
) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| format!("guardctl's path: {error}"))?;
    let mut command = Command::new(program);
    if spec.clean {
        command.env_clear().stdin(Stdio::null()).process_group(0);
        let passed = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(passed);
    }
    command.envs(&spec.environment);
    if let Some(directory) = &spec.directory {
        command.current_dir(directory);
    }
    command.arg("--socket").arg(&spec.socket).arg("exec").arg(format!("--sub={}", spec.sub));
    command.args(flags).arg(&spec.cgroup);
    if let Some(user) = &spec.user {
        command.arg("--user").arg(user);
    }
    command.arg(&spec.bulkhead).arg("--").args(words);
    Ok(command)
}

/// Opens a log to be added to. The agent writes it directly, so that its output never waits for a
/// supervisor, nor breaks with one.
fn open_log(path: &Path) -> Result<File, String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    rotate(path);
    let open = File::options().append(true).create(true).mode(0o640).open(path);
    open.map_err(|error| format!("cannot open the log {}: {error}", path.display()))
}

/// Moves what a log has to `.1` when it is too large. The agent goes on writing into the same file,
/// so it is copied and emptied; what is written in that moment may be lost.
pub(super) fn rotate(path: &Path) {
    if !std::fs::metadata(path).is_ok_and(|found| found.len() > LOG_MOST_BYTES) {
        return;
    }
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    let emptied = std::fs::copy(path, &old)
        .and_then(|_| File::options().write(true).open(path))
        .and_then(|file| file.set_len(0));
    if let Err(error) = emptied {
        tracing::warn!(path = %path.display(), %error, "a log grows beyond its limit");
    }
}
