//! Which outcome a failed connect or a broken call has, from what the kernel saw of it.

use super::dns;
use crate::abi::outcome::Outcome;
use crate::abi::socket::{
    SOCKET_FIN_SEEN, SOCKET_RELEASED, SOCKET_RST_SEEN, SOCKET_SYN_SENT, SOCKET_UDP,
    SOCKET_UNACKNOWLEDGED, SocketState,
};

/// An agent that gives a connect up after this long gave it up because the peer did not answer
/// (the first SYN is retransmitted after 1 s); earlier, it changed its mind.
pub const CONNECT_PATIENCE_NS: u64 = 1_000_000_000;

/// Linux errno values that a failed connect leaves on the socket.
mod errno {
    pub(super) const ENETDOWN: i32 = 100;
    pub(super) const ENETUNREACH: i32 = 101;
    pub(super) const ETIMEDOUT: i32 = 110;
    pub(super) const ECONNREFUSED: i32 = 111;
    pub(super) const EHOSTDOWN: i32 = 112;
    pub(super) const EHOSTUNREACH: i32 = 113;
}

/// The outcome of a connect that did not lead to a connection.
///
/// `flags` are `SOCKET_*`, `error` is the socket's pending errno (0 = none or unknown),
/// `elapsed_ns` the time since connect().
#[inline(always)]
pub const fn failed_connect(flags: u32, error: i32, elapsed_ns: u64) -> Outcome {
    match error {
        errno::ECONNREFUSED => return Outcome::Refused,
        errno::ENETUNREACH | errno::EHOSTUNREACH | errno::EHOSTDOWN | errno::ENETDOWN => {
            return Outcome::Unreachable;
        }
        errno::ETIMEDOUT => return Outcome::ConnectTimeout,
        _ => {}
    }
    if flags & SOCKET_RST_SEEN != 0 {
        return Outcome::Refused;
    }
    if flags & SOCKET_SYN_SENT == 0 {
        // connect() failed before a packet was made: no route, or no address to send from.
        return Outcome::Unreachable;
    }
    if flags & SOCKET_RELEASED != 0 && elapsed_ns < CONNECT_PATIENCE_NS {
        return Outcome::Aborted;
    }
    Outcome::ConnectTimeout
}

/// Whether the peer resets a connection that has just been made, before the agent has sent anything:
/// how a server throws callers out. Later, a reset of an unused connection says nothing.
#[inline(always)]
pub const fn is_thrown_out(state: &SocketState, now_ns: u64) -> bool {
    state.flags & (SOCKET_RST_SEEN | SOCKET_RELEASED) == SOCKET_RST_SEEN
        && state.received_bytes == 0
        && state.connect_start_ns != 0
        && now_ns.wrapping_sub(state.connect_start_ns) < CONNECT_PATIENCE_NS
}

/// Whether the socket asks a name server. Such a question without an answer is a name that did not
/// resolve, however it ended: a server that is down is found at once, one that hangs after a time.
#[inline(always)]
pub const fn is_name_query(flags: u32, peer_port: u32) -> bool {
    flags & SOCKET_UDP != 0 && peer_port == dns::PORT
}

