//! The faults of this daemon: their slots in the kernel, their queues, their ends.
//!
//! Order of an injection: rule, then (for NFQUEUE) queue, gate, netfilter rule, and the pairs that
//! point at the rule last. The way back is the reverse, so that no packet ever meets half a fault.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_common::abi::fault::{MAX_DELAY_GATES, MAX_FAULT_RULES};
use guard_common::abi::ids::PairKey;

use super::counters::{counters, held_of};
use super::engine::Engine;
use super::error::FaultError;
use super::request::FaultSpec;
use super::rule::{kernel_rule, profile};
use crate::control::api::{FaultCounters, FaultRecord, Held};
use crate::journal::{BpffsError, OwnBpffs, UndoLog};
use crate::kernel::{Kernel, boottime_ns};
use crate::net::delay::process::DelayProcess;
use crate::net::iptables::{self, DelayRule, Installed};

/// First queue number that is tried; high, because people number theirs from 0.
const QUEUE_BASE: u16 = 26_400;
/// Numbers tried for one queue before giving up.
const QUEUE_TRIES: u16 = 4;
/// The engine process ends a delay by itself this much after the rule has: how long it takes to set
/// the rule up is not known when the engine is told.
const SETTING_UP_NS: u64 = 30_000_000_000;
/// Ended faults that are remembered.
const REMEMBERED: usize = 256;

/// What a fault needs of the rest of the daemon.
pub struct Context<'a> {
    /// The kernel side.
    pub kernel: &'a mut Kernel,
    /// Where host changes are written first.
    pub undo: &'a mut UndoLog,
    /// The bulkhead's id.
    pub bulkhead: u32,
    /// The bulkhead's cgroup, from the root of the cgroup tree, without a leading slash.
    pub cgroup: String,
    /// Cgroups of bulkheads inside it, in the same form.
    pub inner: Vec<String>,
    /// Ids of the services that the fault is about.
    pub services: Vec<u32>,
    /// End of the lease that was renewed for it, CLOCK_BOOTTIME, ns.
    pub lease_until_ns: u64,
    /// Decide and count only.
    pub monitor: bool,
}

/// A fault that is on the host.
struct Active {
    spec: FaultSpec,
    pairs: Vec<PairKey>,
    slot: u32,
    start_ns: u64,
    end_ns: u64,
    engine: &'static str,
    delay: Option<Delay>,
    warnings: Vec<String>,
}

/// The parts of a delay by NFQUEUE.
struct Delay {
    gate: u32,
    /// Of the engine process.
    queue: u16,
    rule: Option<Installed>,
    /// Why it holds no packets any more.
    failure: Option<String>,
}

/// The faults.
pub struct FaultManager {
    active: BTreeMap<u64, Active>,
    ended: VecDeque<FaultRecord>,
    next_id: u64,
    halted: Option<String>,
    bpffs: OwnBpffs,
    delays: DelayProcess,
}

impl FaultManager {
    /// No faults. Gates will be pinned below `bpffs`, which is mounted when the first is needed.
    pub fn new(bpffs: PathBuf) -> Self {
        Self {
            active: BTreeMap::new(),
            ended: VecDeque::new(),
            next_id: 1,
            halted: None,
            bpffs: OwnBpffs::new(bpffs),
            delays: DelayProcess::new(),
        }
    }

    /// Whether any fault is active or scheduled.
    pub fn any(&self) -> bool {
        !self.active.is_empty()
    }

    /// Reason of a halt in force.
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// Blocks new faults. The caller clears those that are there.
    pub fn halt(&mut self, reason: String) {
        self.halted = Some(reason);
    }

    /// Allows faults again; the reason of the halt that was in force.
    pub fn resume(&mut self) -> Option<String> {
        self.halted.take()
    }

    /// What active faults are about: bulkhead and service; no service = all of them.
    pub fn targets(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.active.values().map(|fault| (&*fault.spec.bulkhead, fault.spec.service.as_deref()))
    }

    /// Bulkheads that a fault is about.
    pub fn bulkheads(&self) -> impl Iterator<Item = &str> {
        self.active.values().map(|fault| fault.spec.bulkhead.as_str())
    }

