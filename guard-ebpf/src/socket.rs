//! Socket storage: what guard remembers of a connection, and how its end is counted.

use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use guard_common::abi::event::{
    EVENT_CALL_FAILED, EVENT_CLOSED, EVENT_CONNECT_FAILED, EVENT_STALE, Event,
};
use guard_common::abi::hygiene::{STALE_KEEPALIVE, STALE_REUSED, STALE_UNACKNOWLEDGED};
use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::policy::FLAG_VERBOSE_EVENTS;
use guard_common::abi::socket::{
    ENDED_REJECTED, ENDED_STALE, ENDED_TIMEOUT, EXCHANGE_HANDSHAKE, SOCKET_ADOPTED,
    SOCKET_ESTABLISHED, SOCKET_FALLBACK, SOCKET_FAULTED, SOCKET_FIN_SEEN, SOCKET_HELD,
    SOCKET_PASSIVE, SOCKET_RST_SEEN, SOCKET_UDP, SOCKET_UNACKNOWLEDGED, SocketState,
};
use guard_common::abi::stats::{OUTCOME_PLACES, PairStats};
use guard_common::logic::outcome;

use crate::classify::Address;
use crate::{atomics, breaker, emit, limits, maps, nesting, plain};

/// What SOCK_DESTROY leaves on a socket.
const ECONNABORTED: i32 = 103;
/// What keepalive and TCP_USER_TIMEOUT leave on a socket.
const ETIMEDOUT: i32 = 110;

/// Nanoseconds of CLOCK_BOOTTIME.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The storage of a socket, if it has one.
#[inline(always)]
pub(crate) fn get(sk: *mut bpf_sock) -> Option<&'static mut SocketState> {
    // SAFETY: `sk` comes from the context; the storage lives as long as the program runs.
    unsafe {
        bpf_sk_storage_get(maps::sockets(), sk.cast(), core::ptr::null_mut(), 0)
            .cast::<SocketState>()
            .as_mut()
    }
}

/// The storage of a socket, made from `initial` if it has none; `None` is counted.
#[inline(always)]
pub(crate) fn get_or_make(
    sk: *mut bpf_sock,
    initial: &mut SocketState,
) -> Option<&'static mut SocketState> {
    // SAFETY: as in `get`; `initial` is copied by the kernel.
    let state = unsafe {
        bpf_sk_storage_get(
            maps::sockets(),
            sk.cast(),
            (&raw mut *initial).cast(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
        .cast::<SocketState>()
        .as_mut()
    };
    if state.is_none() {
        maps::hook_stats(|stats| &raw mut stats.storage_failures);
    }
    state
}

/// The storage of a socket that has done nothing yet.
#[inline(always)]
pub(crate) fn fresh(pair: PairKey, flags: u32, peer: Address, peer_port: u32) -> SocketState {
    let zero = plain::zero();
    SocketState {
        bulkhead: pair.bulkhead,
        service: pair.service,
        flags,
        ticket: zero as u32,
        exchange_start_ns: zero,
        sent_bytes: zero,
        received_bytes: zero,
        answer_ns: zero,
        exchanges: zero as u32,
        breaker: zero as u32,
        connect_start_ns: zero,
        peer_closed_ns: zero,
        opened: zero,
        closed: zero,
        retransmitted: zero,
        peer,
        peer_port,
        pid: zero as u32,
        counted: zero,
    }
}

/// Key of the socket's counters.
#[inline(always)]
pub(crate) fn pair(state: &SocketState) -> PairKey {
    PairKey { bulkhead: state.bulkhead, service: state.service }
}

/// Origin of what happens to the socket now.
#[inline(always)]
pub(crate) fn origin(state: &SocketState) -> Origin {
    if state.flags & SOCKET_FAULTED == 0 { Origin::Real } else { Origin::Injected }
}

/// Adds one call with this outcome.
#[inline(always)]
pub(crate) fn count_call(stats: &mut PairStats, outcome: Outcome, origin: Origin) {
    atomics::add(&raw mut stats.calls[outcome as usize][origin as usize], 1);
}

/// Adds one call with the outcome of this number.
#[inline(always)]
pub(crate) fn count_call_number(stats: &mut PairStats, outcome: u32, origin: Origin) {
    let place = outcome as usize & (OUTCOME_PLACES - 1);
    atomics::add(&raw mut stats.calls[place][origin as usize], 1);
}

/// Adds one call that a fallback has answered, or failed to.
#[inline(always)]
pub(crate) fn count_of_fallback(stats: &mut PairStats, bad: bool) {
    if bad {
        atomics::add(&raw mut stats.fallback_failures, 1);
    } else {
        atomics::add(&raw mut stats.fallback_calls, 1);
    }
}

/// Counts the connection as open, once.
#[inline(always)]
pub(crate) fn count_open(state: &mut SocketState, stats: &mut PairStats) -> bool {
    let first = atomics::replace(&raw mut state.opened, 0, 1);
    if first {
        atomics::add(&raw mut stats.opened, 1);
    }
    first
}

/// Remembers the peer's FIN and when it came.
#[inline(always)]
pub(crate) fn peer_closed(state: &mut SocketState) {
    atomics::set_bits(&raw mut state.flags, SOCKET_FIN_SEEN);
    atomics::replace(&raw mut state.peer_closed_ns, 0, now_ns());
}

/// An event about this socket.
#[inline(always)]
pub(crate) fn event(kind: u32, state: &SocketState, cookie: u64) -> Event {
    Event {
        time_ns: 0,
        cookie,
        duration_ns: 0,
        fault: 0,
        kind,
        bulkhead: state.bulkhead,
        service: state.service,
        outcome: 0,
        origin: origin(state) as u32,
        pid: state.pid,
        peer: state.peer,
        peer_port: state.peer_port,
        errno: 0,
        status: 0,
        pad: 0,
    }
}

/// Whether the daemon wants an event for each success too.
#[inline(always)]
pub(crate) fn verbose() -> bool {
    maps::control().is_some_and(|control| control.flags & FLAG_VERBOSE_EVENTS != 0)
}

/// Milliseconds of [`now_ns`], modulo 2^32.
#[inline(always)]
pub(crate) fn now_ms() -> u32 {
    (now_ns() / 1_000_000) as u32
}

/// Whether the end of a socket that the agent closes is counted only at the change of its TCP state,
/// a moment later in the same close(): there can be seen whether anybody had its request.
#[inline(always)]
pub(crate) fn is_judged_by_state(state: &SocketState) -> bool {
    const KIND: u32 = SOCKET_ESTABLISHED | SOCKET_ADOPTED | SOCKET_PASSIVE | SOCKET_UDP;
    state.flags & (KIND | SOCKET_FIN_SEEN | SOCKET_RST_SEEN) == SOCKET_ESTABLISHED
        && state.retransmitted != 0
        && state.exchange_start_ns != 0
        && state.closed == 0
}

/// Counts the end of a connection or of a connect that never led to one, once.
///
/// `error` is the socket's pending errno (0 = none or unknown), `sk` the socket itself.
#[inline(always)]
pub(crate) fn finish(sk: *mut bpf_sock, state: &mut SocketState, error: i32, cookie: u64) {
    if atomics::replace(&raw mut state.closed, 0, 1) {
        guard_socket_finish(state, error, cookie);
        limits::give_back(state);
        nesting::give_back(sk, state);
    }
}

/// What [`finish`] does, once it is known to be the only one.
///
/// A global function: the verifier looks at it once, and not once for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_socket_finish(state: *mut SocketState, error: i32, cookie: u64) -> u32 {
    // SAFETY: a socket's storage, alive for the program; fields that others change meanwhile are
    // changed by atomics only. The verifier checks each caller's pointer, and asks for this check.
    if let Some(state) = unsafe { state.as_mut() } {
        finished(state, error, cookie);
    }
    0
}

