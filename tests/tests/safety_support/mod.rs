//! What the suites about life, safety and configuration share. Nothing here decides whether
//! guard is right: it starts processes, asks, and reports.
#![allow(dead_code, unreachable_pub, reason = "each suite includes it and needs a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use testbed::agent::AgentProcess;
use testbed::cgroup;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};

/// What anything gets that should take a moment.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Service `api` at these endpoints, and bulkheads whose cgroups bear their names.
pub fn config(api: &[SocketAddr], bulkheads: &[&str]) -> GuarddConfig {
    GuarddConfig::simple(&[("api", api)], bulkheads)
}

/// An agent inside a bulkhead that makes one call (to `url`) when told.
pub fn agent(guardd: &Guardd, cgroup: &str, url: &str, options: &[&str]) -> AgentProcess {
    agent_at(&guardd.bulkhead(cgroup), url, options)
}

/// The same by the cgroup's path.
pub fn agent_at(path: &Path, url: &str, options: &[&str]) -> AgentProcess {
    let all = [&["--connect-timeout", "8s", "--timeout", "8s"], options].concat();
    AgentProcess::stepped(url, &all, |command| cgroup::wrap(path, &command)).unwrap()
}

/// `http://ADDRESS/`.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

/// Connection attempts that guard has counted for (bulkhead, destination).
pub fn connects(guardd: &Guardd, bulkhead: &str, destination: &str) -> u64 {
    counter(guardd, "guard_connects_total", bulkhead, destination)
}

/// Calls that guard has counted for (bulkhead, destination).
pub fn calls(guardd: &Guardd, bulkhead: &str, destination: &str) -> u64 {
    counter(guardd, "guard_calls_total", bulkhead, destination)
}

/// Sum of a counter's series for (bulkhead, destination); 0 without any.
pub fn counter(guardd: &Guardd, name: &str, bulkhead: &str, destination: &str) -> u64 {
    let labels = [format!("bulkhead=\"{bulkhead}\""), format!("destination=\"{destination}\"")];
    let value = guardd.metric(name, &[&labels[0], &labels[1]]).unwrap();
    value.unwrap_or(0.0) as u64
}

/// Puts a fault on (bulkhead a, service api) for a minute; its id.
pub fn inject(guardd: &Guardd, effect: &[&str]) -> u64 {
    let target = ["fault", "inject", "--bulkhead", "a", "--service", "api", "--for", "60s"];
    let fault = guardd.ctl_json(&[&target[..], effect].concat()).unwrap();
    fault["id"].as_u64().unwrap()
}

/// Starts guardd with this configuration file; `wrap` may change the command.
pub fn spawn(config: &Path, wrap: impl FnOnce(Command) -> Command) -> Process {
    let mut command = Command::new(binary("guardd").unwrap());
    command.arg("--config").arg(config);
    Process::spawn(&mut wrap(command)).unwrap()
}

/// Exit code and standard error of a guardd that must end by itself.
pub fn ends(mut guardd: Process) -> (i32, String) {
    let status = guardd.wait(LIMIT).unwrap();
    (status.code().unwrap_or(-1), guardd.stderr().join("\n"))
}

/// Runs a command to its end; exit code, standard output, standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// `guardctl` without a daemon's socket.
pub fn guardctl(arguments: &[&str]) -> (i32, String, String) {
    run(Command::new(binary("guardctl").unwrap()).args(arguments))
}

/// Sends bytes to the control socket and reads until the end of what comes back.
pub fn raw(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // guardd may answer and hang up before all of a huge body is sent.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(sent.is_ok() || !answer.is_empty(), "{sent:?} {read:?}");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same for one HTTP request with a body.
pub fn request(socket: &Path, method: &str, path: &str, body: &[u8]) -> String {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: guardd\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    raw(socket, &[head.as_bytes(), body].concat())
}

/// The HTTP status of an answer.
pub fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// A copy of a binary, in a directory that every user can read.
#[derive(Debug)]
pub struct PublicBinary {
    directory: tempfile::TempDir,
    name: String,
}

impl PublicBinary {
    /// Copies it, by another process: a child that is started while this one writes would inherit
    /// the open file, and running the copy would fail (`Text file busy`).
    pub fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("guard-test-public-").tempdir().unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let mut copy = Command::new("cp");
        copy.arg(binary(name).unwrap()).arg(directory.path().join(name));
        assert!(copy.status().unwrap().success());
        Self { directory, name: name.to_owned() }
    }

    /// The copy.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// A file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The copy, run by user and group nobody.
    pub fn as_nobody(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(self.path()).current_dir("/");
        command
    }
}