    /// Puts a checked fault on the host. On an error nothing of it is left.
    pub fn inject(
        &mut self,
        spec: FaultSpec,
        engine: Option<Engine>,
        context: &mut Context<'_>,
    ) -> Result<u64, FaultError> {
        if let Some(reason) = &self.halted {
            return Err(FaultError::Halted(reason.clone()));
        }
        let slot = self.free_slot()?;
        let pairs: Vec<_> = context
            .services
            .iter()
            .map(|service| PairKey { bulkhead: context.bulkhead, service: *service })
            .collect();
        let id = self.next_id;
        let mut fault = Active {
            spec,
            pairs,
            slot,
            start_ns: 0,
            end_ns: 0,
            engine: engine.map_or("kernel", Engine::name),
            delay: None,
            warnings: Vec::new(),
        };
        let made = self
            .make_delay(&mut fault, engine, context)
            .and_then(|()| self.arm(id, &mut fault, engine, context.kernel));
        if let Err(error) = made {
            for problem in self.take_down(fault, context.kernel, context.undo).1 {
                tracing::error!(fault = id, problem, "after a failed injection");
            }
            return Err(error);
        }
        self.next_id += 1;
        self.active.insert(id, fault);
        Ok(id)
    }

    /// Lets the rule act. Its time begins here: what had to be made before can take longer than a
    /// short fault lasts.
    fn arm(
        &self,
        id: u64,
        fault: &mut Active,
        engine: Option<Engine>,
        kernel: &mut Kernel,
    ) -> Result<(), FaultError> {
        (fault.start_ns, fault.end_ns) = span_from_now(&fault.spec);
        let (start_ns, end_ns) = (fault.start_ns, fault.end_ns);
        let rule = kernel_rule(id, &fault.spec, engine, start_ns, end_ns, &fault.pairs);
        kernel.set_fault_rule(fault.slot, &rule)?;
        self.point_pairs(fault, kernel)
    }

    fn free_slot(&self) -> Result<u32, FaultError> {
        (0..MAX_FAULT_RULES as u32)
            .find(|slot| self.active.values().all(|fault| fault.slot != *slot))
            .ok_or_else(|| {
                FaultError::Full(format!("{MAX_FAULT_RULES} faults are active: no more fit"))
            })
    }

    /// Queue, gate and netfilter rule of a delay by NFQUEUE. Monitor mode touches nothing.
    fn make_delay(
        &mut self,
        fault: &mut Active,
        engine: Option<Engine>,
        context: &mut Context<'_>,
    ) -> Result<(), FaultError> {
        let (Some(Engine::Nfqueue), false) = (engine, context.monitor) else { return Ok(()) };
        let Some(profile) = profile(&fault.spec) else { return Ok(()) };
        // netfilter goes on with the next hook when a queue lets go: the second queue for the same
        // packets would never see one.
        let same = |other: &&Active| other.delay.is_some() && other.meets(fault);
        if let Some((id, other)) = self.active.iter().find(|(_, other)| same(other)) {
            return Err(FaultError::Request(format!(
                "fault {id} ({}) holds the same packets already, and the NFQUEUE engine holds a \
                 packet once; end that first, or let this one start after it",
                other.spec.text()
            )));
        }
        let gate = (0..MAX_DELAY_GATES as u32)
            .find(|gate| self.gates().all(|used| used != *gate))
            .ok_or_else(|| {
                FaultError::Full(format!(
                    "{MAX_DELAY_GATES} latency faults are active: no more fit"
                ))
            })?;
        self.bpffs.mount(context.undo)?;
        // Another program may own a number; and the rule of a guardd that was killed a moment ago feeds
        // its number until the lease is over, so those are the last to be tried.
        let first = QUEUE_BASE + gate as u16;
        let named = iptables::queues_of_chains();
        let mut numbers: Vec<u16> =
            (0..QUEUE_TRIES).map(|attempt| first + attempt * MAX_DELAY_GATES as u16).collect();
        numbers.sort_by_key(|number| named.contains(number));
        let end_ns = span_from_now(&fault.spec).1.saturating_add(SETTING_UP_NS);
        let queue = self.delays.start(numbers, profile, end_ns, context.lease_until_ns)?;
        // From here on the fault owns what `take_down` removes.
        let delay = fault.delay.insert(Delay { gate, queue, rule: None, failure: None });
        let path = context.kernel.open_gate(gate, fault.slot, self.bpffs.path())?;
        let rule = DelayRule {
            queue,
            cgroup_paths: vec![context.cgroup.clone()],
            except: context.inner.clone(),
            gate: Some(path),
        };
        let installed = iptables::install(&rule, context.undo)?;
        fault.warnings.extend(installed.warning.clone());
        delay.rule = Some(installed);
        Ok(())
    }

