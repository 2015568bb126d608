//! The same server as a process of its own: for network namespaces, and where the load of the
//! server must not be in the process that measures.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::control::{Hello, Reply};
use super::{Behaviour, Counts};
use crate::process::{Process, binary};

const LIMIT: Duration = Duration::from_secs(10);

/// A running `testbed-server`; ended on drop.
#[derive(Debug)]
pub struct ServerProcess {
    process: Process,
    hello: Hello,
}

impl ServerProcess {
    /// Serves TCP (and UDP) on these addresses; port 0 = a free one. `wrap` may put the command
    /// into a namespace or a cgroup: [`crate::netns::Namespace::wrap`].
    pub fn start(
        tcp: &[SocketAddr],
        udp: &[SocketAddr],
        wrap: impl FnOnce(Command) -> Command,
    ) -> Result<Self> {
        let mut command = Command::new(binary("testbed-server")?);
        command.arg("--control");
        for address in tcp {
            command.arg("--listen").arg(address.to_string());
        }
        for address in udp {
            command.arg("--udp").arg(address.to_string());
        }
        let mut process = Process::spawn(&mut wrap(command))?;
        let line = process.next_line(LIMIT).context("testbed-server did not start")?;
        let hello = serde_json::from_str(&line).with_context(|| format!("not a hello: {line}"))?;
        Ok(Self { process, hello })
    }

    /// The first TCP address.
    pub fn address(&self) -> Result<SocketAddr> {
        self.hello.tcp.first().copied().context("the server has no TCP address")
    }

    /// The TCP addresses.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.hello.tcp
    }

    /// The UDP addresses.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.hello.udp
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// As [`super::Server::set`].
    pub fn set(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.command(&format!("set {behaviour}")).map(drop)
    }

    /// As [`super::Server::push`].
    pub fn push(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.command(&format!("push {behaviour}")).map(drop)
    }

    /// As [`super::Server::refuse`].
    pub fn refuse(&mut self) -> Result<()> {
        self.command("refuse").map(drop)
    }

    /// As [`super::Server::listen`].
    pub fn listen(&mut self) -> Result<()> {
        self.command("listen").map(drop)
    }

    /// As [`super::Server::close_all`].
    pub fn close_all(&mut self) -> Result<()> {
        self.command("close-all").map(drop)
    }

    /// As [`super::Server::reset_all`].
    pub fn reset_all(&mut self) -> Result<()> {
        self.command("reset-all").map(drop)
    }

    /// As [`super::Server::counts`].
    pub fn counts(&mut self) -> Result<Counts> {
        self.command("counts")?.counts.context("the reply has no counts")
    }

    fn command(&mut self, line: &str) -> Result<Reply> {
        self.process.send_line(line)?;
        let reply = self.process.next_line(LIMIT)?;
        let reply: Reply =
            serde_json::from_str(&reply).with_context(|| format!("not a reply: {reply}"))?;
        match reply.error {
            Some(error) => bail!("testbed-server: `{line}`: {error}"),
            None => Ok(reply),
        }
    }
}
