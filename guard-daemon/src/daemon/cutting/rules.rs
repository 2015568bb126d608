//! When guard ends a socket of an agent, and why: a decision from what the kernel says of the socket
//! and what the hooks remember of it. It reads no clock and ends nothing.
//!
//! Silence alone is no reason unless a timeout of the configuration makes it one; proof of death is.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::SERVICE_ALL;
use guard_common::abi::socket::{
    ENDED_REJECTED, ENDED_STALE, ENDED_TIMEOUT, EXCHANGE_HANDSHAKE, SOCKET_FALLBACK, SOCKET_HELD,
    SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_RELEASED, SocketState as Remembered,
};

use crate::net::sock_diag::{DiagSocket, SocketState, TcpInfo};

/// More than this is left to read on a connection that the peer has closed: an answer that the agent
/// is still busy with. Less is what a peer says when it closes a connection that nobody uses: a TLS
/// alert, a `408`. Nothing of it is lost: who reads gets it before the end.
const UNREAD_BYTES: u32 = 1024;
const NS_PER_MS: u64 = 1_000_000;

/// Why a socket is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// No answer within `call_timeout`.
    CallTimeout,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// Its connect was held for as long as it may.
    HoldOver,
    /// The breaker opened, and its pool goes.
    OpenPool,
    /// A budget is used up, and idle connections of its services go.
    Budget,
    /// Its peer has closed, and the agent keeps it.
    PeerClosed,
    /// Idle since before the host was suspended.
    Suspend,
    /// Idle since before its address or link was lost.
    LinkChange,
    /// A recovery ended its call, which hung.
    EndCall,
    /// A recovery wants new connections.
    Recovery,
    /// Idle, to a fallback that is not used any more.
    FallbackOver,
}

impl Cause {
    /// Those that mean that the peer, or the way to it, is gone.
    pub(crate) const STALE: [Self; 3] = [Self::PeerClosed, Self::Suspend, Self::LinkChange];

    /// Its word in logs, events and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CallTimeout => "call_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::HoldOver => "hold_over",
            Self::OpenPool => "open_pool",
            Self::Budget => "budget",
            Self::PeerClosed => "peer_closed",
            Self::Suspend => "suspend",
            Self::LinkChange => "link_change",
            Self::EndCall => "end_call",
            Self::Recovery => "recovery",
            Self::FallbackOver => "fallback_over",
        }
    }

    /// What the hooks shall make of it (`ENDED_*`).
    pub(super) const fn ended(self) -> u32 {
        match self {
            Self::CallTimeout | Self::ConnectTimeout | Self::EndCall => ENDED_TIMEOUT,
            Self::HoldOver | Self::OpenPool | Self::Budget | Self::Recovery => ENDED_REJECTED,
            Self::PeerClosed | Self::Suspend | Self::LinkChange | Self::FallbackOver => ENDED_STALE,
        }
    }
}

/// Limits of one (bulkhead, service), in ns; `None` = no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(super) connect: Option<u64>,
    pub(super) call: Option<u64>,
    pub(super) hold: Option<u64>,
    pub(super) peer_closed: Option<u64>,
    pub(super) peer_closed_busy: Option<u64>,
    pub(super) stall_warn: Option<u64>,
    /// Whether idle connections go when their way is lost.
    pub(super) sweep: bool,
}

/// Limits of the pairs; made anew with each plan, and too many to go through at each tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct CutRules {
    limits: HashMap<PairKey, Limits>,
    /// The shortest of them all, without and with those of held connects.
    shortest: Option<Duration>,
    shortest_hold: Option<Duration>,
}

/// The pools of a service that is sick for a bulkhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolCut {
    /// Whose connections.
    pub(crate) pair: PairKey,
    /// Those that wait for an answer too.
    pub(crate) busy_too: bool,
}

/// Connections whose way is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// [`Cause::Suspend`] or [`Cause::LinkChange`].
    pub(crate) cause: Cause,
    /// Time since then while the host was awake: whoever has heard of the peer since is alive.
    pub(crate) ago: Duration,
    /// Local addresses that are lost; `None` = all but those of this host alone.
    pub(crate) addresses: Option<BTreeSet<IpAddr>>,
}

/// What is to be cut at this look besides what the limits say.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// Pools.
    Pool(PoolCut),
    /// Idle connections of pairs, or of bulkheads as a whole (`SERVICE_ALL`), whose budget is used up.
    /// All in one order, because each order looks at every socket.
    Budget(BTreeSet<PairKey>),
    /// Idle connections to the fallbacks of these pairs.
    Fallback(BTreeSet<PairKey>),
    /// Idle connections.
    Sweep(Sweep),
    /// Calls that hang.
    Calls(CallCut),
    /// Connections of a pair, for a recovery.
    Reset(PoolCut),
}