    /// Renews the lease of the engine process until `until_ns` (CLOCK_BOOTTIME), and ends it when
    /// it has not answered for `patience`. Returns the faults whose queues do not work any more,
    /// and why: the caller ends them.
    pub fn renew_delays(&mut self, until_ns: u64, patience: Duration) -> Vec<(u64, String)> {
        let failed = self.delays.renew(until_ns, patience);
        let mut faults = Vec::new();
        for (id, fault) in &mut self.active {
            let Some(delay) = &mut fault.delay else { continue };
            if let Some((_, why)) = failed.iter().find(|(queue, _)| *queue == delay.queue) {
                delay.failure = Some(why.clone());
                faults.push((*id, why.clone()));
            }
        }
        faults
    }

    fn gates(&self) -> impl Iterator<Item = u32> {
        self.active.values().filter_map(|fault| fault.delay.as_ref().map(|delay| delay.gate))
    }

    /// Slots of the active faults that are about a pair.
    fn slots_of(&self, pair: PairKey) -> Vec<u32> {
        let about = self.active.values().filter(|fault| fault.pairs.contains(&pair));
        about.map(|fault| fault.slot).collect()
    }

    /// Adds a new fault to the kernel's lists of rules per pair.
    fn point_pairs(&self, fault: &Active, kernel: &mut Kernel) -> Result<(), FaultError> {
        for pair in &fault.pairs {
            let mut slots = self.slots_of(*pair);
            slots.push(fault.slot);
            kernel.set_pair_rules(*pair, &slots)?;
        }
        Ok(())
    }

    /// Ends one fault now. `None` if there is none with this id. Problems are what could not be
    /// removed; the fault has no effect any more in any case.
    pub fn clear(
        &mut self,
        id: u64,
        why: &str,
        kernel: &mut Kernel,
        undo: &mut UndoLog,
    ) -> Option<(FaultRecord, Vec<String>)> {
        let fault = self.active.remove(&id)?;
        let mut problems = Vec::new();
        // The rule first: it ends the effect at once, whatever fails afterwards.
        if let Err(error) = kernel.clear_fault_rule(fault.slot) {
            problems.push(error.to_string());
        }
        let mut record = record(id, &fault, kernel);
        why.clone_into(&mut record.ended);
        "ended".clone_into(&mut record.state);
        record.remaining_seconds = 0.0;
        let (held, left) = self.take_down(fault, kernel, undo);
        record.held = held;
        problems.extend(left);
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(record.clone());
        Some((record, problems))
    }

    /// Takes everything of a fault off the host; returns for how long its packets were held, and what
    /// could not be removed.
    fn take_down(
        &mut self,
        fault: Active,
        kernel: &mut Kernel,
        undo: &mut UndoLog,
    ) -> (Option<Held>, Vec<String>) {
        let (mut problems, mut held) = (Vec::new(), None);
        let mut note = |result: Result<(), String>| {
            if let Err(problem) = result {
                problems.push(problem);
            }
        };
        for pair in &fault.pairs {
            note(kernel.set_pair_rules(*pair, &self.slots_of(*pair)).map_err(|e| e.to_string()));
        }
        note(kernel.clear_fault_rule(fault.slot).map_err(|e| e.to_string()));
        if let Some(Delay { gate, queue, rule, .. }) = fault.delay {
            if let Some(rule) = rule {
                note(iptables::remove(rule, undo).map_err(|e| e.to_string()));
            }
            match self.delays.stop(queue) {
                Ok(stats) => {
                    tracing::debug!(queue, ?stats, "delay queue given back");
                    held = stats.as_ref().map(held_of);
                }
                // Packets may be lost, but the queue went with its process: nothing is left.
                Err(error) => tracing::error!(queue, %error, "a delay queue did not end cleanly"),
            }
            note(kernel.close_gate(gate, self.bpffs.path()).map_err(|e| e.to_string()));
        }
        (held, problems)
    }

