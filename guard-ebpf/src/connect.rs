//! connect4/6 and sendmsg4/6: what an agent wants to reach, and whether it may.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockAddrContext;
use guard_common::abi::event::{EVENT_FAULT_REFUSED, Event};
use guard_common::abi::fault::Subject;
use guard_common::abi::ids::{BULKHEAD_NONE, PairKey};
use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::policy::Control;
use guard_common::abi::socket::{
    SOCKET_ESTABLISHED, SOCKET_FALLBACK, SOCKET_HELD, SOCKET_PROTECTED, SOCKET_REDIRECTED,
    SOCKET_UDP, SocketState,
};
use guard_common::logic::fault;

use self::what::{WHAT_ANEW, WHAT_HELD, WHAT_PROTECTED, breaker_in, ticket_in, what};
use crate::breaker::{self, Admission};
use crate::classify::{self, Address, Destination};
use crate::{
    atomics, emit, fallback, faults, hygiene, limits, maps, nesting, plain, pressure, socket,
};

mod what;

const ALLOW: i32 = 1;
const REFUSE: i32 = 0;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const MAX_ERRNO: u32 = 4095;
/// Number of the helper `bpf_set_retval`.
const SET_RETVAL: usize = 187;

/// Which half of the context is filled.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A destination as the agent named it.
#[derive(Clone, Copy)]
struct Target {
    address: Address,
    port: u16,
}

#[inline(always)]
fn target(ctx: &SockAddrContext, family: Family) -> Target {
    // SAFETY: fields of the context, read one by one as the verifier wants them.
    unsafe {
        let address = match family {
            Family::V4 => classify::mapped((*ctx.sock_addr).user_ip4),
            Family::V6 => classify::from_words([
                (*ctx.sock_addr).user_ip6[0],
                (*ctx.sock_addr).user_ip6[1],
                (*ctx.sock_addr).user_ip6[2],
                (*ctx.sock_addr).user_ip6[3],
            ]),
        };
        Target { address, port: u16::from_be((*ctx.sock_addr).user_port as u16) }
    }
}

/// A connect of an agent.
#[inline(always)]
pub(crate) fn connect(ctx: &SockAddrContext, family: Family) -> i32 {
    let bulkhead = maps::bulkhead();
    let Some(control) = maps::control() else { return ALLOW };
    if bulkhead == BULKHEAD_NONE {
        return ALLOW;
    }
    if nesting::is_on(control) && nesting::guard_nesting_decided(ctx.sock_addr, bulkhead, 0) != 0 {
        return ALLOW;
    }
    let target = target(ctx, family);
    let destination = classify::destination(target.address, target.port);
    let pair = PairKey { bulkhead, service: destination.service };
    let Some(stats) = maps::pair_stats(pair) else { return ALLOW };
    atomics::add(&raw mut stats.connects, 1);
    let errno = pressure::refused(control, pair, destination, is_stream(ctx));
    if errno != 0 {
        return errno_verdict(errno);
    }
    let entry = entered(ctx, control, pair, destination, is_stream(ctx));
    if entry.errno != 0 {
        return errno_verdict(entry.errno);
    }
    let ways = if destination.protected || !is_stream(ctx) {
        fallback::NONE
    } else {
        fallback::ways(ctx, control, pair.service, fallback::kind(family, target.address))
    };
    let (errno, what) = if ways & fallback::FORCED != 0 {
        // Nobody asks the service, so that its breaker has nothing to judge.
        (0, fallback::choose(ways, false))
    } else {
        let (admission, way) = admitted_or_redirected(pair, destination, is_stream(ctx), ways);
        (admission.errno, what(destination, admission) | way)
    };
    if errno != 0 {
        if what & WHAT_HELD == 0 {
            leave(ctx, entry);
            return errno_verdict(errno);
        }
        remember(ctx, pair, target, what, entry);
        return ALLOW;
    }
    // The fault stands below the breaker, which sees a faulted call as it would see a real one. It is
    // the service's: a call that goes elsewhere has none.
    if what & fallback::NOT_THE_SERVICE == 0 {
        let errno = refused(ctx, control, pair, target, what);
        if errno != 0 {
            leave(ctx, entry);
            return errno_verdict(errno);
        }
    }
    remember(ctx, pair, target, what, entry);
    if what & fallback::REDIRECTED != 0 {
        fallback::redirect(ctx, family, pair, what);
    }
    ALLOW
}

