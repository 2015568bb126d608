//! Small programs that run inside the lanes: an agent with a task of many steps, a resolver, and an
//! agent that asks it.

use std::fs;
use std::io::{Write as _, stdout};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

/// Time of one step.
const STEP: Duration = Duration::from_millis(50);
/// What each step takes while it leaks.
const LEAK_BYTES: usize = 2 << 20;
/// A query for `guard.test`, class IN, type A.
const QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05guard\x04test\x00\x00\x01\x00\x01";

/// What to be.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Work {
    /// Goes on with a task where its state file says, step by step, for ever
    Task {
        /// Directory of the state file `steps`
        state: PathBuf,
        /// Where the process id is told
        pid: PathBuf,
        /// Leaks once this file is there, and removes it
        #[arg(long)]
        leak: Option<PathBuf>,
    },
    /// Answers queries
    Resolver {
        /// Where
        address: SocketAddr,
        /// Where the process id is told
        pid: PathBuf,
    },
    /// Asks it, five times a second, and says how that went
    Lookups {
        /// Of the resolver
        address: SocketAddr,
    },
}

/// Is it, until it is ended.
pub(crate) fn main(work: &Work) -> Result<()> {
    match work {
        Work::Task { state, pid, leak } => {
            tell(pid)?;
            task(&state.join("steps"), leak.as_deref())
        }
        Work::Resolver { address, pid } => {
            let socket = UdpSocket::bind(address)?;
            tell(pid)?;
            resolve(&socket)
        }
        Work::Lookups { address } => look_up(*address),
    }
}

fn tell(file: &Path) -> Result<()> {
    fs::write(file, std::process::id().to_string())
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Each step is written down before the next; whoever finds no number starts from nothing.
fn task(file: &Path, leak: Option<&Path>) -> Result<()> {
    let mut leaked: Vec<Vec<u8>> = Vec::new();
    let mut leaking = false;
    loop {
        let steps = steps(file).unwrap_or(0) + 1;
        let next = file.with_extension("next");
        fs::write(&next, format!("{steps}\n"))?;
        fs::rename(&next, file)?;
        if leak.is_some_and(|leak| fs::remove_file(leak).is_ok()) {
            leaking = true;
        }
        if leaking {
            leaked.push(vec![1; LEAK_BYTES]);
        }
        thread::sleep(STEP);
    }
}

/// What a state file says.
pub(super) fn steps(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok()
}

fn resolve(socket: &UdpSocket) -> Result<()> {
    let mut bytes = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut bytes)?;
        // The query with the bit of an answer.
        if length > 2 {
            bytes[2] |= 0x80;
        }
        socket.send_to(&bytes[..length], from)?;
    }
}

fn look_up(address: SocketAddr) -> Result<()> {
    let mut answer = [0; 512];
    loop {
        // As resolvers' clients do: a socket for each query.
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect(address)?;
        let asked = socket.send(QUERY).and_then(|_| socket.recv(&mut answer));
        let word = if asked.is_ok_and(|length| length == QUERY.len()) { "good" } else { "bad" };
        writeln!(stdout().lock(), "{word}").context("nobody listens")?;
        ensure!(std::os::unix::process::parent_id() > 1, "left alone");
        thread::sleep(Duration::from_millis(200));
    }
}
