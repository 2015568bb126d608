//! Hanging calls: who waits for what, since when. From the kernel's socket diagnostics, which hand
//! out guard's own socket storage with each TCP socket (docs/guide/waits.md). They do not for UDP:
//! an unanswered datagram is in the counters, but no wait.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;

use guard_common::abi::socket::{
    EXCHANGE_HANDSHAKE, SOCKET_FALLBACK, SOCKET_FAULTED, SOCKET_PASSIVE, SocketState as Remembered,
};

use super::decode::peer_text;
use super::process;
use super::sockets::{GuardedSocket, guarded_sockets};
use crate::control::api::{Wait, Waits};
use crate::kernel::{PacedSockets, boottime_ns};
use crate::net::sock_diag::{DiagSocket, SocketState};
use crate::plan::Ids;

/// What `waits` must know of a bulkhead.
pub struct BulkheadView {
    /// Its processes.
    pub pids: Vec<u32>,
    /// One process for each other network namespace of its processes.
    pub foreign_namespaces: Vec<u32>,
    /// From when on silence is reported, by service, seconds.
    pub stall_warn_seconds: HashMap<u32, f64>,
}

/// Every hanging call of the bulkheads, longest first. `storage` is guard's socket storage.
/// Blocking.
pub fn collect(
    storage: BorrowedFd<'_>,
    bulkheads: &BTreeMap<u32, BulkheadView>,
    ids: &Ids,
    paced: Option<&PacedSockets>,
) -> Waits {
    let foreign = bulkheads.values().flat_map(|view| &view.foreign_namespaces).copied();
    let (sockets, problems) = guarded_sockets(storage, foreign, paced);
    let mut owners: HashMap<u32, HashMap<u32, u32>> = HashMap::new();
    let now_ns = boottime_ns();
    let mut waits: Vec<_> = sockets
        .iter()
        .filter_map(|GuardedSocket { socket, remembered, .. }| {
            let view = bulkheads.get(&remembered.bulkhead)?;
            let stall_warn = view.stall_warn_seconds.get(&remembered.service).copied();
            let stall_warn = stall_warn.unwrap_or(f64::INFINITY);
            let mut wait = judge(socket, remembered, now_ns, stall_warn, ids)?;
            if wait.pid == 0 || process::command(wait.pid).is_empty() {
                let owners = owners
                    .entry(remembered.bulkhead)
                    .or_insert_with(|| process::socket_owners(&view.pids));
                wait.pid = owners.get(&socket.inode).copied().unwrap_or(0);
            }
            wait.process = process::command(wait.pid);
            Some(wait)
        })
        .collect();
    waits.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Waits { schema: "guard.waits/1".to_owned(), waits, problems }
}

fn seconds_since(then_ns: u64, now_ns: u64) -> f64 {
    std::time::Duration::from_nanos(now_ns.saturating_sub(then_ns)).as_secs_f64()
}

/// Whether this socket hangs, and how. `None` if it does not.
fn judge(
    socket: &DiagSocket,
    remembered: &Remembered,
    now_ns: u64,
    stall_warn: f64,
    ids: &Ids,
) -> Option<Wait> {
    if remembered.flags & SOCKET_PASSIVE != 0 {
        return None;
    }
    let (state, seconds, verdict) = stream(socket, remembered, now_ns, stall_warn)?;
    let tcp = socket.tcp.as_ref();
    Some(Wait {
        bulkhead: ids.bulkhead_name(remembered.bulkhead).to_owned(),
        pid: remembered.pid,
        process: String::new(),
        service: ids.service_name(remembered.service).to_owned(),
        peer: peer_text(remembered.peer, remembered.peer_port),
        state: state.to_owned(),
        seconds,
        stalled: state == "first_byte" && seconds >= stall_warn,
        sent_bytes: remembered.sent_bytes,
        received_bytes: remembered.received_bytes,
        unacknowledged_bytes: u64::from(socket.send_queue),
        retransmits: tcp.map_or(0, |tcp| u32::from(tcp.retransmits)),
        injected: remembered.flags & SOCKET_FAULTED != 0,
        fallback: remembered.flags & SOCKET_FALLBACK != 0,
        verdict,
    })
}