/// What the limits of the bulkhead, and of those around it, say; protected destinations have none.
#[inline(always)]
fn entered(
    ctx: &SockAddrContext,
    control: &Control,
    pair: PairKey,
    destination: Destination,
    connection: bool,
) -> limits::Entry {
    if destination.protected {
        return limits::FREE;
    }
    let how = u32::from(connection) * limits::CONNECTION;
    let mut entry = limits::FREE;
    if nesting::is_on(control) {
        let pair_word = breaker::pack(pair.bulkhead, pair.service);
        entry.errno = nesting::guard_nesting_enter(ctx.sock_addr, pair_word, how);
        entry.nested = how;
    }
    if entry.errno == 0 {
        let nested = entry.nested;
        entry = limits::Entry { nested, ..limits::enter(pair, how) };
        if entry.errno != 0 {
            leave(ctx, entry);
        }
    }
    if entry.errno != 0
        && let Some(stats) = maps::pair_stats(pair)
    {
        socket::count_call(stats, Outcome::Rejected, Origin::Real);
    }
    entry
}

/// A call that was let in comes to nothing.
#[inline(always)]
fn leave(ctx: &SockAddrContext, entry: limits::Entry) {
    limits::leave(entry.counted);
    if entry.nested != 0 {
        nesting::leave(ctx.sock_addr);
    }
}

/// Whether this is a connection of which the kernel sends SYNs.
#[inline(always)]
fn is_stream(ctx: &SockAddrContext) -> bool {
    // SAFETY: a field of the context.
    unsafe { (*ctx.sock_addr).type_ == SOCK_STREAM }
}

/// What the pair's breaker says; protected destinations have none.
#[inline(always)]
fn admitted(pair: PairKey, destination: Destination, may_wait: bool) -> Admission {
    admitted_or_redirected(pair, destination, may_wait, fallback::NONE).0
}

/// The same, and which way the call takes. One that the breaker refuses and that has another way to go
/// is let in, with nothing in its hands of the breaker, and is not counted as refused.
#[inline(always)]
fn admitted_or_redirected(
    pair: PairKey,
    destination: Destination,
    may_wait: bool,
    ways: u32,
) -> (Admission, u64) {
    if destination.protected {
        return (breaker::PASS, 0);
    }
    let mut admission = breaker::admit(pair);
    let way = fallback::choose(ways, admission.errno != 0);
    if admission.errno != 0 && way != 0 {
        return (breaker::PASS, way);
    }
    admission.hold &= u32::from(may_wait);
    if admission.errno != 0 {
        breaker::count_refusal(admission.breaker, admission.hold != 0);
    }
    if admission.errno | admission.would_have != 0
        && let Some(stats) = maps::pair_stats(pair)
    {
        if admission.errno == 0 {
            atomics::add(&raw mut stats.would_have, 1);
            breaker::count_would_have(admission.breaker);
        } else if admission.hold == 0 {
            socket::count_call(stats, Outcome::Rejected, Origin::Real);
        }
    }
    (admission, way)
}

/// An unconnected send of an agent (UDP). Its packets are classified in the packet hooks; here it
/// can only be refused.
#[inline(always)]
pub(crate) fn sendmsg(ctx: &SockAddrContext, family: Family) -> i32 {
    let bulkhead = maps::bulkhead();
    let Some(control) = maps::control() else { return ALLOW };
    if bulkhead == BULKHEAD_NONE {
        return ALLOW;
    }
    if nesting::is_on(control) && nesting::guard_nesting_decided(ctx.sock_addr, bulkhead, 1) != 0 {
        return ALLOW;
    }
    let target = target(ctx, family);
    // A connected socket with control messages arrives here without an address: leave it alone.
    if target.port == 0 {
        return ALLOW;
    }
    let destination = classify::destination(target.address, target.port);
    let pair = PairKey { bulkhead, service: destination.service };
    let entry = entered(ctx, control, pair, destination, false);
    if entry.errno != 0 {
        return errno_verdict(entry.errno);
    }
    let admission = admitted(pair, destination, false);
    if admission.errno != 0 {
        return errno_verdict(admission.errno);
    }
    let errno = refused(ctx, control, pair, target, what(destination, admission));
    if errno == 0 {
        hold(ctx, pair, admission);
        if nesting::is_on(control) {
            nesting::guard_nesting_claim(ctx.sock_addr, bulkhead);
        }
    }
    errno_verdict(errno)
}

