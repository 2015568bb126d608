//! What guardd does without being asked: renew the lease, end faults in time, read events, end
//! sockets that hold agents up, follow the host's addresses, repair bulkheads, forget old addresses.
//! Plain threads: none of them may depend on the runtime that answers requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard_common::abi::event::EVENT_BREAKER;

use super::cutting::{Cause, Cut, CutOrder, Sweep};
use super::error::DaemonError;
use super::state::{Guard, State};
use crate::kernel::{EventReader, KernelError, Told};
use crate::net::links::Links;
use crate::net::reset::Resetter;
use crate::observe::{decode, with_ids};
use crate::telemetry::notify;

/// How often the slow checks run.
const UPKEEP: Duration = Duration::from_secs(5);
/// Events taken per wake-up.
const EVENT_BATCH: usize = 4_096;
/// Pause after events were read. Whoever waits for the ring is woken for each event by the very
/// connect or packet that causes it: without the pause a burst of refused connects costs each of
/// them a switch of processes.
const EVENT_PAUSE: Duration = Duration::from_millis(20);
/// How long the event reader waits before it looks whether it shall stop.
const EVENT_WAIT: Duration = Duration::from_millis(250);
/// Longest pause between two ticks while faults are active.
const TICK_MAX: Duration = Duration::from_millis(250);
/// Longest pause between ticks without faults. Never more than half a lease, because the lease of
/// the first fault is renewed by the next tick.
const TICK_IDLE: Duration = Duration::from_millis(500);

/// Shortest time that the delay engine gets for an answer. A busy host may well keep a process
/// waiting for a tenth of a second.
const MIN_PATIENCE: Duration = Duration::from_millis(500);

/// The threads; they end soon after [`Threads::stop`].
pub(crate) struct Threads {
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them.
    pub(crate) fn start(
        guard: &Arc<Guard>,
        events: EventReader,
        pools: Receiver<CutOrder>,
    ) -> Result<Self, DaemonError> {
        let mut threads = Self { stop: Arc::default(), handles: Vec::new() };
        let ticking = Arc::clone(guard);
        threads.spawn("guard-tick", move |stop| tick(&ticking, stop))?;
        let reading = Arc::clone(guard);
        threads.spawn("guard-events", move |stop| read_events(&reading, events, stop))?;
        let watching = Arc::clone(guard);
        threads.spawn("guard-limits", move |stop| watching.watch_limits(stop))?;
        let cutting = Arc::clone(guard);
        threads.spawn("guard-cuts", move |stop| cutting.cut_until(&pools, stop))?;
        let linked = Arc::clone(guard);
        threads.spawn("guard-links", move |stop| follow_links(&linked, stop))?;
        let watching = Arc::clone(guard);
        threads.spawn("guard-members", move |stop| super::members::watch(&watching, stop))?;
        let healing = Arc::clone(guard);
        threads.spawn("guard-heal", move |stop| super::healing::heal_until(&healing, stop))?;
        let checking = Arc::clone(guard);
        threads.spawn("guard-fallback", move |stop| checking.check_fallbacks_until(stop))?;
        let serving = Arc::clone(guard);
        threads.spawn("guard-serving", move |stop| serving.serve_until(stop))?;
        let auditing = Arc::clone(guard);
        threads.spawn("guard-audit", move |stop| auditing.audit_until(stop))?;
        let looking = Arc::clone(guard);
        threads.spawn("guard-agents", move |stop| looking.look_after_agents(stop))?;
        let saving = Arc::clone(guard);
        threads.spawn("guard-saves", move |stop| saving.checkpoint_until(stop))?;
        Ok(threads)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<(), DaemonError> {
        let stop = Arc::clone(&self.stop);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&stop))
            .map_err(|source| DaemonError::System { what: "starting a thread", source })?;
        self.handles.push(handle);
        Ok(())
    }

    /// Ends them and waits until they have ended.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for handle in self.handles {
            handle.thread().unpark();
            if handle.join().is_err() {
                tracing::error!("a thread of guardd panicked");
            }
        }
    }
}

/// Sweeps connections whose local address is lost.
fn follow_links(guard: &Guard, stop: &AtomicBool) {
    let stops = || stop.load(Ordering::Relaxed);
    let mut links = match Links::open() {
        Ok(links) => links,
        Err(error) => {
            tracing::warn!(%error, "lost addresses are not noticed; keepalive finds the connections");
            return;
        }
    };
    while !stops() {
        match links.lost(EVENT_WAIT, stops) {
            Ok(None) => {}
            Ok(Some(lost)) => {
                tracing::warn!(addresses = ?lost.addresses, "local addresses are lost");
                let (cause, ago) = (Cause::LinkChange, lost.since.elapsed());
                guard.order_cut(Cut::Sweep(Sweep { cause, ago, addresses: Some(lost.addresses) }));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for lost addresses");
                std::thread::park_timeout(UPKEEP);
            }
        }
    }
}

