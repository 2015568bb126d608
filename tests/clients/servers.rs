//! The servers: a local one with the APIs of OpenAI and Anthropic, PostgreSQL, Redis. Each listens
//! on a port of its own, keeps its data in a directory that goes with it, and ends with the test.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::guardd::free_port;
use testbed::process::Process;
use testbed::wait;

use super::LIMIT;
use super::client::{python, script};

/// The HTTP server.
pub(crate) struct Api {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Api {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let mut command = script(&python(), "server.py");
        let mut process = Process::spawn(command.arg("0")).unwrap();
        let port: u16 = process.next_line(LIMIT).unwrap().trim().parse().unwrap();
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Lets the next requests hang.
    pub(crate) fn hang(&mut self, requests: u32) {
        self.order(&format!("hang {requests}"));
    }

    /// Closes the listening socket.
    pub(crate) fn stop(&mut self) {
        self.order("stop");
    }

    /// Listens again on the same port.
    pub(crate) fn restart(&mut self) {
        self.order("start");
    }

    fn order(&mut self, order: &str) {
        self.process.send_line(order).unwrap();
        assert_eq!(self.process.next_line(LIMIT).unwrap().trim(), "done");
    }
}

/// A database server.
pub(crate) struct Database {
    _process: Process,
    _directory: tempfile::TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How clients name it.
    pub(crate) url: String,
}

impl Database {
    /// A Redis that keeps nothing.
    pub(crate) fn redis() -> Self {
        let (address, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]);
        command.arg(address.port().to_string()).arg("--dir").arg(directory.path());
        Self::start(&mut command, directory, address, format!("redis://{address}/0"))
    }

    /// A PostgreSQL with an empty cluster. It refuses to run as root.
    pub(crate) fn postgres() -> Self {
        let (address, directory) = (free_port().unwrap(), tempfile::tempdir().unwrap());
        let path = directory.path();
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("a user `postgres`");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        let data = path.join("data");
        let mut make = as_user("postgres", &postgres_program("initdb"));
        make.args(["--auth=trust", "--username=postgres", "--no-sync", "-D"]).arg(&data);
        let made = make.current_dir(path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = as_user("postgres", &postgres_program("postgres"));
        command.current_dir(path).arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", path.display()));
        command.arg("-c").arg(format!("port={}", address.port()));
        let url = format!("postgresql://postgres@{address}/postgres");
        Self::start(&mut command, directory, address, url)
    }

    fn start(
        command: &mut Command,
        directory: tempfile::TempDir,
        address: SocketAddr,
        url: String,
    ) -> Self {
        let process = Process::spawn(command).unwrap();
        let ready = wait::until("the database", LIMIT, || TcpStream::connect(address).is_ok());
        assert!(ready.is_ok(), "{}", process.last_words());
        // It listens a moment before it lets anybody in.
        std::thread::sleep(std::time::Duration::from_secs(1));
        Self { _process: process, _directory: directory, address, url }
    }
}

/// A program of PostgreSQL's newest version: Debian keeps them out of `PATH`.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed");
    let mut paths: Vec<PathBuf> =
        versions.flatten().map(|version| version.path().join("bin").join(name)).collect();
    paths.sort();
    paths.pop().expect("PostgreSQL has no version")
}

fn as_user(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
    command
}