/// Calls of a pair that have waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCut {
    /// Whose.
    pub(crate) pair: PairKey,
    /// For so long at least.
    pub(crate) waited: Duration,
}

/// What a look at one socket says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// It ends, for this reason.
    pub(super) cause: Option<Cause>,
    /// If nothing comes, something is due then (boottime ns).
    pub(super) due_ns: Option<u64>,
    /// Its call has been silent for longer than `stall_warn`.
    pub(super) stalled: bool,
}

impl Judged {
    /// Something is due `limit` after `since`; whether it is now.
    fn at(&mut self, since_ns: u64, limit_ns: Option<u64>, now_ns: u64) -> bool {
        let Some(limit_ns) = limit_ns else { return false };
        let due_ns = since_ns.saturating_add(limit_ns);
        if now_ns >= due_ns {
            return true;
        }
        self.due_ns = Some(self.due_ns.map_or(due_ns, |earlier| earlier.min(due_ns)));
        false
    }
}

impl CutRules {
    /// These limits.
    pub(super) fn new(limits: HashMap<PairKey, Limits>) -> Self {
        let shortest = limits.values().flat_map(|limits| {
            [limits.connect, limits.call, limits.peer_closed, limits.stall_warn]
        });
        Self {
            shortest: shortest.flatten().min().map(Duration::from_nanos),
            shortest_hold: limits.values().filter_map(|l| l.hold).min().map(Duration::from_nanos),
            limits,
        }
    }

    /// Whether any connect may ever be held.
    pub(crate) fn holds_any(&self) -> bool {
        self.shortest_hold.is_some()
    }

    /// From when on the silence of a bulkhead's calls is reported, by service, seconds.
    pub(crate) fn stall_warn_seconds(&self, bulkhead: u32) -> HashMap<u32, f64> {
        let of_bulkhead = self.limits.iter().filter(|(pair, _)| pair.bulkhead == bulkhead);
        of_bulkhead
            .filter_map(|(pair, limits)| {
                let seconds = Duration::from_nanos(limits.stall_warn?).as_secs_f64();
                Some((pair.service, seconds))
            })
            .collect()
    }

    /// The shortest limit: whatever begins after a look is due no sooner after it. `None` = there is
    /// nothing to look for. `held`: connects may be held now.
    pub(super) fn shortest(&self, held: bool) -> Option<Duration> {
        let hold = self.shortest_hold.filter(|_| held);
        self.shortest.into_iter().chain(hold).min()
    }

    /// Whether and why this socket ends.
    pub(super) fn judge(
        &self,
        socket: &DiagSocket,
        remembered: &Remembered,
        now_ns: u64,
        cut: Option<&Cut>,
    ) -> Judged {
        let mut judged = Judged::default();
        if remembered.flags & (SOCKET_PASSIVE | SOCKET_PROTECTED | SOCKET_RELEASED) != 0 {
            return judged;
        }
        let pair = PairKey { bulkhead: remembered.bulkhead, service: remembered.service };
        let Some(limits) = self.limits.get(&pair) else { return judged };
        judged.cause = match socket.state {
            SocketState::SynSent => connecting(limits, remembered, now_ns, &mut judged),
            SocketState::Established | SocketState::CloseWait => {
                let waits = is_waiting(remembered);
                timed_out(limits, remembered, now_ns, waits, &mut judged)
                    .or_else(|| peer_closed(limits, socket, remembered, now_ns, &mut judged))
                    .or_else(|| ordered(limits, socket, remembered, waits, cut?))
                    .or_else(|| hangs(remembered, pair, now_ns, cut?))
            }
            _ => None,
        };
        judged
    }
}

/// Whether an answer is awaited. A handshake that was answered may pause; one that never was hangs.
fn is_waiting(remembered: &Remembered) -> bool {
    let word = remembered.exchange_start_ns;
    word != 0 && (word & EXCHANGE_HANDSHAKE == 0 || remembered.received_bytes == 0)
}

fn connecting(
    limits: &Limits,
    remembered: &Remembered,
    now_ns: u64,
    judged: &mut Judged,
) -> Option<Cause> {
    let since_ns = remembered.connect_start_ns;
    if since_ns == 0 {
        return None;
    }
    if remembered.flags & SOCKET_HELD != 0 {
        // The agent's patience is what `connect_timeout` says, whoever it waits for.
        let limit = limits.hold.into_iter().chain(limits.connect).min();
        return judged.at(since_ns, limit, now_ns).then_some(Cause::HoldOver);
    }
    if judged.at(since_ns, limits.connect, now_ns) {
        return Some(Cause::ConnectTimeout);
    }
    judged.at(since_ns, limits.call, now_ns).then_some(Cause::CallTimeout)
}

