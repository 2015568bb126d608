//! Paced calls: which engine holds the calls of each (bulkhead, service), and the parts of the engine
//! that works by netfilter. Where nothing can hold them, calls pass, and it is said why.
//!
//! The rates and buckets are in the kernel, and no decision is made here. What is put on the host is
//! in the undo log first, and goes with guardd, whatever its end: without its lease nothing is held.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_common::abi::ids::PairKey;
use guard_common::abi::pacing::{BULKHEAD_ALL, PACE_EDT, PACE_NFQUEUE, PACE_NOT};

use super::state::{Guard, State};
use crate::fault::{Engine, Engines};
use crate::journal::UndoLog;
use crate::kernel::{Kernel, PacePolicy, PacedSockets};
use crate::net::delay::process::DelayProcess;
use crate::net::iptables::{self, DelayRule, Installed};
use crate::plan::{OTHER, PacePlan};

/// First queue number that is tried; those of faults are below.
const QUEUE_BASE: u16 = 26_480;
/// How many are.
const QUEUE_TRIES: u16 = 8;
/// Longest hold that every `fq` makes: its horizon is 10 s where nobody has changed it.
const EDT_MAX: Duration = Duration::from_secs(9);

/// How the calls of a pair are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    engine: u32,
    max_wait: Duration,
}

/// What paces calls.
pub(crate) struct Pacing {
    engines: Engines,
    choices: BTreeMap<PairKey, Choice>,
    /// Pairs that some rate is about, with their names.
    pairs: BTreeMap<PairKey, (String, String)>,
    /// Why some calls are not paced, one line each.
    problems: BTreeSet<String>,
    process: DelayProcess,
    held: Option<Held>,
}

/// What is on the host for the engine that works by netfilter.
struct Held {
    queue: u16,
    rule: Installed,
    /// Paths and ids of the cgroups that the rule is about.
    cgroups: BTreeSet<(String, u64)>,
}

impl Pacing {
    pub(super) fn new(engines: Engines) -> Self {
        Self {
            engines,
            choices: BTreeMap::new(),
            pairs: BTreeMap::new(),
            problems: BTreeSet::new(),
            process: DelayProcess::new(),
            held: None,
        }
    }

    /// Whether any calls are paced: then the lease must be renewed.
    pub(crate) fn is_on(&self) -> bool {
        self.choices.values().any(|choice| choice.engine != PACE_NOT)
    }

    /// Why some calls are not paced.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.problems.iter().cloned()
    }

    /// A pair's part of its slot: its own rate, and who holds.
    pub(super) fn policy(&self, pair: PairKey, plan: Option<PacePlan>) -> PacePolicy {
        let choice = self.choices.get(&pair);
        PacePolicy {
            max_wait_ns: choice.map_or(0, |choice| nanos(choice.max_wait)),
            engine: choice.map_or(PACE_NOT, |choice| choice.engine),
            ..bucket(plan)
        }
    }

    fn take_down(&mut self, kernel: &mut Kernel, bpffs: &Path, undo: &mut UndoLog) {
        let Some(held) = self.held.take() else { return };
        if let Err(error) = iptables::remove(held.rule, undo) {
            tracing::error!(%error, "the rule of paced calls stays; run guardctl cleanup");
        }
        // It lets go what it holds.
        if let Err(error) = self.process.stop(held.queue) {
            tracing::error!(%error, "the queue of paced calls did not end cleanly");
        }
        if let Err(error) = kernel.close_pacing(bpffs) {
            tracing::error!(%error, "the gate of paced calls stays; run guardctl cleanup");
        }
    }
}

/// A bucket as the kernel wants it.
pub(super) fn bucket(plan: Option<PacePlan>) -> PacePolicy {
    let interval_ns = plan.map_or(0, |plan| nanos(plan.interval).max(1));
    let burst_ns = plan.map_or(0, |plan| nanos(plan.ahead()));
    PacePolicy { interval_ns, burst_ns, ..PacePolicy::default() }
}