/// Leaves the ticket with the datagram's socket, whose next answer is its result. A socket that has
/// sent nothing yet has no storage: its ticket is given back.
#[inline(always)]
fn hold(ctx: &SockAddrContext, pair: PairKey, admission: Admission) {
    if admission.ticket == 0 {
        return;
    }
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    match if sk.is_null() { None } else { socket::get(sk) } {
        Some(state) if state.service == pair.service => {
            state.breaker = admission.breaker;
            state.ticket = admission.ticket;
        }
        _ => breaker::nothing(pair, admission.breaker, admission.ticket),
    }
}

/// The errno of a fault that refuses this target, counted and reported; 0 = not refused.
#[inline(always)]
fn refused(
    ctx: &SockAddrContext,
    control: &Control,
    pair: PairKey,
    target: Target,
    what: u64,
) -> u32 {
    if control.faults_active == 0 {
        return 0;
    }
    let [high, low] = classify::halves(target.address);
    let pair_word = breaker::pack(pair.bulkhead, pair.service);
    let protected = u32::from(what & WHAT_PROTECTED != 0);
    let errno = guard_refuse(ctx.sock_addr, pair_word, high, low, protected) & MAX_ERRNO;
    if errno != 0 {
        let outcome = outcome_of(errno, u32::from(target.port), is_stream(ctx));
        breaker::failed(pair, breaker_in(what), ticket_in(what), outcome, Origin::Injected);
    }
    errno
}

/// What [`refused`] says and does, but for the breaker.
///
/// A global function: what it makes would take more of the connect's small stack than is left.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_refuse(
    ctx: *mut bpf_sock_addr,
    pair: u64,
    high: u64,
    low: u64,
    protected: u32,
) -> u32 {
    // SAFETY: the context, and fields of it.
    let (cookie, port, kind) = unsafe {
        (bpf_get_socket_cookie(ctx.cast()), u16::from_be((*ctx).user_port as u16), (*ctx).type_)
    };
    let pair = breaker::unpack(pair);
    let port = u32::from(port);
    let now_ns = socket::now_ns();
    let subject = Subject {
        connection: cookie,
        destination: fault::destination(high, low, port),
        opened_ns: now_ns,
        port,
        ..Subject::default()
    };
    let refusal = faults::refuse(pair, protected != 0, now_ns, &subject);
    let Some(stats) = maps::pair_stats(pair) else { return 0 };
    if refusal.would_have != 0 {
        atomics::add(&raw mut stats.would_have, 1);
    }
    if refusal.errno == 0 {
        return 0;
    }
    let outcome = outcome_of(refusal.errno, port, kind == SOCK_STREAM);
    atomics::add(&raw mut stats.faulted, 1);
    socket::count_call(stats, outcome, Origin::Injected);
    let zero = plain::zero();
    emit::emit(&Event {
        time_ns: now_ns,
        cookie,
        duration_ns: zero,
        fault: refusal.fault,
        kind: EVENT_FAULT_REFUSED,
        bulkhead: pair.bulkhead,
        service: pair.service,
        outcome: outcome as u32,
        origin: Origin::Injected as u32,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        peer: classify::from_halves([high, low]),
        peer_port: port,
        errno: refusal.errno,
        status: zero as u32,
        pad: zero as u32,
    });
    refusal.errno
}

/// The outcome that a real failure with this errno would have.
#[inline(always)]
fn outcome_of(errno: u32, port: u32, is_stream: bool) -> Outcome {
    if !is_stream && guard_common::logic::outcome::is_name_query(SOCKET_UDP, port) {
        return Outcome::DnsFailure;
    }
    match errno {
        100 | 101 | 112 | 113 => Outcome::Unreachable,
        110 => Outcome::ConnectTimeout,
        104 => Outcome::Reset,
        _ => Outcome::Refused,
    }
}

