//! The stage: scripted servers, guardd, agents. It is set up once and cleared away once, and
//! clearing away goes on after an error: what can be removed is removed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::agent::Record;
use testbed::server::{Behaviour, Server};
use testbed::wait;

use super::agents::Lane;
use super::daemon::{self, Daemon, unix_ns};
use super::leftovers;
use super::measure::{Calls, Span, ms_to_ns};
use super::screen::Screen;
use super::setup::{BULKHEADS, SERVICES, SICK, SILENT, Setup};

/// Everything that a step works with.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Addresses and paths.
    pub(crate) setup: Setup,
    /// Where results go.
    pub(crate) screen: Screen,
    /// guardd.
    pub(crate) daemon: Daemon,
    /// The agents that call all the time.
    pub(crate) lanes: Vec<Lane>,
    servers: Vec<Server>,
    sick: Option<Server>,
}

impl Stage {
    /// An empty stage: nothing is on the host yet.
    pub(crate) fn new(setup: Setup, screen: Screen) -> Self {
        let daemon = Daemon::new(setup.clone());
        Self { setup, screen, daemon, lanes: Vec::new(), servers: Vec::new(), sick: None }
    }

    /// Starts servers, guardd and agents.
    pub(crate) fn set_up(&mut self) -> Result<()> {
        for service in SERVICES {
            self.servers.push(Server::start(&self.setup.addresses(service))?);
        }
        let silent = self.setup.addresses(SILENT);
        self.servers.push(Server::start_with(&silent, &[], Behaviour::Hang)?);
        self.sick = Some(Server::start(&self.setup.addresses(SICK))?);
        let seconds = self.daemon.start()?.as_secs_f64();
        for bulkhead in BULKHEADS {
            for service in SERVICES {
                for address in self.setup.addresses(service) {
                    if bulkhead == "writing" && address.is_ipv6() {
                        continue;
                    }
                    self.lanes.push(Lane::start(&self.setup, bulkhead, service, address)?);
                }
            }
        }
        let config = self.setup.config.display();
        self.screen.line(&format!(
            "{} scripted servers, guardd --config {config} (ready in {seconds:.1} s), {} agents,",
            self.servers.len() + 1,
            self.lanes.len()
        ));
        self.screen.line(&format!(
            "each started with: guardctl --socket {} exec BULKHEAD -- ...",
            self.setup.socket.display()
        ));
        self.screen.wait("letting connections settle", Duration::from_secs(1))
    }

    /// The server that falls sick.
    pub(crate) fn sick(&mut self) -> Result<&mut Server> {
        self.sick.as_mut().context("the stage is not set up")
    }

    /// Shows a command of guardctl, runs it, and returns what it printed.
    pub(crate) fn ctl(&self, args: &[&str]) -> Result<String> {
        self.screen.command(&[&["guardctl"], args].concat());
        daemon::ctl(&self.setup, args)
    }

    /// Asks guardctl for JSON, without showing it.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Value> {
        daemon::ask(&self.setup, args)
    }

    /// Waits and measures: all calls that start meanwhile.
    pub(crate) fn measure(&mut self, what: &str, seconds: f64) -> Result<Span> {
        let from_ns = unix_ns();
        self.screen.wait(what, Duration::from_secs_f64(seconds))?;
        Ok(Span { from_ns, to_ns: unix_ns() })
    }

    /// The span that ends now.
    pub(crate) fn last(seconds: f64) -> Span {
        let to_ns = unix_ns();
        Span { from_ns: to_ns - ms_to_ns(seconds * 1e3), to_ns }
    }

    /// Calls of each agent within a span, in the order of `lanes`.
    pub(crate) fn calls(&mut self, span: Span) -> Vec<Calls> {
        self.lanes.iter_mut().map(|lane| Calls::within(lane.records().iter(), span)).collect()
    }

    /// Records of the agents of one (bulkhead, service) that `wanted` chooses.
    pub(crate) fn records(
        &mut self,
        bulkhead: &str,
        service: &str,
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        let lanes = self.lanes.iter_mut().filter(|lane| lane.is(bulkhead, service));
        lanes.flat_map(|lane| lane.records().to_vec()).filter(wanted).collect()
    }

    /// Packets and connects that faults have touched, by (bulkhead, service), as the kernel has
    /// counted them.
    pub(crate) fn faulted(&self) -> Result<BTreeMap<(String, String), u64>> {
        let status = self.ask(&["status"])?;
        let mut faulted = BTreeMap::new();
        for bulkhead in status["bulkheads"].as_array().into_iter().flatten() {
            for service in bulkhead["services"].as_array().into_iter().flatten() {
                let name = |of: &Value| of["name"].as_str().unwrap_or_default().to_owned();
                let count = service["faulted"].as_u64().context("status: `faulted` is missing")?;
                faulted.insert((name(bulkhead), name(service)), count);
            }
        }
        Ok(faulted)
    }

    /// The one fault that is active.
    pub(crate) fn active_fault(&self) -> Result<Value> {
        let list = self.ask(&["fault", "list"])?;
        let mut faults = list["faults"].as_array().cloned().unwrap_or_default();
        faults.retain(|fault| fault["state"] == "active");
        faults.pop().context("no fault is active")
    }

    /// Ends whatever fault a step left.
    pub(crate) fn end_faults(&self) -> Result<()> {
        self.ask(&["fault", "clear", "--all"]).map(drop)
    }

    /// Takes everything off the host and says what is left; whether that is nothing.
    pub(crate) fn clear_away(&mut self) -> bool {
        self.screen.heading("clearing away");
        let mut problems = Vec::new();
        let mut note = |what: &str, result: Result<()>| {
            problems.extend(result.err().map(|error| format!("{what}: {error:#}")));
        };
        // Agents first: guardd removes the cgroups only once they are empty.
        self.lanes.clear();
        // They would go on without it. Where guardd is gone, they bear the demo's mark.
        if let Err(error) = daemon::ask(&self.setup, &["agent", "stop", "--all"]) {
            self.screen.line(&format!("! agents: {error:#}"));
        }
        let stopped = self.daemon.stop();
        // A stopped guardd has removed everything; a killed one has not.
        let left = leftovers::find(&self.setup);
        if stopped.is_err()
            || !(left.cgroups.is_empty() && left.rules.is_empty() && left.mounts.is_empty())
        {
            note("guardctl cleanup", daemon::clean_up(&self.setup).map(drop));
        }
        note("stopping guardd", stopped);
        self.servers.clear();
        self.sick = None;
        note("files", leftovers::remove_directory(&self.setup));
        let setup = &self.setup;
        // The last process of a cgroup keeps it busy for a moment after its end.
        let gone = || leftovers::find(setup).is_empty();
        let clean = wait::until("nothing left", Duration::from_secs(2), gone).is_ok();
        let left = leftovers::find(setup);
        for problem in &problems {
            self.screen.line(&format!("! {problem}"));
        }
        if clean {
            self.screen.line(&format!("nothing left: {}", left.counts()));
        } else {
            self.screen.line(&format!("LEFT ON THE HOST: {}", left.counts()));
            left.lines().iter().for_each(|line| self.screen.line(&format!("  {line}")));
        }
        clean && problems.is_empty()
    }
}
