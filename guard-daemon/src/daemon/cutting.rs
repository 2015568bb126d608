//! Ends sockets that hold an agent up: calls that have waited longer than their `call_timeout`,
//! held connects whose time is over, pooled connections to a service whose breaker has opened.
//!
//! Data: the sockets of the bulkheads (socket diagnostics with the hooks' storage) and the rules of
//! the plan → which socket ends, and why → a note for the hooks, so that they count the right
//! outcome → SOCK_DESTROY. It ends no socket of a process outside the bulkheads, none that an
//! agent has accepted, none to a protected destination, and in monitor mode none at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;
use guard_common::abi::socket::{
    ENDED_REJECTED, ENDED_TIMEOUT, EXCHANGE_HANDSHAKE, SOCKET_HELD, SOCKET_PASSIVE,
    SOCKET_PROTECTED, SOCKET_RELEASED, SocketState as Remembered,
};

use super::bulkheads::LiveBulkhead;
use super::error::DaemonError;
use super::state::{Guard, State};
use super::waits::storage_of;
use crate::kernel::boottime_ns;
use crate::net::sock_diag::{self, Destroyed, SocketState};
use crate::observe::{GuardedSocket, guarded_sockets, peer_text, with_ids};
use crate::plan::{OTHER, OpenAction, OpenPool};

/// Calls are looked at this many times while their timeout runs: it is kept to 5 %.
const LOOKS: u32 = 20;
/// Bounds of the pause between two looks.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Pause while connects may be held.
const HOLD_PAUSE: Duration = Duration::from_millis(100);
/// How long the operator waits for pools to be cut.
const CUT_WAIT: Duration = Duration::from_secs(2);
/// Pause between looks for the order to stop.
const IDLE_PAUSE: Duration = Duration::from_millis(250);

/// Why a socket is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// No answer within `call_timeout`.
    CallTimeout,
    /// Its connect was held for as long as it may.
    HoldOver,
    /// The breaker opened, and its pool goes.
    OpenPool,
}

impl Cause {
    /// Its word in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CallTimeout => "call_timeout",
            Self::HoldOver => "hold_over",
            Self::OpenPool => "open_pool",
        }
    }

    /// What the hooks shall make of it (`ENDED_*`).
    const fn ended(self) -> u32 {
        match self {
            Self::CallTimeout => ENDED_TIMEOUT,
            Self::HoldOver | Self::OpenPool => ENDED_REJECTED,
        }
    }
}

/// How many sockets were ended, by bulkhead, service and cause; in monitor mode, how many would
/// have been.
pub(crate) type CutCounts = BTreeMap<(String, String, Cause), u64>;

/// Limits of the pairs, in ns; made anew with each plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutRules {
    call_timeouts: HashMap<PairKey, u64>,
    holds: HashMap<PairKey, u64>,
}

/// The pools of a service that is sick for a bulkhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolCut {
    /// Whose connections.
    pub(crate) pair: PairKey,
    /// Those that wait for an answer too.
    pub(crate) busy_too: bool,
}

/// What the thread that cuts is told; it does one after the other.
#[derive(Debug)]
pub(crate) enum CutOrder {
    /// These pools go.
    Pool(PoolCut),
    /// Somebody waits for what was ordered before.
    Done(Sender<()>),
}

