//! The daemon's state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guard_common::abi::policy::{Control, MODE_ENFORCE, MODE_MONITOR};

use super::breakers::TransitionCounts;
use super::budgets::Budgets;
use super::bulkheads::LiveBulkhead;
use super::cutting::{CutCounts, CutOrder, CutRules};
use super::drills::ActiveDrill;
use super::endpoints::{Resolved, has_any_port};
use super::error::DaemonError;
use super::keeping::{BreakerModes, Keeping};
use super::members::Members;
use super::retry_budget::RetryBudgetFill;
use super::schedules::Schedules;
use crate::cgroup::{Hierarchy, Root};
use crate::fault::{Engines, FaultManager};
use crate::health::incident::IncidentBook;
use crate::journal::UndoLog;
use crate::kernel::{Kernel, KernelError, Lease};
use crate::observe::{EventStore, SharedIds};
use crate::plan::{Fail, Mode, Plan};

/// guardd while it runs.
pub struct Guard {
    pub(crate) config_path: PathBuf,
    pub(crate) started: Instant,
    pub(crate) ids: SharedIds,
    pub(crate) events: Arc<EventStore>,
    pub(crate) engines: Engines,
    pub(crate) state: Mutex<State>,
    /// Host names to resolve; the resolver follows it.
    pub(crate) names: tokio::sync::watch::Sender<BTreeSet<String>>,
    /// Scrapes of `/metrics`.
    pub(crate) scrapes: AtomicU64,
    /// When the last one was, ns after `started`; 0 = never.
    pub(crate) last_scrape_ns: AtomicU64,
    /// Connections to cut; the thread that does it waits for them.
    pub(crate) cuts: std::sync::mpsc::Sender<CutOrder>,
    /// Wakes whoever runs the schedules.
    pub(crate) schedules_changed: tokio::sync::Notify,
    /// Users who own bulkheads and may connect for that.
    pub(crate) owners: crate::control::Owners,
    /// Sockets that escape guard.
    pub(crate) audited: super::auditing::Audited,
    /// Host names shall be resolved again.
    pub(crate) resolve_again: tokio::sync::Notify,
    /// What healing remembers. Never locked while [`Guard::state`] is.
    pub(crate) healing: Mutex<super::healing::Healing>,
    /// Agents that guardd runs.
    pub(crate) agents: super::agents::AgentBook,
    /// What gateways did.
    pub(crate) gateways: super::serving::GatewayBook,
    /// Control connections turned away.
    pub(crate) peers_refused: AtomicU64,
}

/// What changes, behind one lock.
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) config_loaded: Instant,
    /// Whether the last reload worked.
    pub(crate) reload_ok: bool,
    pub(crate) kernel: Kernel,
    pub(crate) lease: Lease,
    pub(crate) undo: UndoLog,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) root: Root,
    pub(crate) root_ticket: Option<crate::journal::Ticket>,
    pub(crate) bulkheads: BTreeMap<String, LiveBulkhead>,
    /// Ids and cgroups of bulkheads that are being set up at the start.
    pub(crate) expected: Vec<(u32, PathBuf)>,
    /// Memory, processors, processes.
    pub(crate) limits: super::resources::LimitBook,
    /// What is done under pressure.
    pub(crate) ladders: super::pressure::Ladders,
    /// Cgroups that guard made and that could not be removed with their bulkhead.
    /// No hook is begun any more: guardd stops.
    pub(crate) hooks_ended: bool,
    pub(crate) left_cgroups: Vec<(PathBuf, crate::journal::Ticket)>,
    /// What runs in the bulkheads, and whose they are.
    pub(crate) members: Members,
    /// Cgroups that are in the undo log already and will be made in a moment.
    pub(crate) announced: BTreeMap<PathBuf, crate::journal::Ticket>,
    pub(crate) resolved: Resolved,
    pub(crate) faults: FaultManager,
    /// The drill that runs.
    pub(crate) drill: Option<ActiveDrill>,
    /// Drills by a calendar.
    pub(crate) schedules: Schedules,
    /// Modes that the operator has set.
    pub(crate) breaker_modes: BreakerModes,
    /// What the next daemon will find.
    pub(crate) keeping: Keeping,
    pub(crate) transition_counts: TransitionCounts,
    pub(crate) cut_rules: Arc<CutRules>,
    pub(crate) retry_budget: RetryBudgetFill,
    pub(crate) budgets: Budgets,
    /// Calls that are held for their rate.
    pub(crate) pacing: super::pacing::Pacing,
    /// Storms that go on, and those that were.
    pub(crate) storms: super::storms::Storms,
    pub(crate) cut_counts: CutCounts,
    /// Where calls go while breakers refuse them.
    pub(crate) fallbacks: super::fallbacks::Fallbacks,
    /// What was degraded, and how it ended.
    pub(crate) incidents: IncidentBook,
    /// Calls that were silent for long, by bulkhead and service.
    pub(crate) stalls: std::collections::BTreeMap<(String, String), u64>,
    /// Those that monitor mode left alone.
    pub(crate) would_cut: CutCounts,
    /// Where `/metrics` listens, as bound.
    pub(crate) metrics_address: Option<SocketAddr>,
}