#[inline(always)]
fn finished(state: &mut SocketState, error: i32, cookie: u64) {
    let Some(stats) = maps::pair_stats(pair(state)) else { return };
    let now_ns = now_ns();
    if state.opened != 0 {
        atomics::add(&raw mut stats.closed, 1);
    }
    if state.flags & SOCKET_PASSIVE != 0 {
        return;
    }
    if state.flags & (SOCKET_ESTABLISHED | SOCKET_UDP) == 0 {
        if state.connect_start_ns != 0 {
            failed_connect(state, stats, error, cookie, now_ns);
        }
        return;
    }
    include_queued(state, cookie);
    let word = state.exchange_start_ns;
    // A TLS handshake that nobody ever answered is a failed connection attempt.
    let unanswered = word != 0 && (word & EXCHANGE_HANDSHAKE == 0 || state.received_bytes == 0);
    if unanswered || outcome::is_thrown_out(state, now_ns) {
        broken_call(state, stats, error, cookie, now_ns);
        return;
    }
    // A probe that closes without a result gives its lease back.
    breaker::give_back(state);
    if error == ETIMEDOUT && state.flags & SOCKET_UDP == 0 {
        return found_dead(state, stats, cookie, now_ns);
    }
    if verbose() {
        let mut event = event(EVENT_CLOSED, state, cookie);
        event.time_ns = now_ns;
        event.duration_ns = now_ns.saturating_sub(state.connect_start_ns);
        event.errno = error as u32;
        emit::emit(&event);
    }
}

/// The kernel gave up a connection on which nothing was awaited. No call was lost with it.
#[inline(always)]
fn found_dead(state: &SocketState, stats: &mut PairStats, cookie: u64, now_ns: u64) {
    atomics::add(&raw mut stats.stale[STALE_KEEPALIVE], 1);
    let mut event = event(EVENT_STALE, state, cookie);
    event.time_ns = now_ns;
    event.outcome = Outcome::StaleConnection as u32;
    event.errno = ETIMEDOUT as u32;
    emit::emit(&event);
}