/// The outcome of a call whose connection ended before any answer.
///
/// `answered` is the number of calls that this connection has answered before: a connection that
/// has served calls and is found dead when used again is stale, which says nothing of the service.
///
/// `waited_ns` is how long the call went without an answer. An agent that gives it up after at least
/// `abandoned_ns` (0 = never) ran out of patience, and that is the service's failure: the client
/// that gave up first is the hang that breakers elsewhere never learn of. Unless nobody had its
/// request ([`SOCKET_UNACKNOWLEDGED`]) and the connection had served others: then the connection was
/// dead, as if the kernel had found out first. Where the service itself is gone, the next connect
/// tells.
#[inline(always)]
pub const fn broken_call(
    flags: u32,
    error: i32,
    answered: u32,
    waited_ns: u64,
    abandoned_ns: u64,
) -> Outcome {
    let by_peer = flags & (SOCKET_RST_SEEN | SOCKET_FIN_SEEN) != 0;
    if error == errno::ETIMEDOUT {
        return if answered > 0 { Outcome::StaleConnection } else { Outcome::ResponseTimeout };
    }
    if by_peer {
        return if answered > 0 { Outcome::StaleConnection } else { Outcome::Reset };
    }
    if flags & SOCKET_UNACKNOWLEDGED != 0 && answered > 0 {
        return Outcome::StaleConnection;
    }
    if flags & SOCKET_RELEASED != 0 {
        let out_of_patience = abandoned_ns != 0 && waited_ns >= abandoned_ns;
        return if out_of_patience { Outcome::ResponseTimeout } else { Outcome::Aborted };
    }
    match error {
        errno::EHOSTUNREACH | errno::ENETUNREACH => Outcome::Unreachable,
        _ => Outcome::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u32 = SOCKET_SYN_SENT;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn connects() {
        assert_eq!(failed_connect(SYN | SOCKET_RST_SEEN, 111, 10), Outcome::Refused);
        assert_eq!(failed_connect(SYN | SOCKET_RST_SEEN, 0, 10), Outcome::Refused);
        assert_eq!(failed_connect(SYN, 113, SECOND), Outcome::Unreachable);
        assert_eq!(failed_connect(0, 0, 10), Outcome::Unreachable);
        assert_eq!(failed_connect(SYN, 110, 130 * SECOND), Outcome::ConnectTimeout);
        assert_eq!(failed_connect(SYN | SOCKET_RELEASED, 0, SECOND / 10), Outcome::Aborted);
        assert_eq!(failed_connect(SYN | SOCKET_RELEASED, 0, 5 * SECOND), Outcome::ConnectTimeout);
    }

    #[test]
    fn calls() {
        let broken = |flags, error, answered| broken_call(flags, error, answered, SECOND, 0);
        assert_eq!(broken(SOCKET_RST_SEEN, 104, 0), Outcome::Reset);
        assert_eq!(broken(SOCKET_RST_SEEN, 104, 3), Outcome::StaleConnection);
        assert_eq!(broken(SOCKET_FIN_SEEN | SOCKET_RELEASED, 0, 0), Outcome::Reset);
        assert_eq!(broken(SOCKET_FIN_SEEN, 0, 1), Outcome::StaleConnection);
        assert_eq!(broken(0, 110, 0), Outcome::ResponseTimeout);
        assert_eq!(broken(0, 110, 7), Outcome::StaleConnection);
        assert_eq!(broken(SOCKET_RELEASED, 0, 0), Outcome::Aborted);
    }

    #[test]
    fn a_caller_is_thrown_out() {
        let state = |flags, received_bytes| SocketState {
            flags,
            received_bytes,
            connect_start_ns: 10 * SECOND,
            ..SocketState::default()
        };
        let thrown_out = state(SOCKET_RST_SEEN, 0);
        assert!(is_thrown_out(&thrown_out, 10 * SECOND + 1));
        assert!(!is_thrown_out(&thrown_out, 11 * SECOND), "an idle connection");
        assert!(!is_thrown_out(&state(SOCKET_RST_SEEN, 1), 10 * SECOND), "it was served");
        assert!(!is_thrown_out(&state(SOCKET_RST_SEEN | SOCKET_RELEASED, 0), 10 * SECOND));
        assert!(!is_thrown_out(&state(0, 0), 10 * SECOND));
        assert!(!is_thrown_out(&SocketState { connect_start_ns: 0, ..thrown_out }, SECOND / 2));
    }

    #[test]
    fn an_agent_out_of_patience() {
        let given_up = |waited_ns| broken_call(SOCKET_RELEASED, 0, 3, waited_ns, 10 * SECOND);
        assert_eq!(given_up(10 * SECOND), Outcome::ResponseTimeout);
        assert_eq!(given_up(10 * SECOND - 1), Outcome::Aborted);
        let dead = SOCKET_RELEASED | SOCKET_UNACKNOWLEDGED;
        let on_dead = |answered| broken_call(dead, 0, answered, 60 * SECOND, 10 * SECOND);
        assert_eq!(on_dead(1), Outcome::StaleConnection, "nobody had the request");
        assert_eq!(on_dead(0), Outcome::ResponseTimeout, "nothing ever came from there");
        let stale = broken_call(SOCKET_RELEASED | SOCKET_RST_SEEN, 0, 3, 60 * SECOND, SECOND);
        assert_eq!(stale, Outcome::StaleConnection, "what the peer did counts");
    }
}
