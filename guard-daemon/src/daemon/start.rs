//! guardd's start: what an earlier one left is undone or taken over, then everything is set up.
//! After an error nothing is left on the host, unless it was an earlier guardd's to begin with.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::Instant;

use tokio::sync::watch;

use super::budgets::Budgets;
use super::cutting::CutOrder;
use super::endpoints::{Resolved, names};
use super::error::DaemonError;
use super::keeping::{self, Keeping, Left};
use super::members::{self, Members};
use super::nesting::outer_first;
use super::run::take_down;
use super::schedules::Schedules;
use super::state::{Guard, State};
use crate::cgroup::{Hierarchy, Root};
use crate::config::Loaded;
use crate::fault::{Engines, FaultManager};
use crate::journal::{self, Ticket, Undo, UndoLog, UndoResult};
use crate::kernel::{self, EventReader, Kernel, Lease, LoadOptions};
use crate::net::delay::Distribution;
use crate::observe::{EventStore, SharedIds};
use crate::plan::Plan;

/// Pairs that may have counters without a restart: room for reloads.
const MIN_PAIRS: u32 = 65_536;
/// Breakers that fit without a restart. Their memory is taken at the start: 2 MiB.
const MIN_BREAKERS: u32 = 16_384;
/// Slots of limits that fit without a restart. Their memory is taken at the start: 3 MiB.
const MIN_LIMITS: u32 = 16_384;
/// Endpoints, resolved addresses included, that fit without a restart.
const MIN_ENDPOINTS: u32 = 65_536;

/// Opens the undo log and undoes what an earlier life left, but for what this one may take over.
pub(super) fn open_state(plan: &Plan) -> Result<UndoLog, DaemonError> {
    let path = &plan.daemon.state_dir;
    let (mut undo, mut leftovers) = UndoLog::open(path)
        .map_err(|source| DaemonError::State { path: path.clone(), source: Box::new(source) })?;
    for damage in undo.damage() {
        tracing::error!(?damage, "a line of the undo log cannot be read");
    }
    leftovers.retain(|entry| !keeping::is_kept(entry, plan));
    let stays = |what: &Undo, why: &dyn Display| {
        tracing::warn!(problem = %format!("{what:?}: {why}"), "left by an earlier guardd, and it stays");
    };
    for (entry, result) in journal::recover(&mut undo, leftovers) {
        match result {
            Ok(UndoResult::Removed) => {
                tracing::warn!(what = ?entry.what, "removed: left by an earlier guardd");
            }
            Ok(UndoResult::Gone) => {}
            Ok(UndoResult::LeftOver(why)) => stays(&entry.what, &why),
            Err(error) => stays(&entry.what, &error),
        }
    }
    Ok(undo)
}

/// Sets everything up on the host; after an error nothing is left.
pub(super) fn start(
    config_path: PathBuf,
    loaded: Loaded,
    mut undo: UndoLog,
    metrics_address: Option<SocketAddr>,
) -> Result<Started, DaemonError> {
    let plan = loaded.plan;
    let pairs = plan.bulkheads.len() * (plan.services.len() + 1);
    let endpoints: usize = plan.services.iter().map(|service| service.endpoints.len()).sum();
    let options = LoadOptions {
        pairs: MIN_PAIRS.max(pairs as u32),
        endpoints: MIN_ENDPOINTS.max(endpoints as u32 * 4),
        breakers: MIN_BREAKERS.max(pairs as u32),
        limits: MIN_LIMITS.max((pairs + plan.bulkheads.len() + plan.services.len()) as u32),
    };
    let (mut keeping, Left { mut kernel, ids, modes, taken_over }) =
        Keeping::load(&plan, &mut undo, options)?;
    let prepared = prepare(&mut kernel, &plan, &mut undo);
    let Prepared { lease, events, hierarchy, root, root_ticket } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            if !taken_over {
                keeping.remove(&mut undo);
            }
            return Err(error);
        }
    };
    let ids: SharedIds = Arc::new(RwLock::new(ids));
    // Made by an earlier life and kept by processes then: to be tried again at our own stop.
    let left_cgroups = undo
        .open_entries()
        .into_iter()
        .filter_map(|entry| match entry.what {
            Undo::CgroupMade { path } if entry.same_boot => Some((path, entry.ticket)),
            _ => None,
        })
        .collect();
    let limits = super::resources::LimitBook::take_over(&mut undo);
    let engines = Engines::probe();
    let state = State {
        limits,
        ladders: super::pressure::Ladders::default(),
        config_loaded: Instant::now(),
        reload_ok: true,
        lease,
        undo,
        hierarchy,
        root,
        root_ticket,
        bulkheads: BTreeMap::new(),
        expected: Vec::new(),
        hooks_ended: false,
        left_cgroups,
        members: Members::default(),
        announced: BTreeMap::new(),
        resolved: Resolved::default(),
        drill: None,
        schedules: Schedules::load(&plan.daemon.state_dir),
        faults: FaultManager::new(keeping::runtime_dir(&plan).join("gates")),
        breaker_modes: modes,
        keeping,
        transition_counts: BTreeMap::new(),
        cut_rules: Arc::default(),
        retry_budget: super::retry_budget::RetryBudgetFill::default(),
        budgets: Budgets::load(&plan.daemon.state_dir),
        pacing: super::pacing::Pacing::new(engines.clone()),
        storms: super::storms::Storms::default(),
        cut_counts: BTreeMap::new(),
        fallbacks: super::fallbacks::Fallbacks::default(),
        incidents: crate::health::incident::IncidentBook::open_in(&plan.daemon.state_dir),
        stalls: BTreeMap::new(),
        would_cut: BTreeMap::new(),
        metrics_address,
        kernel,
        plan,
    };
    let (cuts, pools) = mpsc::channel();
    let guard = Arc::new(Guard {
        config_path,
        started: Instant::now(),
        ids,
        events: Arc::new(EventStore::default()),
        engines,
        names: watch::Sender::new(names(&state.plan)),
        state: Mutex::new(state),
        scrapes: AtomicU64::new(0),
        last_scrape_ns: AtomicU64::new(0),
        owners: crate::control::Owners::default(),
        audited: super::auditing::Audited::default(),
        agents: super::agents::AgentBook::default(),
        gateways: super::serving::GatewayBook::default(),
        peers_refused: AtomicU64::new(0),
        resolve_again: tokio::sync::Notify::new(),
        healing: Mutex::default(),
        schedules_changed: tokio::sync::Notify::new(),
        cuts,
    });
    let set_up = guard.set_up(taken_over);
    if let Err(error) = set_up {
        take_down(&guard);
        return Err(error);
    }
    Ok(Started { guard, events, pools })
}

