//! Ends sockets that hold an agent up: calls that have waited longer than their `call_timeout`,
//! connects whose time is over, pooled connections to a service whose breaker has opened, and those
//! whose peer or way is gone. Reports calls that have been silent for long.
//!
//! Data: the sockets of the bulkheads (socket diagnostics with the hooks' storage) and the rules of
//! the plan → which socket ends, and why (`rules`) → a note for the hooks, so that they count the
//! right outcome → SOCK_DESTROY. It ends no socket of a process outside the bulkheads, none that an
//! agent has accepted, none to a protected destination, and in monitor mode none at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;
use guard_common::abi::socket::EXCHANGE_HANDSHAKE;

use super::bulkheads::LiveBulkhead;
use super::error::DaemonError;
use super::state::{Guard, State};
use super::waits::storage_of;
use crate::kernel::{boottime_ns, monotonic_ns};
use crate::net::sock_diag::{self, Destroyed};
use crate::observe::{GuardedSocket, guarded_sockets, peer_text, with_ids};
use crate::plan::{OTHER, OpenAction, OpenPool, Plan};

mod options;
mod rules;
mod suspend;
#[cfg(test)]
mod tests;

use options::Options;
pub(crate) use rules::{CallCut, Cause, Cut, CutRules, Limits, PoolCut, Sweep};
use suspend::Suspends;

/// Looks follow each other after no less than this share of the shortest limit…
const MOST_LOOKS: u32 = 40;
/// …or, where they take long, after this, so that a limit is kept to 5 %…
const FEWEST_LOOKS: u32 = 20;
/// …and in between after this many times what the last one took: a tenth of a processor.
const REST: u32 = 9;
/// Bounds of the pause between two looks.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long the operator waits for pools to be cut.
const CUT_WAIT: Duration = Duration::from_secs(2);
/// Pause between looks for the order to stop, and at the clocks.
const IDLE_PAUSE: Duration = Duration::from_millis(250);

/// How many sockets were ended, by bulkhead, service and cause; in monitor mode, how many would
/// have been.
pub(crate) type CutCounts = BTreeMap<(String, String, Cause), u64>;

/// What the thread that cuts is told; it does one after the other.
#[derive(Debug)]
pub(crate) enum CutOrder {
    /// These go.
    Cut(Cut),
    /// Somebody waits for what was ordered before.
    Done(Sender<()>),
}

/// What the thread that cuts keeps from one look to the next.
#[derive(Default)]
struct Looks {
    rules: Arc<CutRules>,
    last: Option<Instant>,
    /// How long that took.
    took: Duration,
    /// When something is due that the last look saw begin.
    due: Option<Instant>,
    /// In monitor mode each socket is counted once.
    counted: BTreeSet<u64>,
    /// Silent calls that were reported: cookie, begin.
    stalled: BTreeSet<(u64, u64)>,
    options: Options,
}

impl Looks {
    /// When to look again. What begins after a look is due no sooner than the shortest limit later,
    /// and what the look saw has its own time; looks closer than a share of that limit would cost more
    /// than they are worth.
    fn next(&self, shortest: Option<Duration>) -> Option<Instant> {
        let shortest = shortest?;
        let Some(last) = self.last else { return Some(Instant::now()) };
        let rest = (self.took * REST).clamp(shortest / MOST_LOOKS, shortest / FEWEST_LOOKS);
        let soonest = last + rest.clamp(MIN_PAUSE, MAX_PAUSE);
        let latest = last + shortest.clamp(MIN_PAUSE, MAX_PAUSE);
        Some(self.due.map_or(latest, |due| due.clamp(soonest, latest.max(soonest))))
    }
}

/// The limits of one pair; `hold`: how long its connects may be held, if ever.
fn limits_of(plan: &Plan, bulkhead: &str, service: &str, hold: Option<Duration>) -> Limits {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let timeouts = plan.timeouts(bulkhead, service);
    let hygiene = plan.hygiene_of(service);
    Limits {
        connect: timeouts.connect.map(ns),
        call: timeouts.call.map(ns),
        hold: hold.map(ns),
        peer_closed: hygiene.on.then(|| ns(hygiene.peer_closed)),
        peer_closed_busy: hygiene.on.then(|| ns(hygiene.peer_closed_busy)),
        stall_warn: Some(ns(timeouts.stall_warn)),
        sweep: hygiene.on && hygiene.sweep,
    }
}

impl State {
    /// The limits as the plan has them.
    pub(crate) fn cut_rules(&self, pairs: &BTreeMap<PairKey, (String, String)>) -> CutRules {
        let limits = pairs.iter().map(|(pair, (bulkhead, service))| {
            let breaker = self.breaker_plan(bulkhead, service);
            let holds = breaker.open_action == OpenAction::Hold
                && (service != OTHER || self.has_other(bulkhead));
            let hold = holds.then_some(breaker.hold_max);
            (*pair, limits_of(&self.plan, bulkhead, service, hold))
        });
        CutRules::new(limits.collect())
    }
}