/// A request that an agent gave up while it waited in the queue of a latency: for the agent its call
/// has failed, though no packet hook has seen it begin.
#[inline(always)]
fn include_queued(state: &mut SocketState, cookie: u64) {
    if state.exchange_start_ns != 0 || maps::control().is_none_or(|c| c.faults_active == 0) {
        return;
    }
    let since_ns = maps::queued_since_ns(cookie);
    // An answer since then shows that it has left, while no fault was active any more.
    if since_ns > state.answer_ns {
        state.exchange_start_ns = since_ns;
        atomics::set_bits(&raw mut state.flags, SOCKET_FAULTED);
        maps::forget_queued(cookie);
    }
}

#[inline(always)]
fn failed_connect(
    state: &mut SocketState,
    stats: &mut PairStats,
    error: i32,
    cookie: u64,
    now_ns: u64,
) {
    let elapsed_ns = now_ns.saturating_sub(state.connect_start_ns);
    let outcome = if state.flags & SOCKET_HELD != 0 {
        // It never left this host.
        Outcome::Rejected
    } else {
        outcome::failed_connect(state.flags, error, elapsed_ns)
    };
    report(EVENT_CONNECT_FAILED, outcome, elapsed_ns, state, stats, error, cookie, now_ns);
}

#[inline(always)]
fn broken_call(
    state: &mut SocketState,
    stats: &mut PairStats,
    error: i32,
    cookie: u64,
    now_ns: u64,
) {
    let word = state.exchange_start_ns & !EXCHANGE_HANDSHAKE;
    let waited_ns = now_ns.saturating_sub(if word == 0 { state.connect_start_ns } else { word });
    let abandoned_ns = breaker::abandoned_ns(state.breaker);
    let outcome = if outcome::is_name_query(state.flags, state.peer_port) {
        Outcome::DnsFailure
    } else {
        outcome::broken_call(state.flags, error, state.exchanges, waited_ns, abandoned_ns)
    };
    let unacknowledged = state.flags & SOCKET_UNACKNOWLEDGED != 0;
    // The daemon counts those that it ends itself, but for calls that waited too long.
    if outcome as u32 == Outcome::StaleConnection as u32
        && (error != ECONNABORTED
            || unacknowledged && maps::ended_by_guard(cookie) == ENDED_TIMEOUT)
    {
        let dead = error == ETIMEDOUT || unacknowledged;
        let cause = if dead { STALE_UNACKNOWLEDGED } else { STALE_REUSED };
        atomics::add(&raw mut stats.stale[cause], 1);
    }
    let outcome = unless_ended_by_guard(outcome, error, cookie);
    if outcome as u32 == Outcome::Aborted as u32
        && state.exchange_start_ns & EXCHANGE_HANDSHAKE != 0
    {
        // Given up in the middle of a handshake: no call was lost.
        return breaker::give_back(state);
    }
    report(EVENT_CALL_FAILED, outcome, waited_ns, state, stats, error, cookie, now_ns);
}

/// A TLS alert ended the handshake: the call that it was for fails, and the service is not to blame.
///
/// A global function, as [`guard_socket_finish`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn guard_handshake_failed(state: *mut SocketState, cookie: u64) -> u32 {
    // SAFETY: as in `guard_socket_finish`.
    let Some(state) = (unsafe { state.as_mut() }) else { return 0 };
    let Some(stats) = maps::pair_stats(pair(state)) else { return 0 };
    let now_ns = now_ns();
    // Of a socket that is older than the daemon it is not known.
    let began_ns = if state.connect_start_ns == 0 { now_ns } else { state.connect_start_ns };
    let took_ns = now_ns.saturating_sub(began_ns);
    report(EVENT_CALL_FAILED, Outcome::TlsAlert, took_ns, state, stats, 0, cookie, now_ns);
    0
}

/// The outcome, unless guard itself ended the socket: then the daemon has said which it is.
#[inline(always)]
fn unless_ended_by_guard(outcome: Outcome, error: i32, cookie: u64) -> Outcome {
    if error != 0 && error != ECONNABORTED {
        return outcome;
    }
    match maps::ended_by_guard(cookie) {
        // That it waited on a dead connection is known better.
        ENDED_TIMEOUT if outcome as u32 == Outcome::StaleConnection as u32 => outcome,
        ENDED_TIMEOUT => Outcome::ResponseTimeout,
        ENDED_REJECTED => Outcome::Rejected,
        ENDED_STALE => Outcome::StaleConnection,
        _ => outcome,
    }
}

#[allow(clippy::too_many_arguments, reason = "inlined; a struct would live on the small stack")]
#[inline(always)]
fn report(
    kind: u32,
    outcome: Outcome,
    duration_ns: u64,
    state: &mut SocketState,
    stats: &mut PairStats,
    error: i32,
    cookie: u64,
    now_ns: u64,
) {
    if state.flags & SOCKET_FALLBACK != 0 {
        // The service had no part in it. What the agent gave up is nobody's failure.
        if outcome as u32 != Outcome::Aborted as u32 {
            count_of_fallback(stats, true);
        }
        return;
    }
    count_call(stats, outcome, origin(state));
    breaker::call_ended(state, outcome as u32, duration_ns, now_ns);
    let mut event = event(kind, state, cookie);
    event.time_ns = now_ns;
    event.duration_ns = duration_ns;
    event.outcome = outcome as u32;
    event.errno = error as u32;
    emit::emit(&event);
}
