//! Which outcome a failed connect or a broken call has, from what the kernel saw of it.

use crate::abi::outcome::Outcome;
use crate::abi::socket::{SOCKET_FIN_SEEN, SOCKET_RELEASED, SOCKET_RST_SEEN, SOCKET_SYN_SENT};

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

/// The outcome of a call whose connection ended before any answer.
///
/// `answered` is the number of calls that this connection has answered before: a connection that
/// has served calls and is found dead when used again is stale, which says nothing of the service.
#[inline(always)]
pub const fn broken_call(flags: u32, error: i32, answered: u64) -> Outcome {
    let by_peer = flags & (SOCKET_RST_SEEN | SOCKET_FIN_SEEN) != 0;
    if error == errno::ETIMEDOUT {
        return if answered > 0 { Outcome::StaleConnection } else { Outcome::ResponseTimeout };
    }
    if by_peer {
        return if answered > 0 { Outcome::StaleConnection } else { Outcome::Reset };
    }
    if flags & SOCKET_RELEASED != 0 {
        return Outcome::Aborted;
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
        assert_eq!(broken_call(SOCKET_RST_SEEN, 104, 0), Outcome::Reset);
        assert_eq!(broken_call(SOCKET_RST_SEEN, 104, 3), Outcome::StaleConnection);
        assert_eq!(broken_call(SOCKET_FIN_SEEN | SOCKET_RELEASED, 0, 0), Outcome::Reset);
        assert_eq!(broken_call(SOCKET_FIN_SEEN, 0, 1), Outcome::StaleConnection);
        assert_eq!(broken_call(0, 110, 0), Outcome::ResponseTimeout);
        assert_eq!(broken_call(0, 110, 7), Outcome::StaleConnection);
        assert_eq!(broken_call(SOCKET_RELEASED, 0, 0), Outcome::Aborted);
    }
}
