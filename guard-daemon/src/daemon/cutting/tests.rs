use std::collections::{BTreeSet, HashMap};

use guard_common::abi::limits::SERVICE_ALL;
use guard_common::abi::socket::{
    EXCHANGE_HANDSHAKE, SOCKET_HELD, SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_RELEASED,
    SocketState as Remembered,
};

use super::rules::Judged;
use super::*;
use crate::config;
use crate::net::sock_diag::{DiagSocket, SocketState, TcpInfo, Transport};

mod silences;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 100_000 * SECOND;
const PAIR: PairKey = PairKey { bulkhead: 1, service: 2 };

fn rules() -> CutRules {
    rules_but(|_| ())
}

fn rules_but(change: impl FnOnce(&mut Limits)) -> CutRules {
    let mut limits = Limits {
        connect: Some(5 * SECOND),
        call: Some(10 * SECOND),
        hold: Some(4 * SECOND),
        peer_closed: Some(15 * SECOND),
        peer_closed_busy: Some(30 * SECOND),
        stall_warn: Some(8 * SECOND),
        sweep: true,
    };
    change(&mut limits);
    CutRules::new(HashMap::from([(PAIR, limits)]))
}

fn remembered(exchange_start_ns: u64) -> Remembered {
    let (bulkhead, service) = (PAIR.bulkhead, PAIR.service);
    Remembered { bulkhead, service, exchange_start_ns, ..Remembered::default() }
}

/// Idle on both sides for this long.
fn idle(seconds: u32) -> TcpInfo {
    let ms = seconds * 1_000;
    TcpInfo {
        last_data_sent_ms: ms,
        last_data_received_ms: ms,
        last_ack_received_ms: ms,
        ..TcpInfo::default()
    }
}