impl CutRules {
    /// Whether any connect may ever be held.
    pub(crate) fn holds_any(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Pause between two looks; `None` = there is nothing to look for. `held`: connects may be held
    /// now.
    fn pause(&self, held: bool) -> Option<Duration> {
        let shortest = self.call_timeouts.values().min().map(|ns| Duration::from_nanos(*ns));
        let calls = shortest.map(|timeout| (timeout / LOOKS).clamp(MIN_PAUSE, MAX_PAUSE));
        let holds = (held && !self.holds.is_empty()).then_some(HOLD_PAUSE);
        calls.into_iter().chain(holds).min()
    }

    /// Whether and why this socket ends.
    fn judge(
        &self,
        state: SocketState,
        remembered: &Remembered,
        now_ns: u64,
        cut: Option<PoolCut>,
    ) -> Option<Cause> {
        if remembered.flags & (SOCKET_PASSIVE | SOCKET_PROTECTED | SOCKET_RELEASED) != 0 {
            return None;
        }
        let pair = PairKey { bulkhead: remembered.bulkhead, service: remembered.service };
        let over = |since_ns: u64, limits: &HashMap<PairKey, u64>| {
            limits.get(&pair).is_some_and(|limit| now_ns.saturating_sub(since_ns) >= *limit)
        };
        let word = remembered.exchange_start_ns;
        match state {
            SocketState::SynSent if remembered.flags & SOCKET_HELD != 0 => {
                over(remembered.connect_start_ns, &self.holds).then_some(Cause::HoldOver)
            }
            SocketState::SynSent => (remembered.connect_start_ns != 0
                && over(remembered.connect_start_ns, &self.call_timeouts))
            .then_some(Cause::CallTimeout),
            SocketState::Established | SocketState::CloseWait => {
                // A handshake that was answered may pause; one that never was hangs.
                let waits =
                    word != 0 && (word & EXCHANGE_HANDSHAKE == 0 || remembered.received_bytes == 0);
                if waits && over(word & !EXCHANGE_HANDSHAKE, &self.call_timeouts) {
                    return Some(Cause::CallTimeout);
                }
                cut.filter(|cut| cut.pair == pair && (cut.busy_too || !waits))
                    .map(|_| Cause::OpenPool)
            }
            _ => None,
        }
    }
}

impl State {
    /// The limits as the plan has them.
    pub(crate) fn cut_rules(&self, pairs: &BTreeMap<PairKey, (String, String)>) -> CutRules {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut rules = CutRules::default();
        for (pair, (bulkhead, service)) in pairs {
            if let Some(timeout) = self.plan.call_timeout(bulkhead, service) {
                rules.call_timeouts.insert(*pair, ns(timeout));
            }
            let breaker = self.breaker_plan(bulkhead, service);
            if breaker.open_action == OpenAction::Hold
                && (service != OTHER || self.has_other(bulkhead))
            {
                rules.holds.insert(*pair, ns(breaker.hold_max));
            }
        }
        rules
    }
}

impl Guard {
    /// The breaker of a pair refuses from now on: its pool goes, if the plan says so.
    pub(super) fn cut_pool(&self, state: &State, pair: PairKey, bulkhead: &str, service: &str) {
        let pool = state.breaker_plan(bulkhead, service).open_pool;
        if pool == OpenPool::Keep {
            return;
        }
        let cut = PoolCut { pair, busy_too: pool == OpenPool::CutAll };
        if self.cuts.send(CutOrder::Pool(cut)).is_err() {
            tracing::debug!("guardd is stopping: no pool is cut any more");
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
        // In monitor mode each socket is counted once.
        let mut counted = BTreeSet::new();
        let mut look_at = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let pause = {
                let state = self.lock();
                let held = state.cut_rules.holds_any() && state.kernel.any_breaker_acts();
                state.cut_rules.pause(held)
            };
            let until_look = pause.map_or(IDLE_PAUSE, |pause| {
                (look_at + pause).saturating_duration_since(Instant::now()).min(IDLE_PAUSE)
            });
            let cut = match cuts.recv_timeout(until_look) {
                Ok(CutOrder::Pool(cut)) => Some(cut),
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
            let due = pause.is_some_and(|pause| look_at.elapsed() >= pause);
            if cut.is_none() && !due {
                continue;
            }
            look_at = Instant::now();
            if let Err(error) = self.cut_once(cut, &mut counted) {
                tracing::error!(%error, "no socket is ended; agents wait for their own timeouts");
            }
        }
    }

    fn cut_once(
        &self,
        cut: Option<PoolCut>,
        counted: &mut BTreeSet<u64>,
    ) -> Result<(), DaemonError> {
        let (storage, foreign, rules, monitor) = {
            let state = self.lock();
            let foreign: Vec<u32> = state
                .bulkheads
                .values()
                .flat_map(LiveBulkhead::network_namespaces)
                .filter(|namespace| !namespace.own)
                .map(|namespace| namespace.pid)
                .collect();
            (storage_of(&state)?, foreign, state.cut_rules.clone(), state.monitor())
        };
        let (sockets, problems) = guarded_sockets(storage.as_fd(), foreign.into_iter());
        for problem in problems {
            tracing::warn!(problem, "sockets that wait too long may be overlooked");
        }
        let now_ns = boottime_ns();
        let mut still_there = BTreeSet::new();
        for guarded in &sockets {
            let judged = rules.judge(guarded.socket.state, &guarded.remembered, now_ns, cut);
            let Some(cause) = judged else { continue };
            if !monitor {
                self.end(guarded, cause);
            } else if counted.contains(&guarded.socket.cookie) {
                still_there.insert(guarded.socket.cookie);
            } else {
                still_there.insert(guarded.socket.cookie);
                self.count_cut(guarded, cause, true);
            }
        }
        *counted = still_there;
        Ok(())
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
        let (bulkhead, service) = with_ids(&self.ids, |ids| {
            (
                ids.bulkhead_name(remembered.bulkhead).to_owned(),
                ids.service_name(remembered.service).to_owned(),
            )
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const PAIR: PairKey = PairKey { bulkhead: 1, service: 2 };

    fn rules() -> CutRules {
        CutRules {
            call_timeouts: HashMap::from([(PAIR, 10 * SECOND)]),
            holds: HashMap::from([(PAIR, 4 * SECOND)]),
        }
    }

    fn socket(exchange_start_ns: u64) -> Remembered {
        let (bulkhead, service) = (PAIR.bulkhead, PAIR.service);
        Remembered { bulkhead, service, exchange_start_ns, ..Remembered::default() }
    }

    fn judged(state: SocketState, socket: Remembered, cut: Option<PoolCut>) -> Option<Cause> {
        rules().judge(state, &socket, 100 * SECOND, cut)
    }

    #[test]
    fn a_call_ends_at_its_timeout_and_no_earlier() {
        let open = SocketState::Established;
        assert_eq!(judged(open, socket(90 * SECOND), None), Some(Cause::CallTimeout));
        assert_eq!(judged(open, socket(90 * SECOND + 1), None), None);
        assert_eq!(judged(open, socket(0), None), None, "it waits for nothing");
        let other = Remembered { service: 3, ..socket(1) };
        assert_eq!(judged(open, other, None), None, "no timeout");
        let answered = Remembered { received_bytes: 1, ..socket(EXCHANGE_HANDSHAKE | SECOND) };
        assert_eq!(judged(open, answered, None), None, "a handshake that was answered");
        let mute = socket(EXCHANGE_HANDSHAKE | SECOND);
        assert_eq!(judged(open, mute, None), Some(Cause::CallTimeout));
        let connecting = Remembered { connect_start_ns: SECOND, ..socket(0) };
        assert_eq!(judged(SocketState::SynSent, connecting, None), Some(Cause::CallTimeout));
    }

    #[test]
    fn what_is_never_ended() {
        let cut = Some(PoolCut { pair: PAIR, busy_too: true });
        for flags in [SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_RELEASED] {
            let socket = Remembered { flags, ..socket(1) };
            assert_eq!(judged(SocketState::Established, socket, cut), None);
        }
        assert_eq!(judged(SocketState::Listen, socket(1), cut), None);
    }

    #[test]
    fn held_connects_have_a_limit_of_their_own() {
        let held =
            |since_ns| Remembered { flags: SOCKET_HELD, connect_start_ns: since_ns, ..socket(0) };
        let connecting = SocketState::SynSent;
        assert_eq!(judged(connecting, held(96 * SECOND), None), Some(Cause::HoldOver));
        assert_eq!(judged(connecting, held(97 * SECOND), None), None);
    }

    #[test]
    fn pools() {
        let open = SocketState::Established;
        let idle_only = Some(PoolCut { pair: PAIR, busy_too: false });
        let all = Some(PoolCut { pair: PAIR, busy_too: true });
        let busy = socket(99 * SECOND);
        assert_eq!(judged(open, socket(0), idle_only), Some(Cause::OpenPool));
        assert_eq!(judged(open, busy, idle_only), None);
        assert_eq!(judged(open, busy, all), Some(Cause::OpenPool));
        let elsewhere = Some(PoolCut { pair: PairKey { bulkhead: 9, service: 2 }, busy_too: true });
        assert_eq!(judged(open, socket(0), elsewhere), None, "another bulkhead");
    }

    #[test]
    fn pauses() {
        assert_eq!(CutRules::default().pause(true), None);
        assert_eq!(rules().pause(false), Some(Duration::from_millis(500)));
        assert_eq!(rules().pause(true), Some(HOLD_PAUSE));
        let long = HashMap::from([(PAIR, 3_600 * SECOND)]);
        let rules = CutRules { call_timeouts: long, ..CutRules::default() };
        assert_eq!(rules.pause(false), Some(MAX_PAUSE));
    }
}