impl Guard {
    /// The state. A panic of another holder does not lock everybody out: every change leaves the
    /// state usable at each step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a scrape.
    pub(crate) fn scraped(&self) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        let since = self.started.elapsed().as_nanos() as u64;
        self.last_scrape_ns.store(since.max(1), Ordering::Relaxed);
    }

    /// Time since the last scrape; `None` = never.
    pub(crate) fn since_scrape(&self) -> Option<Duration> {
        match self.last_scrape_ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(self.started.elapsed().saturating_sub(Duration::from_nanos(ns))),
        }
    }
}

impl State {
    /// Whether guard acts.
    pub(crate) fn monitor(&self) -> bool {
        self.plan.daemon.mode == Mode::Monitor
    }

    /// Hands out numbers to all names of a plan and writes them down, before any is used.
    pub(crate) fn number(&self, plan: &Plan, ids: &SharedIds) -> Result<(), DaemonError> {
        let mut ids = ids.write().unwrap_or_else(PoisonError::into_inner);
        for bulkhead in &plan.bulkheads {
            ids.bulkhead(&bulkhead.name);
        }
        for service in &plan.services {
            ids.service(&service.name);
        }
        self.keeping.save(&ids, &self.breaker_modes)
    }

    /// Gives the kernel a sign of life.
    pub(crate) fn beat(&mut self) -> Result<(), KernelError> {
        let daemon = &self.plan.daemon;
        let timeout = (daemon.fail == Fail::Open).then_some(daemon.heartbeat_timeout);
        self.kernel.beat(timeout)
    }

    /// Writes the switches as plan and faults want them.
    pub(crate) fn write_control(&mut self) -> Result<(), DaemonError> {
        let mut flags = 0;
        if has_any_port(&self.plan) {
            flags |= guard_common::abi::policy::FLAG_ANY_PORT_ENDPOINTS;
        }
        if self.cut_rules.holds_any() {
            flags |= guard_common::abi::policy::FLAG_HOLDS;
        }
        if self.ladders.any_refused() {
            flags |= guard_common::abi::policy::FLAG_PRESSURE;
        }
        if self.has_fallbacks() {
            flags |= guard_common::abi::policy::FLAG_FALLBACKS;
        }
        if self.pacing.is_on() {
            flags |= guard_common::abi::policy::FLAG_PACING;
        }
        let control = Control {
            mode: if self.monitor() { MODE_MONITOR } else { MODE_ENFORCE },
            flags,
            faults_active: u32::from(self.faults.any()),
            ephemeral_port_low: ephemeral_port_low(),
            metrics_port: self.metrics_address.map_or(0, |address| u32::from(address.port())),
            ..Control::default()
        };
        self.kernel.set_control(control).map_err(Into::into)
    }
}

/// First port that the kernel gives to outgoing sockets (host's own network namespace).
fn ephemeral_port_low() -> u32 {
    /// The kernel's default.
    const DEFAULT: u32 = 32_768;
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(DEFAULT)
}
