//! What kind of socket a process asks for, and what it is told if it may not have it.

use crate::abi::creation::{
    KIND_DCCP, KIND_MPTCP, KIND_OTHER, KIND_PING, KIND_RAW, KIND_SCTP, KIND_TCP, KIND_UDP,
    KIND_UDPLITE,
};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_RAW: u32 = 3;
const EPERM: u32 = 1;
const EPROTONOSUPPORT: u32 = 93;

/// The kind (`KIND_*`) of an IPv4 or IPv6 socket, by its type and protocol (`IPPROTO_*`) as the
/// kernel has settled them.
#[inline(always)]
pub fn kind(socket_type: u32, protocol: u32) -> u32 {
    match (socket_type, protocol) {
        (SOCK_RAW, _) => KIND_RAW,
        (SOCK_STREAM, 6) => KIND_TCP,
        (SOCK_STREAM, 262) => KIND_MPTCP,
        (SOCK_DGRAM, 17) => KIND_UDP,
        (SOCK_DGRAM, 136) => KIND_UDPLITE,
        (SOCK_DGRAM, 1 | 58) => KIND_PING,
        (_, 33) => KIND_DCCP,
        (_, 132) => KIND_SCTP,
        _ => KIND_OTHER,
    }
}

/// The errno of a refused socket: what the kernel itself says to who may not have a raw socket, and
/// of a protocol that it does not have. Programs know both, and have a way to go on.
#[inline(always)]
pub fn errno(kind: u32) -> u32 {
    if kind == KIND_RAW { EPERM } else { EPROTONOSUPPORT }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::creation::KINDS_GUARDED;

    #[test]
    fn kinds() {
        let all = [
            ((1, 6), KIND_TCP),
            ((2, 17), KIND_UDP),
            ((1, 262), KIND_MPTCP),
            ((2, 1), KIND_PING),
            ((2, 58), KIND_PING),
            ((3, 255), KIND_RAW),
            ((3, 6), KIND_RAW),
            ((5, 132), KIND_SCTP),
            ((1, 132), KIND_SCTP),
            ((6, 33), KIND_DCCP),
            ((2, 136), KIND_UDPLITE),
            // SMC, L2TP, and what nobody has thought of.
            ((1, 256), KIND_OTHER),
            ((2, 115), KIND_OTHER),
            ((9, u32::MAX), KIND_OTHER),
        ];
        for ((socket_type, protocol), wanted) in all {
            assert_eq!(kind(socket_type, protocol), wanted, "{socket_type} {protocol}");
        }
    }

    #[test]
    fn only_what_every_hook_sees_is_allowed_by_default() {
        for kind in [KIND_RAW, KIND_SCTP, KIND_DCCP, KIND_UDPLITE, KIND_OTHER] {
            assert_eq!(KINDS_GUARDED & 1 << kind, 0);
        }
        assert_eq!((errno(KIND_RAW), errno(KIND_SCTP)), (1, 93));
    }
}