    /// Ids of the faults whose time is over.
    pub fn expired(&self) -> Vec<u64> {
        let now_ns = boottime_ns();
        let over = self.active.iter().filter(|(_, fault)| fault.end_ns <= now_ns);
        over.map(|(id, _)| *id).collect()
    }

    /// Ids of the faults of a bulkhead (`Some`) or of all.
    pub fn ids(&self, bulkhead: Option<&str>) -> Vec<u64> {
        let of = |fault: &Active| bulkhead.is_none_or(|name| fault.spec.bulkhead == name);
        self.active.iter().filter(|(_, fault)| of(fault)).map(|(id, _)| *id).collect()
    }

    /// Ids of the faults of a drill.
    pub fn ids_of_drill(&self, drill: &str) -> Vec<u64> {
        let of = |fault: &Active| fault.spec.drill.as_deref() == Some(drill);
        self.active.iter().filter(|(_, fault)| of(fault)).map(|(id, _)| *id).collect()
    }

    /// Every fault that is active or scheduled, by id.
    pub fn records(&self, kernel: &Kernel) -> Vec<FaultRecord> {
        self.active.iter().map(|(id, fault)| record(*id, fault, kernel)).collect()
    }

    /// The last faults that ended, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &FaultRecord> {
        self.ended.iter()
    }

    /// Where the gates are pinned.
    pub fn gates_directory(&self) -> &Path {
        self.bpffs.path()
    }

    /// Mounts the file system of the gates, if it is not.
    pub fn mount_gates(&mut self, undo: &mut UndoLog) -> Result<(), BpffsError> {
        self.bpffs.mount(undo)
    }

    /// Takes the file system of the gates off the host; for a clean stop, after the last fault.
    pub fn unmount(&mut self, undo: &mut UndoLog) -> Result<(), BpffsError> {
        self.bpffs.unmount(undo)
    }
}

impl Active {
    /// Whether there is a packet and a time that a fault which begins now would be about, too.
    fn meets(&self, new: &Self) -> bool {
        let (start_ns, end_ns) = span_from_now(&new.spec);
        self.start_ns < end_ns
            && start_ns < self.end_ns
            && self.pairs.iter().any(|pair| new.pairs.contains(pair))
    }
}

/// First and last moment of a fault that is armed now (CLOCK_BOOTTIME, ns).
fn span_from_now(spec: &FaultSpec) -> (u64, u64) {
    let start_ns = boottime_ns().saturating_add(spec.start_after.as_nanos() as u64);
    (start_ns, start_ns.saturating_add(spec.duration.as_nanos() as u64))
}

fn record(id: u64, fault: &Active, kernel: &Kernel) -> FaultRecord {
    let now_ns = boottime_ns();
    let mut warnings = fault.warnings.clone();
    let counters = match kernel.fault_stats(fault.slot) {
        Ok(stats) => counters(stats),
        Err(error) => {
            warnings.push(format!("its counters cannot be read: {error}"));
            FaultCounters::default()
        }
    };
    if let Some(failure) = fault.delay.as_ref().and_then(|delay| delay.failure.as_ref()) {
        warnings.push(format!("its delay engine failed: {failure}"));
    }
    FaultRecord {
        id,
        bulkhead: fault.spec.bulkhead.clone(),
        service: fault.spec.service.clone().unwrap_or_else(|| "*".to_owned()),
        effect: fault.spec.text(),
        engine: fault.engine.to_owned(),
        state: if now_ns < fault.start_ns { "scheduled" } else { "active" }.to_owned(),
        ended: String::new(),
        remaining_seconds: Duration::from_nanos(fault.end_ns.saturating_sub(now_ns)).as_secs_f64(),
        seed: fault.spec.seed,
        drill: fault.spec.drill.clone(),
        counters,
        held: None,
        warnings,
    }
}
