//! What the agent's socket is, and what it is shown.

use std::net::{Ipv4Addr, UdpSocket};

use super::*;

/// A tripped breaker of a service at both families, with these fallbacks.
fn tripped(service: &Server, fallback: &str) -> Guardd {
    let list: Vec<_> = service.addresses().iter().map(|at| format!("\"{at}\"")).collect();
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [{}]\nfallback = {fallback}\n[defaults.breaker]\n\
         open_timeout = \"10m\"\n[bulkheads.{RESEARCH}]\n[bulkheads.{WRITING}]\n",
        list.join(", ")
    ));
    let guardd = Guardd::start(config).unwrap();
    ready(&guardd);
    trip(&guardd);
    guardd
}

/// Both loopback addresses.
fn at_both(status: u16) -> Server {
    let at = ["127.0.0.1:0", "[::1]:0"].map(|at| at.parse().unwrap());
    Server::start_with(&at, &[], Behaviour::answer(status, 10)).unwrap()
}

/// Connects, asks for the peer's name, makes a call; the bytes of its answer.
fn asks(probe: &mut Probe, to: &str) -> Value {
    probe.must(&format!("tcp c {to}"));
    let peer = probe.must("peername c");
    assert_eq!(peer["peer"], to, "getpeername() shows what was asked for");
    let answer = probe.must("http c");
    probe.must("close c");
    answer["received"].clone()
}

#[test]
fn each_kind_of_socket_reaches_its_fallback_and_sees_the_service() {
    if !requires::cgroups("each_kind_of_socket_reaches_its_fallback_and_sees_the_service") {
        return;
    }
    let service = at_both(OF_SERVICE);
    let other = at_both(OF_FALLBACK);
    let [four, six] = service.addresses()[..] else { panic!("two were asked for") };
    let [other_four, other_six] = other.addresses()[..] else { panic!("two were asked for") };
    let mapped = format!("[::ffff:127.0.0.1]:{}", four.port());
    for fallback in [format!("[\"{other_four}\", \"{other_six}\"]"), format!("\"{other_four}\"")] {
        let guardd = tripped(&service, &fallback);
        let before = (service.counts().requests, other.counts().requests);
        let mut probe = Probe::start(&guardd, RESEARCH);
        for to in [four.to_string(), six.to_string(), mapped.clone()] {
            asks(&mut probe, &to);
        }
        let after = (service.counts().requests, other.counts().requests);
        assert_eq!((after.0 - before.0, after.1 - before.1), (0, 3), "{fallback}");
        // Not redirected: the address is that of the connection.
        let mut neighbour = Probe::start(&guardd, WRITING);
        for to in [four.to_string(), six.to_string(), mapped.clone()] {
            asks(&mut neighbour, &to);
        }
        assert_eq!(service.counts().requests - after.0, 3);
        drop((probe, neighbour));
        guardd.finish().unwrap();
    }
}

#[test]
fn an_ipv4_socket_cannot_go_to_an_ipv6_fallback() {
    if !requires::cgroups("an_ipv4_socket_cannot_go_to_an_ipv6_fallback") {
        return;
    }
    let service = at_both(OF_SERVICE);
    let other = server("[::1]:0", OF_FALLBACK);
    let [four, six] = service.addresses()[..] else { panic!("two were asked for") };
    let guardd = tripped(&service, &format!("\"{}\"", other.address().unwrap()));
    let mut probe = Probe::start(&guardd, RESEARCH);
    assert_eq!(probe.ask(&format!("tcp a {four}"))["error"], "ECONNREFUSED");
    asks(&mut probe, &six.to_string());
    assert_eq!(breaker(&guardd, RESEARCH)["rejected"], 1);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn datagrams_are_never_redirected() {
    if !requires::cgroups("datagrams_are_never_redirected") {
        return;
    }
    let service = server("127.0.0.1:0", OF_SERVICE);
    let other = server("127.0.0.1:0", OF_FALLBACK);
    let address = service.address().unwrap();
    // The same number as the fallback's TCP port.
    let sink = UdpSocket::bind(other.address().unwrap()).unwrap();
    sink.set_nonblocking(true).unwrap();
    let guardd = tripped(&service, &format!("\"{}\"", other.address().unwrap()));
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.udp("u", &format!("{}:0", Ipv4Addr::LOCALHOST));
    assert_eq!(probe.ask(&format!("peer u {address}"))["error"], "ECONNREFUSED");
    assert!(sink.recv(&mut [0; 64]).is_err(), "nothing has come");
    drop(probe);
    guardd.finish().unwrap();
}