/// What the state is made of, besides the kernel's maps.
struct Prepared {
    lease: Lease,
    events: EventReader,
    hierarchy: Hierarchy,
    root: Root,
    root_ticket: Option<Ticket>,
}

fn prepare(kernel: &mut Kernel, plan: &Plan, undo: &mut UndoLog) -> Result<Prepared, DaemonError> {
    for distribution in Distribution::ALL {
        kernel.set_jitter_table(distribution.id(), &distribution.table())?;
    }
    if !kernel.knows_errors() {
        tracing::warn!(
            "the kernel's types do not tell where errors are: outcomes of failed connects are judged by packets alone"
        );
    }
    let missing = |name| kernel::KernelError::Missing { what: "map", name };
    let lease = kernel.take_lease().ok_or(missing("LEASE"))?;
    let events = kernel.take_events().ok_or(missing("EVENTS"))?;
    let hierarchy = Hierarchy::discover()?;
    for problem in hierarchy.problems() {
        tracing::warn!("{problem}");
    }
    let mut root_ticket = None;
    let root = Root::open(&hierarchy, &plan.daemon.cgroup_root, &mut |unit| {
        let entry = Undo::SystemdUnit { name: unit.to_owned() };
        root_ticket = Some(undo.intend(entry).map_err(|e| e.to_string())?);
        Ok(())
    })?;
    for warning in root.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(Prepared { lease, events, hierarchy, root, root_ticket })
}

/// What the threads work on.
pub(super) struct Started {
    pub(super) guard: Arc<Guard>,
    pub(super) events: EventReader,
    pub(super) pools: mpsc::Receiver<CutOrder>,
}

impl Guard {
    /// Policy first, then bulkheads: a program that is attached knows its services at once.
    fn set_up(&self, taken_over: bool) -> Result<(), DaemonError> {
        let mut state = self.lock();
        state.beat()?;
        state.number(&state.plan, &self.ids)?;
        if taken_over {
            state.learn_addresses(&self.ids)?;
        } else {
            state.write_control()?;
        }
        state.write_endpoints(&self.ids)?;
        let bulkheads = state.plan.bulkheads.clone();
        state.announce(&bulkheads);
        state.expect_nesting(&self.ids)?;
        for bulkhead in outer_first(&bulkheads) {
            state.add_bulkhead(bulkhead, &self.ids)?;
        }
        state.as_expected()?;
        state.follow_budgets();
        state.forget_announced();
        state.write_breakers(&self.ids)?;
        state.adopt_runs();
        state.load_mains();
        self.refresh_matches(&mut state);
        state.members.uids = members::look_up(&state.plan);
        self.settle_owners(&mut state);
        self.set_all_limits(&mut state);
        state.insist_on_limits()?;
        state.remove_what_an_earlier_guardd_left();
        Ok(())
    }
}
