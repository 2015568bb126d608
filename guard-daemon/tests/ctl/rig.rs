//! A control server in a thread of its own, and ways to talk to it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard_daemon::control::{AccessRule, bind, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::handler::TestHandler;

pub(crate) struct Rig {
    pub(crate) directory: TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) handler: Arc<TestHandler>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with_access(AccessRule::new(None))
    }

    pub(crate) fn with_access(access: AccessRule) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("guardd.sock");
        let handler = Arc::new(TestHandler::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (socket, handler) = (socket.clone(), Arc::clone(&handler));
            move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let listener = bind(&socket).unwrap();
                    ready.send(()).unwrap();
                    serve(listener, handler, access, async { stopped.await.unwrap_or(()) }).await;
                });
            }
        });
        is_ready.recv().unwrap();
        Self { directory, socket, handler, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = guardctl(&self.socket);
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// Sends a request as it is; the whole answer, as text.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if let Err(error) = stream.shutdown(Shutdown::Both) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        }
        answer
    }

    /// Lets everybody reach the socket and the directory, so that only the credentials decide.
    pub(crate) fn open_to_all(&self) {
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(self.directory.path(), 0o755);
        set(&self.socket, 0o666);
    }

    /// A copy of guardctl that every user can run.
    ///
    /// Made by another process: a child that a neighbouring test starts while this one has the copy
    /// open for writing would inherit it, and running it would fail (`Text file busy`).
    pub(crate) fn public_guardctl(&self) -> PathBuf {
        let copy = self.directory.path().join("guardctl");
        if !copy.exists() {
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_guardctl")).arg(&copy).status();
            assert!(copied.unwrap().success());
        }
        copy
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The binary, with no options from this test's own environment.
pub(crate) fn guardctl(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guardctl"));
    command.env_remove("GUARD_COLOR").env("GUARD_SOCKET", socket);
    command
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert!(self.out.is_ascii(), "{}", self.out);
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("not one document ({e}): {self:?}"))
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Waits until it is so, for 10 s at most.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