/// The slot of what all bulkheads share of a service.
pub(super) fn shared(service: u32) -> PairKey {
    PairKey { bulkhead: BULKHEAD_ALL, service }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl State {
    /// Finds out who holds the calls of which pairs. True if that is not what it was.
    pub(super) fn choose_pacing(&mut self, pairs: &BTreeMap<PairKey, (String, String)>) -> bool {
        let (mut choices, mut problems) = (BTreeMap::new(), BTreeSet::new());
        let mut foreign: BTreeMap<&str, Option<u32>> = BTreeMap::new();
        let mut paced = BTreeMap::new();
        let mut known: BTreeMap<(String, Duration), Result<Choice, String>> = BTreeMap::new();
        for (pair, (bulkhead, service)) in pairs {
            let Some(wished) = self.plan.limits.pacing_of(bulkhead, service) else { continue };
            paced.insert(*pair, (bulkhead.clone(), service.clone()));
            let most = self.longest_pacing(service, wished);
            if let Some(pid) = *foreign.entry(bulkhead).or_insert_with(|| self.elsewhere(bulkhead))
            {
                problems.insert(format!(
                    "the calls of bulkhead {bulkhead} are not paced: its process {pid} is in another \
                     network namespace, where this host's rules and qdiscs hold no packets"
                ));
                continue;
            }
            let choice = known
                .entry((service.clone(), most))
                .or_insert_with(|| self.engine_of_paced(service, most))
                .clone();
            match choice {
                Ok(choice) => drop(choices.insert(*pair, choice)),
                Err(why) => {
                    problems.insert(format!("calls to service {service} are not paced: {why}"));
                }
            }
        }
        for problem in problems.difference(&self.pacing.problems) {
            tracing::warn!("{problem}");
        }
        self.pacing.problems = problems;
        self.pacing.pairs = paced;
        let changed = choices != self.pacing.choices;
        self.pacing.choices = choices;
        changed
    }

    /// TCP takes a packet that is held for one that is not acknowledged: it must go well before TCP
    /// gives the connection up.
    fn longest_pacing(&self, service: &str, wished: Duration) -> Duration {
        let hygiene = self.plan.hygiene_of(service);
        let patience = hygiene.on.then_some(hygiene.user_timeout).filter(|time| !time.is_zero());
        patience.map_or(wished, |patience| wished.min(patience / 2))
    }

    /// A process of the bulkhead that neither engine reaches.
    fn elsewhere(&self, bulkhead: &str) -> Option<u32> {
        let namespaces = self.bulkheads.get(bulkhead)?.network_namespaces();
        namespaces.iter().find(|namespace| !namespace.own).map(|namespace| namespace.pid)
    }

    fn engine_of_paced(&self, service: &str, most: Duration) -> Result<Choice, String> {
        let nets = match self.plan.service(service) {
            Some(plan) if service != OTHER => self.resolved.service_nets(plan),
            _ => Vec::new(),
        };
        let mut addresses: Vec<IpAddr> = nets.iter().map(ipnet::IpNet::addr).collect();
        if !addresses.is_empty() {
            addresses.extend(self.redirected_to(Some(service)));
        }
        let choose = |max_wait| {
            let engine = match self.pacing.engines.choose(&addresses, max_wait)? {
                Engine::Edt => PACE_EDT,
                Engine::Nfqueue => PACE_NFQUEUE,
            };
            Ok(Choice { engine, max_wait })
        };
        // A shorter hold is better than none.
        choose(most)
            .or_else(|refusal| if most > EDT_MAX { choose(EDT_MAX) } else { Err(refusal) })
            .map_err(|refusal: crate::fault::EngineRefusal| refusal.to_string())
    }

    /// Puts on the host what the engine by netfilter needs for the bulkheads that it is about, or takes it
    /// away. What fails is told, tried again at the next upkeep, and meanwhile those calls pass.
    pub(super) fn hold_paced(&mut self) {
        let wanted = if self.monitor() { BTreeSet::new() } else { self.held_cgroups() };
        if self.pacing.held.as_ref().map(|held| &held.cgroups) == Some(&wanted)
            || (wanted.is_empty() && self.pacing.held.is_none())
        {
            return;
        }
        if wanted.is_empty() {
            return self.end_pacing();
        }
        let done = match self.pacing.held.take() {
            // What the engine holds stays held.
            Some(held) => self.point_elsewhere(held, wanted),
            None => self.put_up(wanted),
        };
        if let Err(why) = done {
            tracing::error!(why, "calls are not paced");
            self.pacing.problems.insert(format!("calls are not paced: {why}"));
        }
    }

    /// The same queue and gate, for other cgroups.
    fn point_elsewhere(
        &mut self,
        held: Held,
        cgroups: BTreeSet<(String, u64)>,
    ) -> Result<(), String> {
        let (queue, gate) = (held.queue, held.rule.rule.gate.clone());
        if let Err(error) = iptables::remove(held.rule, &mut self.undo) {
            tracing::error!(%error, "a rule of paced calls stays; run guardctl cleanup");
        }
        self.install(queue, gate, cgroups)
    }

    fn held_cgroups(&self) -> BTreeSet<(String, u64)> {
        let queued = self.pacing.choices.iter().filter(|(_, c)| c.engine == PACE_NFQUEUE);
        let bulkheads: BTreeSet<u32> = queued.map(|(pair, _)| pair.bulkhead).collect();
        let live = self.bulkheads.values().filter(|live| bulkheads.contains(&live.id));
        live.flat_map(super::bulkheads::LiveBulkhead::cgroups)
            .filter(|cgroup| cgroup.still_there())
            .map(|cgroup| (cgroup.match_path().display().to_string(), cgroup.id()))
            .collect()
    }

    fn put_up(&mut self, cgroups: BTreeSet<(String, u64)>) -> Result<(), String> {
        let lease = self.plan.daemon.fault_lease;
        let until_ns = self.lease.renew(lease).map_err(|e| e.to_string())?;
        self.faults.mount_gates(&mut self.undo).map_err(|e| e.to_string())?;
        let bpffs = self.faults.gates_directory().to_owned();
        let pins = self.kernel.open_pacing(&bpffs).map_err(|e| e.to_string())?;
        let named = iptables::queues_of_chains();
        let mut numbers: Vec<u16> = (QUEUE_BASE..QUEUE_BASE + QUEUE_TRIES).collect();
        numbers.sort_by_key(|number| named.contains(number));
        let started = self.pacing.process.start_paced(numbers, &pins.flows, until_ns);
        let queue = started.map_err(|e| e.to_string())?;
        self.install(queue, Some(pins.gate), cgroups)
    }

    /// The rule for a queue that runs; without it the queue ends.
    fn install(
        &mut self,
        queue: u16,
        gate: Option<PathBuf>,
        cgroups: BTreeSet<(String, u64)>,
    ) -> Result<(), String> {
        let paths = cgroups.iter().map(|(path, _)| path.clone()).collect();
        // Packets of bulkheads inside pass the gate: it takes only those that it is told to hold.
        let rule = DelayRule { queue, cgroup_paths: paths, except: Vec::new(), gate };
        match iptables::install(&rule, &mut self.undo) {
            Ok(rule) => {
                if let Some(warning) = &rule.warning {
                    self.pacing.problems.insert(format!("paced calls: {warning}"));
                }
                self.pacing.held = Some(Held { queue, rule, cgroups });
                Ok(())
            }
            Err(error) => {
                if let Err(error) = self.pacing.process.stop(queue) {
                    tracing::warn!(%error, "the queue of paced calls did not end cleanly");
                }
                Err(error.to_string())
            }
        }
    }

    /// Which connections wait for their pace; `None` if no calls are paced.
    pub(super) fn paced_sockets(&self) -> Option<PacedSockets> {
        self.pacing.is_on().then(|| self.kernel.paced_sockets())
    }

    /// Takes everything of it off the host, for a stop.
    pub(super) fn end_pacing(&mut self) {
        let bpffs = self.faults.gates_directory().to_owned();
        self.pacing.take_down(&mut self.kernel, &bpffs, &mut self.undo);
    }
}

impl Guard {
    /// Renews the lease of the engine until `until_ns` (CLOCK_BOOTTIME). One that does not work any more
    /// is taken down; the next upkeep puts it up again.
    pub(super) fn renew_pacing(&self, state: &mut State, until_ns: u64, patience: Duration) {
        let failed = state.pacing.process.renew(until_ns, patience);
        let Some((_, why)) = failed.into_iter().next() else { return };
        tracing::error!(why, "the engine of paced calls failed: they pass for a moment");
        self.events.note("pacing_engine_failed", |event| event.message.clone_from(&why));
        state.end_pacing();
    }

    /// Whether engines, routes, bulkheads or namespaces ask for something else than before.
    pub(super) fn follow_pacing(&self, state: &mut State) {
        let pairs = state.pacing.pairs.clone();
        if pairs.is_empty() {
            return;
        }
        if !state.choose_pacing(&pairs) {
            state.hold_paced();
        } else if let Err(error) = state.write_breakers(&self.ids) {
            tracing::error!(%error, "paced calls are as before");
        }
    }
}
