//! `testbed-server`: the scripted server as a process of its own.

use std::io::{stdin, stdout};
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use testbed::server::{Behaviour, Server, control};

/// Scripted HTTP/1.1, echo and UDP server of guard's test-bed. Loopback only, and 198.51.100.0/24
/// inside namespaces.
#[derive(Parser)]
struct Options {
    /// TCP address; port 0 = a free one. May be repeated.
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// UDP address that sends datagrams back. May be repeated.
    #[arg(long)]
    udp: Vec<SocketAddr>,
    /// First behaviour: `answer status=503 delay=50ms`, `echo`, `hang`, `reset-on-accept`, …
    #[arg(long, default_value = "answer")]
    behaviour: Behaviour,
    /// Take commands from standard input and end with it; else serve until SIGTERM.
    #[arg(long)]
    control: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(!options.listen.is_empty() || !options.udp.is_empty(), "give --listen or --udp");
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    if !options.control {
        // Before any thread exists, so that all of them leave these signals to `wait`.
        ends.thread_block()?;
    }
    let mut server = Server::start_with(&options.listen, &options.udp, options.behaviour)?;
    if options.control {
        return control::serve(&mut server, stdin().lock(), stdout().lock());
    }
    control::serve(&mut server, std::io::empty(), stdout().lock())?;
    ends.wait()?;
    Ok(())
}