impl Guard {
    /// The breaker of a pair refuses from now on: its pool goes, if the plan says so.
    pub(super) fn cut_pool(&self, state: &State, pair: PairKey, bulkhead: &str, service: &str) {
        let pool = state.breaker_plan(bulkhead, service).open_pool;
        if pool == OpenPool::Keep {
            return;
        }
        self.order_cut(Cut::Pool(PoolCut { pair, busy_too: pool == OpenPool::CutAll }));
    }

    /// These go as soon as the thread that cuts comes to it.
    pub(super) fn order_cut(&self, cut: Cut) {
        if self.cuts.send(CutOrder::Cut(cut)).is_err() {
            tracing::debug!("guardd is stopping: nothing is cut any more");
        }
    }

    /// Waits until the pools are cut that were to be cut before: who opens a breaker by hand may rely
    /// on it afterwards. Not to be called with the state locked.
    pub(super) fn wait_for_cuts(&self) {
        let (done, told) = channel();
        if self.cuts.send(CutOrder::Done(done)).is_ok() && told.recv_timeout(CUT_WAIT).is_err() {
            tracing::warn!("pools are not cut yet; connections may go on for a while");
        }
    }

    /// Looks for sockets to end until the order to stop comes.
    pub(super) fn cut_until(&self, cuts: &Receiver<CutOrder>, stop: &AtomicBool) {
        let mut looks = Looks::default();
        let mut suspends = Suspends::default();
        while !stop.load(Ordering::Relaxed) {
            let next = self.next_look(&mut looks);
            let until_look = next.map_or(IDLE_PAUSE, |next| {
                next.saturating_duration_since(Instant::now()).min(IDLE_PAUSE)
            });
            let mut cut = match cuts.recv_timeout(until_look) {
                Ok(CutOrder::Cut(cut)) => Some(cut),
                Ok(CutOrder::Done(waiting)) => {
                    if waiting.send(()).is_err() {
                        tracing::debug!("whoever waited for the cut of a pool has given up");
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => None,
                // The guard holds the sender as long as it lives.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(slept) = suspends.look(boottime_ns(), monotonic_ns()) {
                tracing::warn!(seconds = slept.time.as_secs_f64(), "the host was suspended");
                let sweep = Sweep { cause: Cause::Suspend, ago: slept.ago, addresses: None };
                // A pool that was to be cut at this very moment is cut after it.
                if let Some(other) = cut.replace(Cut::Sweep(sweep)) {
                    self.order_cut(other);
                }
            }
            if cut.is_none() && next.is_none_or(|next| Instant::now() < next) {
                continue;
            }
            if let Err(error) = self.cut_once(cut.as_ref(), &mut looks) {
                tracing::error!(%error, "no socket is ended; agents wait for their own timeouts");
            }
        }
    }

    /// When to look next; at once after a reload that changed a limit.
    fn next_look(&self, looks: &mut Looks) -> Option<Instant> {
        let state = self.lock();
        if !Arc::ptr_eq(&looks.rules, &state.cut_rules) {
            looks.rules = Arc::clone(&state.cut_rules);
            looks.last = None;
        }
        let held = looks.rules.holds_any() && state.kernel.any_breaker_acts();
        looks.next(looks.rules.shortest(held))
    }

    fn cut_once(&self, cut: Option<&Cut>, looks: &mut Looks) -> Result<(), DaemonError> {
        let begin = Instant::now();
        looks.last = Some(begin);
        looks.due = None;
        let (storage, foreign, monitor, paced) = {
            let state = self.lock();
            let foreign: Vec<u32> = state
                .bulkheads
                .values()
                .flat_map(LiveBulkhead::network_namespaces)
                .filter(|namespace| !namespace.own)
                .map(|namespace| namespace.pid)
                .collect();
            (storage_of(&state)?, foreign, state.monitor(), state.paced_sockets())
        };
        let (sockets, problems) =
            guarded_sockets(storage.as_fd(), foreign.into_iter(), paced.as_ref());
        for problem in problems {
            tracing::warn!(problem, "sockets that wait too long may be overlooked");
        }
        let now_ns = boottime_ns();
        let (mut counted, mut stalled) = (BTreeSet::new(), BTreeSet::new());
        let mut due_ns = u64::MAX;
        for guarded in &sockets {
            let cookie = guarded.socket.cookie;
            let judged = looks.rules.judge(&guarded.socket, &guarded.remembered, now_ns, cut);
            due_ns = due_ns.min(judged.due_ns.unwrap_or(u64::MAX));
            if judged.stalled {
                let call = (cookie, guarded.remembered.exchange_start_ns);
                if !looks.stalled.contains(&call) {
                    self.report_stall(guarded, now_ns);
                }
                stalled.insert(call);
            }
            let Some(cause) = judged.cause else { continue };
            if !monitor {
                self.end(guarded, cause);
                continue;
            }
            if !looks.counted.contains(&cookie) {
                self.count_cut(guarded, cause, true);
            }
            counted.insert(cookie);
        }
        (looks.counted, looks.stalled) = (counted, stalled);
        // Socket diagnostics take their time: what is due is due from then.
        looks.due = (due_ns != u64::MAX)
            .then(|| Instant::now() + Duration::from_nanos(due_ns.saturating_sub(boottime_ns())));
        looks.took = begin.elapsed();
        if !monitor {
            self.set_options_of_older(&mut looks.options, &sockets);
        }
        Ok(())
    }

    /// A call is silent: said once, in the log, the events and a counter.
    fn report_stall(&self, guarded: &GuardedSocket, now_ns: u64) {
        let remembered = &guarded.remembered;
        let (bulkhead, service) = self.names_of(guarded);
        let peer = peer_text(remembered.peer, remembered.peer_port);
        let since_ns = remembered.exchange_start_ns & !EXCHANGE_HANDSHAKE;
        let seconds = Duration::from_nanos(now_ns.saturating_sub(since_ns)).as_secs_f64();
        tracing::info!(bulkhead, service, peer, pid = remembered.pid, seconds, "a call is silent");
        self.events.note("call_stalled", |event| {
            event.bulkhead.clone_from(&bulkhead);
            event.service.clone_from(&service);
            event.peer = peer;
            event.pid = (remembered.pid != 0).then_some(remembered.pid);
            event.seconds = Some(seconds);
            "no answer yet; it is left alone".clone_into(&mut event.message);
        });
        *self.lock().stalls.entry((bulkhead, service)).or_default() += 1;
    }

    fn names_of(&self, guarded: &GuardedSocket) -> (String, String) {
        with_ids(&self.ids, |ids| {
            (
                ids.bulkhead_name(guarded.remembered.bulkhead).to_owned(),
                ids.service_name(guarded.remembered.service).to_owned(),
            )
        })
    }

    /// Tells the hooks why, then ends the socket.
    fn end(&self, guarded: &GuardedSocket, cause: Cause) {
        let cookie = guarded.socket.cookie;
        let noted = self.lock().kernel.note_end(cookie, cause.ended());
        if let Err(error) = noted {
            // Ended all the same: the agent comes first, and its outcome is `aborted` then.
            tracing::warn!(%error, "the outcome of a socket that guard ends will be wrong");
        }
        match destroy(guarded) {
            Ok(Destroyed::Ended) => self.count_cut(guarded, cause, false),
            Ok(Destroyed::Gone) => {}
            Err(error) => tracing::error!(%error, cause = cause.name(), "a socket goes on"),
        }
    }

    fn count_cut(&self, guarded: &GuardedSocket, cause: Cause, monitor: bool) {
        let remembered = &guarded.remembered;
        let (bulkhead, service) = self.names_of(guarded);
        let peer = peer_text(remembered.peer, remembered.peer_port);
        let (pid, cause_name) = (remembered.pid, cause.name());
        if monitor {
            tracing::info!(
                bulkhead,
                service,
                peer,
                pid,
                cause = cause_name,
                "would end a connection"
            );
        } else {
            tracing::info!(bulkhead, service, peer, pid, cause = cause_name, "ended a connection");
            if Cause::STALE.contains(&cause) {
                self.events.note("stale_connection", |event| {
                    event.bulkhead.clone_from(&bulkhead);
                    event.service.clone_from(&service);
                    event.peer = peer;
                    event.pid = (pid != 0).then_some(pid);
                    event.message = format!("ended: {cause_name}");
                });
            }
        }
        let mut state = self.lock();
        let counts = if monitor { &mut state.would_cut } else { &mut state.cut_counts };
        *counts.entry((bulkhead, service, cause)).or_default() += 1;
    }
}

fn destroy(guarded: &GuardedSocket) -> Result<Destroyed, sock_diag::DiagError> {
    let Some(pid) = guarded.namespace_of else { return sock_diag::destroy(&guarded.socket) };
    match File::open(format!("/proc/{pid}/ns/net")) {
        Ok(namespace) => sock_diag::destroy_in_netns(namespace.as_fd(), &guarded.socket),
        // The process has ended since the socket was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Destroyed::Gone),
        Err(error) => Err(sock_diag::DiagError::Namespace(error)),
    }
}