/// Gives the agent an errno; 0 lets it pass.
#[inline(always)]
pub(crate) fn errno_verdict(errno: u32) -> i32 {
    if errno == 0 {
        return ALLOW;
    }
    // Verifiers from 7.3 on want to see that the argument is in [-4095, 0], in all its 64 bits and
    // right here: what the compiler knows already it would leave out.
    let errno = plain::unknown(u64::from(errno)) & u64::from(MAX_ERRNO);
    // SAFETY: the helper's number; it takes no pointer, and an int in a register of 64 bits.
    unsafe {
        let set_retval: extern "C" fn(i64) -> i64 = core::mem::transmute(SET_RETVAL);
        set_retval(-(errno as i64));
    }
    REFUSE
}

/// Starts the socket's storage for a new connection.
#[inline(always)]
fn remember(ctx: &SockAddrContext, pair: PairKey, target: Target, what: u64, entry: limits::Entry) {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if sk.is_null() {
        return leave(ctx, entry);
    }
    if what & WHAT_PROTECTED == 0 {
        hygiene::guard_hygiene_at_connect(ctx.sock_addr, pair.service);
    }
    let [high, low] = classify::halves(target.address);
    let pair_word = breaker::pack(pair.bulkhead, pair.service);
    match guard_remember(ctx.sock_addr, pair_word, high, low, what) {
        NO_STORAGE => {
            breaker::nothing(pair, breaker_in(what), ticket_in(what));
            return leave(ctx, entry);
        }
        USED_BEFORE => {
            if let Some(state) = socket::get(sk) {
                end_of_earlier(ctx, sk, state);
                limits::give_back(state);
                nesting::give_back(sk, state);
                guard_remember(ctx.sock_addr, pair_word, high, low, what | WHAT_ANEW);
            }
        }
        _ => {}
    }
    // Not known to `guard_remember`, which has no room for a sixth argument.
    match socket::get(sk) {
        Some(state) => {
            state.counted = entry.counted;
            if entry.nested != 0 {
                nesting::commit(ctx.sock_addr);
            }
        }
        None => leave(ctx, entry),
    }
}

/// The socket was used before: a connect that failed without a packet, a second attempt, or a
/// datagram socket that turns to another peer.
#[inline(always)]
fn end_of_earlier(ctx: &SockAddrContext, sk: *mut bpf_sock, state: &mut SocketState) {
    if state.flags & (SOCKET_UDP | SOCKET_ESTABLISHED) == 0 || state.opened != 0 {
        // SAFETY: the context is the helper's argument.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        socket::finish(sk, state, 0, cookie);
    }
}

/// What [`guard_remember`] answers.
const REMEMBERED: u32 = 0;
const NO_STORAGE: u32 = 1;
const USED_BEFORE: u32 = 2;

/// Makes the socket's storage for a connection to this address: of this pair, with this breaker and
/// ticket.
///
/// A global function, for the reasons that `packet::adopt::guard_adopt` gives.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_remember(
    ctx: *mut bpf_sock_addr,
    pair: u64,
    high: u64,
    low: u64,
    what: u64,
) -> u32 {
    // SAFETY: fields of the context.
    let (sk, kind, port) = unsafe {
        ((*ctx).__bindgen_anon_1.sk, (*ctx).type_, u16::from_be((*ctx).user_port as u16))
    };
    if sk.is_null() {
        return REMEMBERED;
    }
    // Products, not branches: the verifier would follow what comes next once for each of eight ways.
    let flags = (u32::from(kind == SOCK_DGRAM) * SOCKET_UDP)
        | (u32::from(what & WHAT_PROTECTED != 0) * SOCKET_PROTECTED)
        | (u32::from(what & WHAT_HELD != 0) * SOCKET_HELD)
        | (u32::from(what & fallback::REDIRECTED != 0) * SOCKET_REDIRECTED)
        | (u32::from(what & fallback::NOT_THE_SERVICE != 0) * SOCKET_FALLBACK);
    let address = classify::from_halves([high, low]);
    let mut fresh = socket::fresh(breaker::unpack(pair), flags, address, u32::from(port));
    fresh.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    fresh.connect_start_ns = socket::now_ns();
    fresh.breaker = breaker_in(what);
    fresh.ticket = ticket_in(what);
    let Some(state) = socket::get_or_make(sk, &mut fresh) else { return NO_STORAGE };
    if what & WHAT_ANEW != 0 {
        plain::copy(state, &fresh);
    } else if state.connect_start_ns != fresh.connect_start_ns {
        return USED_BEFORE;
    }
    REMEMBERED
}
