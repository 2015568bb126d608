//! The agents: real processes, started with `guardctl exec`, each calling one service without a
//! pause worth the name over connections that it keeps. Their own records are what is measured;
//! guard's counters are only compared with them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use testbed::agent::{AgentProcess, Record, Summary};

use super::daemon::guardctl;
use super::setup::Setup;

/// One agent and its path to one service.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Bulkhead.
    pub(crate) bulkhead: String,
    /// Service.
    pub(crate) service: String,
    /// `research -> github`, with ` (IPv6)`.
    pub(crate) name: String,
    agent: AgentProcess,
    records: Vec<Record>,
}

impl Lane {
    /// Starts an agent that goes on until it is stopped: 4 workers, each a call in 50 ms.
    pub(crate) fn start(
        setup: &Setup,
        bulkhead: &str,
        service: &str,
        address: SocketAddr,
    ) -> Result<Self> {
        let target = format!("http://{address}/");
        let args = ["--target", &target, "--keep-alive", "--concurrency", "4"];
        let more = ["--interval", "50ms", "--timeout", "5s", "--connect-timeout", "5s"];
        let agent = exec(setup, bulkhead, &[&args[..], &more[..]].concat())?;
        let family = if address.is_ipv6() { " (IPv6)" } else { "" };
        Ok(Self {
            bulkhead: bulkhead.to_owned(),
            service: service.to_owned(),
            name: format!("{bulkhead} -> {service}{family}"),
            agent,
            records: Vec::new(),
        })
    }

    /// Whether its calls go from this bulkhead to this service.
    pub(crate) fn is(&self, bulkhead: &str, service: &str) -> bool {
        self.bulkhead == bulkhead && self.service == service
    }

    /// Every call so far that has ended.
    pub(crate) fn records(&mut self) -> &[Record] {
        // Without a limit it takes what is there; an error means that there is no more.
        while let Ok(record) = self.agent.next(Duration::ZERO) {
            self.records.push(record);
        }
        &self.records
    }

    /// Ends the agent; it lets the calls that are under way come to their end.
    pub(crate) fn stop(self) -> Result<Summary> {
        Ok(self.agent.stop()?.1)
    }
}

/// `guardctl exec BULKHEAD -- testbed-agent ARGS`.
pub(crate) fn exec(setup: &Setup, bulkhead: &str, args: &[&str]) -> Result<AgentProcess> {
    let mut guardctl = guardctl(&setup.socket)?;
    guardctl.args(["exec", bulkhead, "--"]);
    AgentProcess::start(args, |agent| {
        guardctl.arg(agent.get_program()).args(agent.get_args());
        guardctl
    })
}
