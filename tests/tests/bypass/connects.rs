//! Ways to connect and to send: every one of them meets the breaker, whose errno nothing else here
//! would give; from the other bulkhead, every one of them arrives.

use std::net::SocketAddr;

use serde_json::Value;
use testbed::attempt::{DATAGRAM_WAYS, STREAM_WAYS};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;
use testbed::server::Server;

use super::rig::{Probe, RESEARCH, WRITING};

/// Nothing on a loopback device gives this one.
const REFUSED: &str = "EHOSTDOWN";

/// A service that `research` may not reach, and `writing` may.
fn start(endpoints: &[SocketAddr]) -> Guardd {
    let endpoints: Vec<_> = endpoints.iter().map(|e| format!("\"{e}\"")).collect();
    Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [{}]\n[defaults.breaker]\nmode = \"off\"\n\
         [bulkheads.{RESEARCH}]\nbreaker.services.api = {{ mode = \"force_open\", errno = \
         \"{REFUSED}\" }}\n[bulkheads.{WRITING}]\n",
        endpoints.join(", ")
    )))
    .unwrap()
}

#[test]
fn every_way_to_connect_meets_the_breaker() {
    if !requires::cgroups("every_way_to_connect_meets_the_breaker") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[address]);
    let (mut inside, mut other) = (Probe::start(&guardd, RESEARCH), Probe::start(&guardd, WRITING));
    for way in STREAM_WAYS {
        let before = server.counts().connections;
        let refused = inside.ask(&format!("try {way} {address}"));
        // A kernel without 32-bit calls, or without MPTCP, has one way less.
        let arrived = other.ask(&format!("try {way} {address}"));
        if ["ENOEXEC", "EPROTONOSUPPORT", "ENOPROTOOPT", "ENOSYS"]
            .iter()
            .any(|none| arrived["error"] == *none)
        {
            println!("{way}: not on this kernel ({arrived})");
            continue;
        }
        assert_eq!(refused["error"], REFUSED, "{way} from inside: {refused}");
        assert_eq!(arrived["error"], Value::Null, "{way} from the other bulkhead: {arrived}");
        let reached = || server.counts().connections - before;
        let came = testbed::wait::until(way, super::rig::LIMIT, || reached() > 0);
        assert!(came.is_ok() && reached() == 1, "{way}: {} connections arrived", reached());
    }
    drop((inside, other));
    guardd.finish().unwrap();
}

/// The programs are asked by the cgroup of the socket, not by its network namespace: nobody listens
/// in the new one, so that without guard this is ECONNREFUSED or ENETUNREACH.
#[test]
fn another_network_namespace_is_no_way_out() {
    if !requires::cgroups("another_network_namespace_is_no_way_out") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[address]);
    let refused = Probe::start(&guardd, RESEARCH).ask(&format!("try netns {address}"));
    assert_eq!(refused["error"], REFUSED, "{refused}");
    let other = Probe::start(&guardd, WRITING).ask(&format!("try netns {address}"));
    assert_ne!(other["error"], REFUSED, "{other}");
    assert_ne!(other["error"], Value::Null, "{other}");
    guardd.finish().unwrap();
}

#[test]
fn a_cgroup_below_is_no_way_out() {
    if !requires::cgroups("a_cgroup_below_is_no_way_out") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[address]);
    let below = guardd.bulkhead(RESEARCH).join("below");
    std::fs::create_dir(&below).unwrap();
    let mut probe = Probe::start(&guardd, &format!("{RESEARCH}/below"));
    let refused = probe.ask(&format!("try connect {address}"));
    assert_eq!(refused["error"], REFUSED, "{refused}");
    assert_eq!(server.counts().connections, 0);
    drop(probe);
    std::fs::remove_dir(below).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn every_way_to_send_meets_the_breaker() {
    if !requires::cgroups("every_way_to_send_meets_the_breaker") {
        return;
    }
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let address = receiver.local_addr().unwrap();
    let guardd = start(&[address]);
    let (mut inside, mut other) = (Probe::start(&guardd, RESEARCH), Probe::start(&guardd, WRITING));
    let arrived = || std::iter::from_fn(|| receiver.recv(&mut [0; 64]).ok()).count();
    for way in DATAGRAM_WAYS {
        let refused = inside.ask(&format!("try {way} {address}"));
        assert_eq!(refused["error"], REFUSED, "{way} from inside: {refused}");
        assert_eq!(arrived(), 0, "{way} from inside");
        let sent = other.ask(&format!("try {way} {address}"));
        assert_eq!(sent["error"], Value::Null, "{way} from the other bulkhead: {sent}");
        let mut count = 0;
        let came = testbed::wait::until(way, super::rig::LIMIT, || {
            count += arrived();
            count > 0
        });
        assert!(came.is_ok() && count == 1, "{way}: {count} datagrams arrived");
    }
    drop((inside, other));
    guardd.finish().unwrap();
}