/// Renews the lease while it can get the state, which a hung daemon cannot: that is the point.
fn tick(guard: &Guard, stop: &AtomicBool) {
    let mut upkeep_at = Instant::now() + UPKEEP;
    let watchdog = notify::watchdog_interval();
    let mut watchdog_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let pause = guard.tick_once();
        if let Some(interval) = watchdog
            && Instant::now() >= watchdog_at
        {
            // Sent from here, because this thread needs what everything needs: the state.
            notify::watchdog();
            watchdog_at = Instant::now() + interval / 2;
        }
        if Instant::now() >= upkeep_at {
            guard.upkeep();
            upkeep_at = Instant::now() + UPKEEP;
        }
        std::thread::park_timeout(pause);
    }
}

impl Guard {
    /// Renews the lease of active faults and ends those whose time is over. Returns the pause until
    /// the next call.
    fn tick_once(&self) -> Duration {
        let mut state = self.lock();
        // Each comes with an event too; this is for those whose event was lost.
        self.report_transitions(&mut state);
        if let Err(error) = state.beat() {
            tracing::error!(%error, "the kernel gets no sign of life: breakers may fail open");
        }
        self.follow_fallbacks(&mut state);
        let limits = &state.plan.limits;
        if limits.limit_retries() || !limits.budgets.is_empty() || state.budgets.any() {
            match state.kernel.counters() {
                Ok(counters) => {
                    if state.plan.limits.limit_retries() {
                        state.fill_retry_budget(&counters);
                    }
                    self.watch_budgets(&mut state, &counters);
                }
                Err(error) => tracing::error!(%error, "budgets are not looked at"),
            }
        }
        let lease = state.plan.daemon.fault_lease;
        self.watch_storms(&mut state);
        if !state.faults.any() && !state.pacing.is_on() {
            return TICK_IDLE.min(lease / 2);
        }
        if let Err(error) = self.renew_leases(&mut state) {
            tracing::error!(%error, "the lease of faults is not renewed: they end by themselves");
        }
        for id in state.faults.expired() {
            self.end_fault(&mut state, id, "done");
        }
        (lease / 4).min(TICK_MAX)
    }

    /// Renews the lease of faults, in the kernel and in the engine process; until when that is
    /// (CLOCK_BOOTTIME, ns). A fault that has lost its engine ends: started again behind the
    /// operator's back, it would not be the fault that was asked for.
    pub(super) fn renew_leases(&self, state: &mut State) -> Result<u64, KernelError> {
        let lease = state.plan.daemon.fault_lease;
        let until_ns = state.lease.renew(lease)?;
        // With half the lease of patience, and ticks of a quarter, an engine that was stopped is
        // ended within the lease; with a lease below 1 s, half a second later at most.
        let patience = (lease / 2).max(MIN_PATIENCE);
        for (id, why) in state.faults.renew_delays(until_ns, patience) {
            self.events.note("delay_engine_failed", |event| {
                event.fault = Some(id);
                event.message = why;
            });
            self.end_fault(state, id, "engine failed");
        }
        self.renew_pacing(state, until_ns, patience);
        Ok(until_ns)
    }

    /// Slow checks.
    fn upkeep(&self) {
        let mut state = self.lock();
        for name in state.lost_bulkheads() {
            // Their queues and rules belong to the cgroup that is gone.
            for id in state.faults.ids(Some(&name)) {
                self.end_fault(&mut state, id, "cgroup removed");
            }
            let Some(done) = state.repair_bulkhead(&name, &self.ids) else { continue };
            self.refresh_matches(&mut state);
            self.settle_owners(&mut state);
            tracing::warn!("{done}");
            self.events.note("bulkhead_repaired", |event| {
                event.bulkhead = name;
                event.message = done;
            });
        }
        self.look_after_limits(&mut state);
        self.follow_pacing(&mut state);
        if !state.resolved.has_old() {
            return;
        }
        drop(state);
        match Self::addresses_in_use() {
            Ok(in_use) => {
                let mut state = self.lock();
                if state.resolved.forget_unused(&in_use)
                    && let Err(error) = state.write_endpoints(&self.ids)
                {
                    tracing::error!(%error, "old addresses stay in the kernel");
                }
            }
            Err(error) => tracing::warn!(%error, "old addresses are kept"),
        }
    }
}

fn read_events(guard: &Guard, mut reader: EventReader, stop: &AtomicBool) {
    let mut resetter = Resetter::default();
    while !stop.load(Ordering::Relaxed) {
        let mut breakers_changed = false;
        let read = reader.read(EVENT_WAIT, EVENT_BATCH, |told| {
            let event = match told {
                Told::Event(event) => event,
                Told::Reset(order) => return resetter.obey(&order),
            };
            if event.kind == EVENT_BREAKER {
                breakers_changed = true;
                return;
            }
            let record = with_ids(&guard.ids, |ids| decode(&event, ids));
            guard.events.push(record);
        });
        if breakers_changed {
            guard.report_transitions(&mut guard.lock());
        }
        // A full batch means that there are more.
        if matches!(read, Ok((taken, _)) if (1..EVENT_BATCH).contains(&taken)) {
            std::thread::sleep(EVENT_PAUSE);
        }
        match read {
            Ok((_, 0)) => {}
            Ok((_, odd)) => {
                tracing::error!(odd, "events of an unknown size: guardd is built wrongly");
            }
            Err(error) => {
                tracing::error!(%error, "events cannot be read; counters are not affected");
                std::thread::park_timeout(EVENT_WAIT);
            }
        }
    }
}