fn socket(state: SocketState, tcp: TcpInfo) -> DiagSocket {
    DiagSocket {
        transport: Transport::Tcp,
        ipv6: false,
        state,
        local: "198.51.100.1:40000".parse().unwrap(),
        peer: "198.51.100.2:443".parse().unwrap(),
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

fn look(socket: &DiagSocket, remembered: &Remembered, cut: Option<&Cut>) -> Judged {
    rules().judge(socket, remembered, NOW, cut)
}

fn judged(state: SocketState, of: Remembered, cut: Option<&Cut>) -> Option<Cause> {
    look(&socket(state, idle(1)), &of, cut).cause
}

#[test]
fn a_call_ends_at_its_timeout_and_no_earlier() {
    let open = SocketState::Established;
    assert_eq!(judged(open, remembered(NOW - 10 * SECOND), None), Some(Cause::CallTimeout));
    let later = look(&socket(open, idle(1)), &remembered(NOW - 10 * SECOND + 1), None);
    assert_eq!(later, Judged { cause: None, due_ns: Some(NOW + 1), stalled: true });
    assert_eq!(judged(open, remembered(0), None), None, "it waits for nothing");
    let other = Remembered { service: 3, ..remembered(1) };
    assert_eq!(judged(open, other, None), None, "no timeout");
    let answered = Remembered { received_bytes: 1, ..remembered(EXCHANGE_HANDSHAKE | SECOND) };
    assert_eq!(judged(open, answered, None), None, "a handshake that was answered");
    let mute = remembered(EXCHANGE_HANDSHAKE | SECOND);
    assert_eq!(judged(open, mute, None), Some(Cause::CallTimeout));
}

#[test]
fn a_connect_ends_at_its_own_timeout() {
    let since = |ago_ns| Remembered { connect_start_ns: NOW - ago_ns, ..remembered(0) };
    let connecting = socket(SocketState::SynSent, idle(1));
    assert_eq!(look(&connecting, &since(5 * SECOND), None).cause, Some(Cause::ConnectTimeout));
    let early = look(&connecting, &since(3 * SECOND), None);
    assert_eq!(early, Judged { due_ns: Some(NOW + 2 * SECOND), ..Judged::default() });
    let without = rules_but(|limits| limits.connect = None);
    let judge = |ago_ns| without.judge(&connecting, &since(ago_ns), NOW, None).cause;
    assert_eq!((judge(9 * SECOND), judge(10 * SECOND)), (None, Some(Cause::CallTimeout)));
    assert_eq!(look(&connecting, &remembered(0), None), Judged::default(), "begun before guardd");
}

#[test]
fn silence_is_reported_and_not_ended() {
    let rules = rules_but(|limits| limits.call = None);
    let open = socket(SocketState::Established, idle(1));
    let judge = |ago_ns| rules.judge(&open, &remembered(NOW - ago_ns), NOW, None);
    let early = judge(7 * SECOND);
    assert_eq!(early, Judged { due_ns: Some(NOW + SECOND), ..Judged::default() });
    assert_eq!(judge(9_000 * SECOND), Judged { stalled: true, ..Judged::default() });
}

#[test]
fn what_is_never_ended() {
    let pool = Cut::Pool(PoolCut { pair: PAIR, busy_too: true });
    let sweep = Cut::Sweep(Sweep { cause: Cause::Suspend, ago: Duration::ZERO, addresses: None });
    for flags in [SOCKET_PASSIVE, SOCKET_PROTECTED, SOCKET_RELEASED] {
        let of = Remembered { flags, ..remembered(1) };
        for (state, cut) in [
            (SocketState::Established, &pool),
            (SocketState::CloseWait, &pool),
            (SocketState::Established, &sweep),
        ] {
            assert_eq!(look(&socket(state, idle(900)), &of, Some(cut)), Judged::default());
        }
    }
    assert_eq!(judged(SocketState::Listen, remembered(1), Some(&pool)), None);
}

#[test]
fn held_connects_have_a_limit_of_their_own() {
    let held =
        |ago| Remembered { flags: SOCKET_HELD, connect_start_ns: NOW - ago, ..remembered(0) };
    let connecting = SocketState::SynSent;
    assert_eq!(judged(connecting, held(4 * SECOND), None), Some(Cause::HoldOver));
    assert_eq!(judged(connecting, held(3 * SECOND), None), None);
}

#[test]
fn pools() {
    let open = SocketState::Established;
    let idle_only = Cut::Pool(PoolCut { pair: PAIR, busy_too: false });
    let all = Cut::Pool(PoolCut { pair: PAIR, busy_too: true });
    let busy = remembered(NOW - SECOND);
    assert_eq!(judged(open, remembered(0), Some(&idle_only)), Some(Cause::OpenPool));
    assert_eq!(judged(open, busy, Some(&idle_only)), None);
    assert_eq!(judged(open, busy, Some(&all)), Some(Cause::OpenPool));
    let elsewhere =
        Cut::Pool(PoolCut { pair: PairKey { bulkhead: 9, service: 2 }, busy_too: true });
    assert_eq!(judged(open, remembered(0), Some(&elsewhere)), None, "another bulkhead");
}

/// One order for all that is blocked: a service of a bulkhead, or the bulkhead as a whole.
#[test]
fn what_a_budget_blocks() {
    let open = SocketState::Established;
    let of = |pair: PairKey| Cut::Budget(BTreeSet::from([pair]));
    let whole = PairKey { service: SERVICE_ALL, ..PAIR };
    for blocked in [of(PAIR), of(whole)] {
        assert_eq!(judged(open, remembered(0), Some(&blocked)), Some(Cause::Budget));
        let busy = remembered(NOW - SECOND);
        assert_eq!(judged(open, busy, Some(&blocked)), None, "a call that runs is never cut");
    }
    for other in [PairKey { service: 3, ..PAIR }, PairKey { bulkhead: 9, ..whole }] {
        assert_eq!(judged(open, remembered(0), Some(&of(other))), None, "{other:?}");
    }
}

#[test]
fn a_connection_that_its_peer_has_closed() {
    let closed = |ago: u64| Remembered { peer_closed_ns: NOW - ago * SECOND, ..remembered(0) };
    let end = |seconds: u32, of: Remembered, change: &dyn Fn(&mut DiagSocket)| {
        let mut socket = socket(SocketState::CloseWait, idle(seconds));
        change(&mut socket);
        let rules = rules_but(|limits| limits.call = None);
        rules.judge(&socket, &of, NOW, None).cause
    };
    let gone = Some(Cause::PeerClosed);
    assert_eq!(end(900, closed(15), &|_| ()), gone);
    assert_eq!(end(900, closed(14), &|_| ()), None, "within its grace");
    assert_eq!(end(14, closed(60), &|_| ()), None, "the agent still sends");
    assert_eq!(end(900, closed(60), &|socket| socket.send_queue = 9), None, "data on its way");
    let dead = |socket: &mut DiagSocket| {
        socket.send_queue = 9;
        socket.tcp.as_mut().unwrap().retransmits = 1;
    };
    assert_eq!(end(900, closed(60), &dead), gone, "nobody acknowledges it");
    assert_eq!(end(900, closed(60), &|socket| socket.receive_queue = 5_000), None, "it reads");
    assert_eq!(end(900, closed(60), &|socket| socket.receive_queue = 32), gone, "a TLS alert");
    let busy = |ago| Remembered { exchange_start_ns: NOW - 900 * SECOND, ..closed(ago) };
    assert_eq!(end(900, busy(29), &|_| ()), None);
    assert_eq!(end(900, busy(30), &|_| ()), gone);
    // A FIN that came before guardd did: since the last data.
    assert_eq!(end(15, remembered(0), &|_| ()), gone);
    assert_eq!(end(14, remembered(0), &|_| ()), None);
    let open = socket(SocketState::Established, idle(900));
    assert_eq!(look(&open, &remembered(0), None), Judged::default(), "the peer has not closed");
}

#[test]
fn a_sweep_takes_what_was_idle_before() {
    let swept = |socket: &DiagSocket, of: Remembered, addresses: Option<&str>| {
        let addresses = addresses.map(|one| BTreeSet::from([one.parse().unwrap()]));
        let ago = Duration::from_secs(2);
        let sweep = Cut::Sweep(Sweep { cause: Cause::LinkChange, ago, addresses });
        look(socket, &of, Some(&sweep)).cause
    };
    let open = socket(SocketState::Established, idle(2));
    let gone = Some(Cause::LinkChange);
    assert_eq!(swept(&open, remembered(0), None), gone);
    assert_eq!(swept(&open, remembered(0), Some("198.51.100.1")), gone);
    assert_eq!(swept(&open, remembered(0), Some("198.51.100.9")), None, "another address");
    assert_eq!(swept(&open, remembered(NOW - SECOND), None), None, "a call is under way");
    let heard = socket(SocketState::Established, idle(1));
    assert_eq!(swept(&heard, remembered(0), None), None, "the peer was heard of since");
    let acknowledged = TcpInfo { last_ack_received_ms: 1_000, ..idle(900) };
    assert_eq!(swept(&socket(SocketState::Established, acknowledged), remembered(0), None), None);
    for peer in ["127.0.0.1:443", "[::1]:443", "198.51.100.1:443"] {
        let here = DiagSocket { peer: peer.parse().unwrap(), ..open.clone() };
        assert_eq!(swept(&here, remembered(0), None), None, "{peer} is on this host");
    }
}

#[test]
fn looks_are_as_rare_as_they_may_be() {
    let second = Duration::from_secs(1);
    assert_eq!(CutRules::default().shortest(true), None);
    assert_eq!(rules().shortest(false), Some(5 * second));
    assert_eq!(rules().shortest(true), Some(4 * second));
    let last = Instant::now();
    let next = |due: Option<Duration>, shortest: u32| {
        let due = due.map(|after| last + after);
        let looks = Looks { last: Some(last), due, ..Looks::default() };
        looks.next(Some(shortest * second)).unwrap() - last
    };
    assert_eq!(next(None, 5), 5 * second, "nothing that begins later is due sooner");
    assert_eq!(next(Some(2 * second), 5), 2 * second, "when something is due");
    assert_eq!(next(Some(second / 10), 5), second / 8, "not for each of many");
    let slow = |took| {
        let looks = Looks { last: Some(last), due: Some(last), took, ..Looks::default() };
        looks.next(Some(5 * second)).unwrap() - last
    };
    assert_eq!(slow(second / 50), second * 9 / 50, "a look that takes long is followed by a rest");
    assert_eq!(slow(second), second / 4, "but a limit is kept to 5 %");
    assert_eq!(next(Some(90 * second), 5), 5 * second);
    assert_eq!(next(None, 3_600), MAX_PAUSE);
    assert_eq!(Looks::default().next(None), None);
}