fn timed_out(
    limits: &Limits,
    remembered: &Remembered,
    now_ns: u64,
    waits: bool,
    judged: &mut Judged,
) -> Option<Cause> {
    if !waits {
        return None;
    }
    let since_ns = remembered.exchange_start_ns & !EXCHANGE_HANDSHAKE;
    judged.stalled = judged.at(since_ns, limits.stall_warn, now_ns);
    judged.at(since_ns, limits.call, now_ns).then_some(Cause::CallTimeout)
}

/// A connection that the peer has closed, on which the agent neither sends nor has much to read.
fn peer_closed(
    limits: &Limits,
    socket: &DiagSocket,
    remembered: &Remembered,
    now_ns: u64,
    judged: &mut Judged,
) -> Option<Cause> {
    if socket.state != SocketState::CloseWait {
        return None;
    }
    let busy = remembered.exchange_start_ns != 0;
    let limit = if busy { limits.peer_closed_busy } else { limits.peer_closed };
    let tcp = socket.tcp.as_ref()?;
    // The FIN counts as one byte until the agent has read it.
    let reads = socket.receive_queue > UNREAD_BYTES;
    // What is on its way may still arrive: a peer that only reads is a half-close, and legitimate.
    let sends = socket.send_queue > 0 && tcp.retransmits == 0;
    let moved_ns = now_ns.saturating_sub(since_moved_ms(tcp) * NS_PER_MS);
    let due = judged.at(remembered.peer_closed_ns.max(moved_ns), limit, now_ns);
    (due && !reads && !sends).then_some(Cause::PeerClosed)
}

fn since_moved_ms(tcp: &TcpInfo) -> u64 {
    u64::from(tcp.last_data_sent_ms.min(tcp.last_data_received_ms))
}

fn ordered(
    limits: &Limits,
    socket: &DiagSocket,
    remembered: &Remembered,
    waits: bool,
    cut: &Cut,
) -> Option<Cause> {
    let pair = PairKey { bulkhead: remembered.bulkhead, service: remembered.service };
    let is_fallback = remembered.flags & SOCKET_FALLBACK != 0;
    match cut {
        // The service is sick, its fallback is not.
        Cut::Pool(pool) => (pool.pair == pair && !is_fallback && (pool.busy_too || !waits))
            .then_some(Cause::OpenPool),
        Cut::Fallback(pairs) => {
            (is_fallback && !waits && pairs.contains(&pair)).then_some(Cause::FallbackOver)
        }
        Cut::Budget(blocked) => {
            let whole = PairKey { service: SERVICE_ALL, ..pair };
            let is_blocked = blocked.contains(&pair) || blocked.contains(&whole);
            (is_blocked && !waits).then_some(Cause::Budget)
        }
        Cut::Reset(pool) => {
            (pool.pair == pair && (pool.busy_too || !waits)).then_some(Cause::Recovery)
        }
        Cut::Calls(_) => None,
        Cut::Sweep(sweep) => {
            (limits.sweep && !waits && has_lost_its_way(socket, sweep)).then_some(sweep.cause)
        }
    }
}

/// Whether its call, or its connect, is one that a recovery ends.
fn hangs(remembered: &Remembered, pair: PairKey, now_ns: u64, cut: &Cut) -> Option<Cause> {
    let Cut::Calls(calls) = cut else { return None };
    if calls.pair != pair || !is_waiting(remembered) {
        return None;
    }
    let since_ns = remembered.exchange_start_ns & !EXCHANGE_HANDSHAKE;
    let waited = Duration::from_nanos(now_ns.saturating_sub(since_ns));
    (waited >= calls.waited).then_some(Cause::EndCall)
}

fn has_lost_its_way(socket: &DiagSocket, sweep: &Sweep) -> bool {
    let (local, peer) = (socket.local.ip(), socket.peer.ip());
    // What was suspended with the host, or lives on it, needs no link.
    if peer.is_loopback() || local == peer {
        return false;
    }
    let Some(tcp) = socket.tcp.as_ref() else { return false };
    let heard_ms = tcp.last_data_received_ms.min(tcp.last_ack_received_ms);
    Duration::from_millis(u64::from(heard_ms)) >= sweep.ago
        && sweep.addresses.as_ref().is_none_or(|lost| lost.contains(&local))
}
