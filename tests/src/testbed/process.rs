//! A child process that cannot outlive its owner: killed and reaped on drop, with its output
//! kept line by line. It signals only the child that it started itself. Limits of waits are in the
//! scale of [`timing`].

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::timing;

/// Path of a binary of this workspace: in `$GUARD_BIN_DIR`, else beside (or above `deps/` of)
/// the running executable, where cargo puts them.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory =
        if let Some(directory) = std::env::var_os("GUARD_BIN_DIR").filter(|dir| !dir.is_empty()) {
            PathBuf::from(directory)
        } else {
            let exe = std::env::current_exe().context("where is this executable?")?;
            let directory = exe.parent().context("it has no directory")?;
            let above = directory.parent().filter(|_| directory.ends_with("deps"));
            above.unwrap_or(directory).to_owned()
        };
    let path = directory.join(name);
    ensure!(
        path.is_file(),
        "there is no {}: run `cargo build -p guard-daemon -p guard-tests --bins`, or name the \
         directory in GUARD_BIN_DIR",
        path.display()
    );
    Ok(path)
}

/// A child process with its output.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    status: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    out: Vec<String>,
    err: Vec<String>,
    /// Pipes that are still open.
    open: u8,
    /// First line of `out` that `next_line` has not returned yet.
    next: usize,
}

impl Process {
    /// Starts a command with pipes for all three streams.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = Arc::new(Output::default());
        output.lock().open = 2;
        if let Some(pipe) = child.stdout.take() {
            collect(pipe, Arc::clone(&output), |lines| &mut lines.out);
        }
        if let Some(pipe) = child.stderr.take() {
            collect(pipe, Arc::clone(&output), |lines| &mut lines.err);
        }
        let stdin = child.stdin.take();
        Ok(Self { name, child, stdin, output, status: None })
    }

    /// Starts `program` with `args`.
    pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Self> {
        Self::spawn(Command::new(program).args(args))
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to its standard input.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its standard input is closed")?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush())?;
        Ok(())
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next line of standard output that was not returned before.
    pub fn next_line(&mut self, limit: Duration) -> Result<String> {
        self.wait_for_line(limit, |_| true)
    }

    /// The next line of standard output that `wanted` accepts; those before it are skipped.
    pub fn wait_for_line(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let limit = timing::at_most(limit);
        let deadline = Instant::now() + limit;
        let mut lines = self.output.lock();
        loop {
            while let Some(line) = lines.out.get(lines.next).cloned() {
                lines.next += 1;
                if wanted(&line) {
                    return Ok(line);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.open == 0 {
                let how = if left.is_zero() { "said nothing of it" } else { "closed its output" };
                bail!("{} {how} (limit {limit:?}); it said:\n{}", self.name, tail(&lines));
            }
            lines = self.output.wait(lines, left);
        }
    }

    /// All lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.output.lock().out.clone()
    }

    /// All lines of standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.output.lock().err.clone()
    }

    /// The last lines of both streams, for error messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        tail(&self.output.lock())
    }

    /// Sends a signal; does nothing once it has ended and was reaped.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        // The pid cannot have been given to another: we have not reaped it.
        kill(Pid::from_raw(self.child.id() as i32), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for its end and for the end of its output; it goes on running after an error.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let limit = timing::at_most(limit);
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} has not ended within {limit:?}; it said:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            thread::sleep(timing::at_most(Duration::from_millis(1)));
        };
        // A grandchild may hold the pipes open: its output is not waited for longer than this.
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut lines = self.output.lock();
        while lines.open > 0 && Instant::now() < deadline {
            lines = self.output.wait(lines, Duration::from_millis(100));
        }
        Ok(status)
    }

    /// Sends SIGTERM and waits; SIGKILL after `limit`, which is an error.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match self.wait(limit) {
            Ok(status) => Ok(status),
            Err(error) => {
                self.kill()?;
                Err(error.context("SIGTERM was not enough"))
            }
        }
    }

    /// SIGKILL, and reaps it.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("cannot end {} (pid {}): {error:#}", self.name, self.child.id());
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, lines: MutexGuard<'a, Lines>, limit: Duration) -> MutexGuard<'a, Lines> {
        let (lines, _) =
            self.changed.wait_timeout(lines, limit).unwrap_or_else(PoisonError::into_inner);
        lines
    }
}

fn collect(
    pipe: impl Read + Send + 'static,
    output: Arc<Output>,
    stream: fn(&mut Lines) -> &mut Vec<String>,
) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        // A read error is an end like any other: the pipe is gone.
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            stream(&mut output.lock()).push(text);
            output.changed.notify_all();
            line.clear();
        }
        output.lock().open -= 1;
        output.changed.notify_all();
    });
}

fn tail(lines: &Lines) -> String {
    let last = |of: &[String]| of[of.len().saturating_sub(20)..].join("\n  ");
    format!("  stdout:\n  {}\n  stderr:\n  {}", last(&lines.out), last(&lines.err))
}

#[cfg(test)]
mod tests {
    use super::Process;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn lines_go_both_ways_and_the_status_is_kept() {
        let mut cat =
            Process::run("sh", &["-c", "read a; echo got $a; echo no >&2; exit 7"]).unwrap();
        cat.send_line("this").unwrap();
        assert_eq!(cat.next_line(LIMIT).unwrap(), "got this");
        assert_eq!(cat.wait(LIMIT).unwrap().code(), Some(7));
        assert_eq!(cat.stderr(), ["no"]);
        let error = cat.next_line(LIMIT).unwrap_err().to_string();
        assert!(error.contains("closed its output"), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let sleep = Process::run("sleep", &["600"]).unwrap();
        let path = format!("/proc/{}", sleep.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(sleep);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_line_that_never_comes_is_an_error_with_what_was_said() {
        let mut sleep = Process::run("sh", &["-c", "echo hello; sleep 600"]).unwrap();
        let wait = sleep.wait_for_line(Duration::from_millis(200), |line| line == "bye");
        assert!(wait.unwrap_err().to_string().contains("hello"));
    }
}
