//! Calls, connects and bytes are counted exactly, per bulkhead and service.

use std::net::UdpSocket;

use testbed::agent::AgentProcess;
use testbed::{cgroup, requires, timing};

use crate::rig::{
    self, LIMIT, Metered, Pair, Probe, RESEARCH, WRITING, agent, good_calls, metric, pair,
    pair_when, start, url,
};

/// Bytes of a request, and of an answer, are fewer.
const LARGEST_SEGMENT: u64 = 100;

/// Segments that this host's TCP has sent again so far.
fn retransmitted() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "RetransSegs").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// Payload bytes of the server as the agent's pair must have them.
fn same_bytes(server: &Metered, pair: &Pair) {
    assert_eq!((pair.sent_bytes, pair.received_bytes), server.bytes());
}

#[test]
fn http_calls_over_kept_and_new_connections() {
    if !requires::cgroups("http_calls_over_kept_and_new_connections") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let other = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses), ("idle", &other.addresses)]);
    let target = url(server.addresses[0]);

    let mut kept = agent(&guardd, RESEARCH, &target, &["--keep-alive"]);
    good_calls(&mut kept, 7);
    let seen = pair_when(&guardd, RESEARCH, "api", "7 calls", |p| p.call("success") == 7);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (1, 1, 1));
    assert_eq!(metric(&guardd, "guard_bulkhead_connections", &[r#"bulkhead="research""#]), 1.0);

    let mut fresh = agent(&guardd, RESEARCH, &target, &[]);
    good_calls(&mut fresh, 5);
    kept.close().unwrap();
    let seen = pair_when(&guardd, RESEARCH, "api", "no open ones", |p| p.connections == 0);
    assert_eq!((seen.connects, seen.connects_established), (6, 6));
    assert_eq!((seen.call("success"), seen.all_calls()), (12, 12));
    assert_eq!((server.connections(), server.requests()), (6, 12));
    same_bytes(&server, &seen);

    // /metrics says the same; the other service and the other bulkhead saw nothing.
    let labels = [r#"bulkhead="research""#, r#"destination="api""#];
    assert_eq!(metric(&guardd, "guard_calls_total", &labels), 12.0);
    assert_eq!(metric(&guardd, "guard_call_seconds_count", &labels), 12.0);
    assert_eq!(metric(&guardd, "guard_connects_total", &labels), 6.0);
    assert_eq!(metric(&guardd, "guard_sent_bytes_total", &labels), seen.sent_bytes as f64);
    assert_eq!(metric(&guardd, "guard_received_bytes_total", &labels), seen.received_bytes as f64);
    assert_eq!(metric(&guardd, "guard_bulkhead_connections", &labels[..1]), 0.0);
    assert_eq!(metric(&guardd, "guard_events_lost_total", &[]), 0.0);
    assert_eq!(rig::services(&guardd, RESEARCH).len(), 1);
    assert!(rig::services(&guardd, WRITING).is_empty());
}

#[test]
fn ipv4_ipv6_and_mapped_sockets() {
    let test = "ipv4_ipv6_and_mapped_sockets";
    if !requires::cgroups(test) {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return requires::skip(test, "there is no ::1");
    }
    let v4 = Metered::start(&["127.0.0.1:0"]);
    let v6 = Metered::start(&["[::1]:0"]);
    let mapped = Metered::start(&["127.0.0.3:0"]);
    let guardd =
        start(&[("v4", &v4.addresses), ("v6", &v6.addresses), ("mapped", &mapped.addresses)]);
    let mut probe = Probe::start(&guardd, RESEARCH);
    let addresses = [
        ("v4", v4.addresses[0].to_string()),
        ("v6", v6.addresses[0].to_string()),
        ("mapped", format!("[::ffff:127.0.0.3]:{}", mapped.addresses[0].port())),
    ];
    for (number, (name, address)) in (3..).zip(&addresses) {
        probe.must(&format!("tcp {name} {address}"));
        let (mut sent, mut received) = (0, 0);
        for _ in 0..number {
            let reply = probe.must(&format!("http {name}"));
            sent += reply["sent"].as_u64().unwrap();
            received += reply["received"].as_u64().unwrap();
        }
        let seen = pair(&guardd, RESEARCH, name);
        assert_eq!((seen.connects, seen.connections), (1, 1), "{name}");
        probe.must(&format!("close {name}"));
        let seen = pair_when(&guardd, RESEARCH, name, "no open ones", |p| p.connections == 0);
        assert_eq!((seen.call("success"), seen.all_calls()), (number, number), "{name}");
        assert_eq!((seen.sent_bytes, seen.received_bytes), (sent, received), "{name}");
    }
    same_bytes(&v4, &pair(&guardd, RESEARCH, "v4"));
    same_bytes(&v6, &pair(&guardd, RESEARCH, "v6"));
    same_bytes(&mapped, &pair(&guardd, RESEARCH, "mapped"));
    assert_eq!(rig::services(&guardd, RESEARCH).len(), 3, "nothing went to `other`");
}

/// Each request is answered before the next one: every datagram is accounted for.
#[test]
fn datagrams_connected_and_not() {
    let test = "datagrams_connected_and_not";
    if !requires::cgroups(test) {
        return;
    }
    for (local, any) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::]:0")] {
        let Ok(one) = UdpSocket::bind(local) else {
            requires::skip(&format!("{test}/ipv6"), "there is no ::1");
            continue;
        };
        let two = UdpSocket::bind(local).unwrap();
        let (one_at, two_at) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let guardd = start(&[("one", &[one_at]), ("two", &[two_at])]);
        let mut probe = Probe::start(&guardd, RESEARCH);
        let mut buffer = [0; 100];
        probe.udp("connected", any);
        probe.must(&format!("peer connected {one_at}"));
        probe.udp("free", any);
        let mut exchange = |server: &UdpSocket, name: &str, to: &str| {
            probe.must(&format!("volley {name} 1 {to}"));
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(length, 64);
            server.send_to(&buffer[..10], from).unwrap();
            assert_eq!(probe.drain(name, 1, 5000).len(), 1);
        };
        for _ in 0..4 {
            exchange(&one, "connected", "");
        }
        // The same socket turns from one service to the other and back.
        for _ in 0..3 {
            exchange(&one, "free", &one_at.to_string());
            exchange(&two, "free", &two_at.to_string());
        }
        let seen = pair(&guardd, RESEARCH, "one");
        assert_eq!((seen.connects, seen.connects_established), (1, 0), "{seen:?}");
        assert_eq!((seen.call("success"), seen.all_calls()), (7, 7));
        assert_eq!((seen.sent_bytes, seen.received_bytes), (7 * 64, 7 * 10));
        let seen = pair(&guardd, RESEARCH, "two");
        assert_eq!((seen.connects, seen.call("success"), seen.all_calls()), (0, 3, 3));
        assert_eq!((seen.sent_bytes, seen.received_bytes), (3 * 64, 3 * 10));
        let open = metric(&guardd, "guard_bulkhead_connections", &[r#"bulkhead="research""#]);
        assert_eq!(open, 2.0, "two sockets, whatever they talked to");
        probe.must("close connected");
        probe.must("close free");
        pair_when(&guardd, RESEARCH, "one", "no open ones", |p| p.connections == 0);
        pair_when(&guardd, RESEARCH, "two", "no open ones", |p| p.connections == 0);
        assert!(rig::services(&guardd, WRITING).is_empty());
    }
}

/// Eight agents at once, in two bulkheads, over kept and new connections: nothing is lost, nothing
/// is counted twice, and nothing is counted for the other.
#[test]
fn eight_agents_at_once() {
    if !requires::cgroups("eight_agents_at_once") {
        return;
    }
    let calls = u64::from(timing::fewer(500));
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = url(server.addresses[0]);
    let count = calls.to_string();
    let retransmitted_before = retransmitted();
    let agents: Vec<_> = (0..8)
        .map(|number| {
            let path = guardd.bulkhead(if number < 3 { RESEARCH } else { WRITING });
            let mut args = vec!["--target", &target, "--count", &count, "--quiet"];
            args.extend((number % 2 == 0).then_some("--keep-alive"));
            AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap()
        })
        .collect();
    for agent in agents {
        let (_, summary) = agent.finish(LIMIT * 6).unwrap();
        assert_eq!((summary.calls, summary.outcomes["ok"]), (calls, calls));
    }
    // Of agents 0, 1, 2 two keep their connection; of 3 to 7 again two.
    let mut bytes = (0, 0);
    for (bulkhead, agents, kept) in [(RESEARCH, 3, 2), (WRITING, 5, 2)] {
        let seen = pair_when(&guardd, bulkhead, "api", "no open ones", |p| p.connections == 0);
        assert_eq!((seen.call("success"), seen.all_calls()), (agents * calls, agents * calls));
        let connects = kept + (agents - kept) * calls;
        assert_eq!((seen.connects, seen.connects_established), (connects, connects));
        bytes.0 += seen.sent_bytes;
        bytes.1 += seen.received_bytes;
    }
    assert_eq!(server.requests(), 8 * calls);
    // What TCP sends twice on a busy host passes guard twice.
    let (sent, received) = server.bytes();
    let most = (retransmitted() - retransmitted_before) * LARGEST_SEGMENT;
    assert!((sent..=sent + most).contains(&bytes.0), "{bytes:?} {sent} {most}");
    assert!((received..=received + most).contains(&bytes.1), "{bytes:?} {received} {most}");
    assert_eq!(metric(&guardd, "guard_events_lost_total", &[]), 0.0);
}