type Judged = (&'static str, f64, String);

fn stream(
    socket: &DiagSocket,
    remembered: &Remembered,
    now_ns: u64,
    stall_warn: f64,
) -> Option<Judged> {
    let tcp = socket.tcp.as_ref();
    let received_ago = tcp.map_or(0.0, |tcp| f64::from(tcp.last_data_received_ms) / 1e3);
    let sent_ago = tcp.map_or(0.0, |tcp| f64::from(tcp.last_data_sent_ms) / 1e3);
    match socket.state {
        SocketState::SynSent => {
            let seconds = seconds_since(remembered.connect_start_ns, now_ns);
            let tries = tcp.map_or(0, |tcp| tcp.retransmits);
            let verdict = if tries == 0 {
                "SYN sent, no answer yet".to_owned()
            } else {
                format!("{tries} SYN unanswered: filtered, or the host is down")
            };
            return Some(("connecting", seconds, verdict));
        }
        SocketState::CloseWait => {
            // A FIN that came before guard did has no time: at the earliest, with the last data.
            let seconds = if remembered.peer_closed_ns == 0 {
                received_ago.min(sent_ago)
            } else {
                seconds_since(remembered.peer_closed_ns, now_ns)
            };
            return Some((
                "peer_closed",
                seconds,
                "the peer has closed and the agent still holds the connection".to_owned(),
            ));
        }
        SocketState::Established => {}
        // Closing, or not connected: nobody waits for an answer.
        _ => return None,
    }
    let word = remembered.exchange_start_ns;
    let begins_ns = word & !EXCHANGE_HANDSHAKE;
    if begins_ns > now_ns {
        // To TCP, what is held is sent and not acknowledged.
        let left = std::time::Duration::from_nanos(begins_ns - now_ns).as_secs_f64();
        let verdict = format!("guard holds the call for its pace: {left:.1} s to go");
        return Some(("paced", sent_ago, verdict));
    }
    if let Some(tcp) = tcp.filter(|tcp| tcp.retransmits > 0 && tcp.unacked > 0) {
        return Some((
            "unacknowledged",
            sent_ago,
            format!("{} retransmissions unanswered: the path or the peer is dead", tcp.retransmits),
        ));
    }
    if word != 0 {
        let seconds = seconds_since(begins_ns, now_ns);
        let verdict = if word & EXCHANGE_HANDSHAKE != 0 {
            "TLS handshake unanswered"
        } else if socket.send_queue == 0 {
            "the peer has the request and is silent"
        } else {
            "the request is on its way"
        };
        return Some(("first_byte", seconds, verdict.to_owned()));
    }
    if remembered.answer_ns != 0 && received_ago.min(sent_ago) >= stall_warn {
        return Some((
            "quiet",
            received_ago,
            "an answer began, then silence: a stalled stream, or an idle pooled connection"
                .to_owned(),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sock_diag::{TcpInfo, Transport};

    const SECOND_NS: u64 = 1_000_000_000;

    fn socket(state: SocketState, tcp: TcpInfo) -> DiagSocket {
        DiagSocket {
            transport: Transport::Tcp,
            ipv6: false,
            state,
            local: "127.0.0.1:40000".parse().unwrap(),
            peer: "127.0.0.1:443".parse().unwrap(),
            device_index: 0,
            uid: 0,
            inode: 1,
            cookie: 1,
            cgroup_id: None,
            receive_queue: 0,
            send_queue: 0,
            retransmits: tcp.retransmits,
            tcp: Some(tcp),
            storage: None,
        }
    }

    fn judged(state: SocketState, tcp: TcpInfo, remembered: Remembered) -> Option<(String, f64)> {
        let ids = Ids::default();
        judge(&socket(state, tcp), &remembered, 500 * SECOND_NS, 120.0, &ids)
            .map(|wait| (wait.state, wait.seconds))
    }

    #[test]
    fn states() {
        let since = |start_s: u64| Remembered {
            connect_start_ns: start_s * SECOND_NS,
            exchange_start_ns: start_s * SECOND_NS,
            ..Remembered::default()
        };
        let tcp = TcpInfo::default;
        assert_eq!(
            judged(SocketState::SynSent, tcp(), since(490)),
            Some(("connecting".into(), 10.0))
        );
        assert_eq!(
            judged(SocketState::Established, tcp(), since(380)),
            Some(("first_byte".into(), 120.0))
        );
        let unacked = TcpInfo { retransmits: 3, unacked: 1, last_data_sent_ms: 9_000, ..tcp() };
        assert_eq!(
            judged(SocketState::Established, unacked, since(380)),
            Some(("unacknowledged".into(), 9.0))
        );
        assert_eq!(
            judged(SocketState::Established, unacked, since(520)),
            Some(("paced".into(), 9.0)),
            "what guard holds is no dead path"
        );
        let idle = Remembered { answer_ns: SECOND_NS, ..Remembered::default() };
        let silent =
            |ms| TcpInfo { last_data_sent_ms: ms, last_data_received_ms: ms, ..TcpInfo::default() };
        assert_eq!(judged(SocketState::Established, silent(119_000), idle), None);
        assert_eq!(
            judged(SocketState::Established, silent(125_000), idle),
            Some(("quiet".into(), 125.0))
        );
        assert_eq!(
            judged(SocketState::CloseWait, silent(3_000), idle),
            Some(("peer_closed".into(), 3.0))
        );
        let closed = Remembered { peer_closed_ns: 498 * SECOND_NS, ..idle };
        assert_eq!(
            judged(SocketState::CloseWait, silent(9_000), closed),
            Some(("peer_closed".into(), 2.0))
        );
        let server = Remembered { flags: SOCKET_PASSIVE, ..since(1) };
        assert_eq!(judged(SocketState::Established, tcp(), server), None);
        assert_eq!(judged(SocketState::FinWait2, tcp(), since(1)), None);
    }
}
