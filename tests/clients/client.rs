//! One client library as a process inside the bulkhead, stepped call by call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use testbed::cgroup;
use testbed::guardd::Guardd;
use testbed::process::Process;

use super::{BULKHEAD, LIMIT};

/// What became of a call, as the library says it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    /// Whether it was answered.
    pub(crate) ok: bool,
    /// The error in the library's words.
    pub(crate) error: String,
    /// Name of the errno below it; empty if none.
    pub(crate) errno: String,
    /// How long it took inside the client, milliseconds.
    pub(crate) ms: f64,
}

/// The process.
pub(crate) struct Client {
    process: Process,
    name: String,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Client {
    /// Starts it inside the bulkhead; `retries` are those that it makes by itself.
    pub(crate) fn start(
        guardd: &Guardd,
        program: &str,
        kind: &str,
        url: &str,
        retries: u32,
    ) -> Self {
        let path = guardd.bulkhead(BULKHEAD);
        Self::start_in(program, kind, url, retries, |command| cgroup::wrap(&path, &command))
    }

    /// Starts it in whatever `wrap` puts its command into.
    pub(crate) fn start_in(
        program: &str,
        kind: &str,
        url: &str,
        retries: u32,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        let mut command = match program {
            "python" => script(&python(), "client.py"),
            "node" => script(Path::new("node"), "client.mjs"),
            _ => script(Path::new("bash"), "curl.sh"),
        };
        command.args([kind, url, &retries.to_string()]);
        let process = Process::spawn(&mut wrap(command)).unwrap();
        Self { process, name: format!("{program} {kind}") }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for the end of the call that was started; `None` if it does not come in time.
    pub(crate) fn end_within(&mut self, limit: Duration) -> Option<Answer> {
        let line = self.process.next_line(limit).ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{self}: {line}: {error}")))
    }

    /// Makes one call.
    pub(crate) fn call(&mut self) -> Answer {
        self.begin();
        self.end()
    }

    /// Makes one call, which must be answered.
    pub(crate) fn good(&mut self) {
        let answer = self.call();
        assert!(answer.ok, "{self}: {answer:?}");
    }

    /// Starts a call.
    pub(crate) fn begin(&mut self) {
        self.process.send_line("call").unwrap();
    }

    /// Waits for the end of the call that was started.
    pub(crate) fn end(&mut self) -> Answer {
        let line = self.process.next_line(LIMIT).unwrap_or_else(|error| {
            panic!("{self}: {error:#}\n{}", self.process.last_words());
        });
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{self}: {line}: {error}"))
    }
}

/// Where the libraries are installed.
fn directory() -> PathBuf {
    let text = std::env::var_os("GUARD_CLIENTS_DIR");
    PathBuf::from(text.expect("GUARD_CLIENTS_DIR is not set: run `cargo xtask clients`"))
}

/// The interpreter with the Python libraries.
pub(crate) fn python() -> PathBuf {
    directory().join("venv/bin/python")
}

/// A script beside the libraries, where Node looks for them.
pub(crate) fn script(interpreter: &Path, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(directory().join(name));
    command
}
