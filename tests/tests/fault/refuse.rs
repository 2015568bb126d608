//! Refusals: the errno asked for, on every kind of socket, and counted as injected.

use std::net::UdpSocket;

use serde_json::json;
use testbed::agent::AgentProcess;
use testbed::{cgroup, requires, stats, timing};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, Probe, RESEARCH, agent, calls_are, clear, counters, events_when, good_calls,
    inject, metric, pair, start, url,
};

#[test]
fn every_kind_of_socket_gets_the_errno() {
    let test = "every_kind_of_socket_gets_the_errno";
    if !requires::cgroups(test) {
        return;
    }
    let v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !v6 {
        requires::skip(&format!("{test}/ipv6"), "there is no ::1");
    }
    let locals = if v6 { vec!["127.0.0.1:0", "[::1]:0"] } else { vec!["127.0.0.1:0"] };
    let server = Metered::start(&locals);
    let sockets: Vec<_> = locals.iter().map(|at| UdpSocket::bind(at).unwrap()).collect();
    let mut endpoints = server.addresses.clone();
    endpoints.extend(sockets.iter().map(|socket| socket.local_addr().unwrap()));
    let guardd = start(&[("api", &endpoints)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &url(server.addresses[0]), &["--keep-alive"]);
    good_calls(&mut kept, 1);
    let mut probe = Probe::start(&guardd, RESEARCH);
    let port = server.addresses[0].port();
    let mut tcp: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
    if v6 {
        tcp.push(format!("[::ffff:127.0.0.1]:{port}"));
    }
    let mut refused = [("ECONNREFUSED", 0_u64), ("EHOSTUNREACH", 0)];
    for (round, (errno, count)) in refused.iter_mut().enumerate() {
        let option = if round == 0 { String::new() } else { format!("--errno {errno}") };
        let words = format!("--service api --for 120s --refuse 100% {option}");
        let fault = inject(&guardd, RESEARCH, &words);
        for address in &tcp {
            assert_eq!(probe.ask(&format!("tcp t {address}"))["error"], *errno, "{address}");
            *count += 1;
        }
        for (local, socket) in locals.iter().zip(&sockets) {
            let address = socket.local_addr().unwrap();
            let name = format!("u{round}{local}");
            probe.udp(&name, local);
            assert_eq!(probe.ask(&format!("peer {name} {address}"))["error"], *errno);
            let reply = probe.must(&format!("volley {name} 3 {address}"));
            assert_eq!((&reply["errors"], &reply["sent"]), (&json!({*errno: 3}), &json!(0)));
            *count += 4;
        }
        // Connections that are open go on: only new ones are refused.
        good_calls(&mut kept, 1);
        bystander.calls();
        assert_eq!(counters(&guardd, &fault, "refused"), *count);
        assert_eq!(clear(&guardd, &fault)["counters"]["matched"], *count);
        let events = events_when(&guardd, "fault_refused", *count as usize);
        let of_this = events.iter().filter(|event| event["fault"] == fault["id"]);
        assert_eq!(of_this.clone().count() as u64, *count);
        for event in of_this {
            assert_eq!((&event["origin"], &event["service"]), (&json!("injected"), &json!("api")));
            assert!(event["message"].as_str().unwrap().contains(*errno), "{event}");
        }
    }
    let [(_, as_refused), (_, as_unreachable)] = refused;
    let calls = [("success", 3), ("refused", as_refused), ("unreachable", as_unreachable)];
    let seen = calls_are(&guardd, RESEARCH, "api", &calls);
    assert_eq!(seen.calls_injected["refused"], as_refused);
    assert_eq!(seen.calls_injected["unreachable"], as_unreachable);
    assert_eq!(seen.calls_injected.len(), 2, "{seen:?}");
    assert_eq!(seen.faulted, as_refused + as_unreachable);
    for outcome in ["refused", "unreachable"] {
        let outcome = format!("outcome=\"{outcome}\"");
        let real = [outcome.as_str(), r#"origin="real""#, r#"bulkhead="research""#];
        assert_eq!(metric(&guardd, "guard_calls_total", &real), 0.0);
    }
    // Nothing arrived, and now everything does.
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 10]).is_err());
    }
    for address in &tcp {
        probe.must(&format!("tcp t {address}"));
    }
    bystander.end(&guardd, "api");
}

#[test]
fn a_share_of_connects() {
    if !requires::cgroups("a_share_of_connects") {
        return;
    }
    let connects = u64::from(timing::fewer(1000));
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let fault = inject(&guardd, RESEARCH, "--service api --for 300s --refuse 30% --seed 9");
    let target = format!("connect://{}", server.addresses[0]);
    let path = guardd.bulkhead(RESEARCH);
    let count = connects.to_string();
    let args = ["--target", &target, "--count", &count, "--concurrency", "4", "--quiet"];
    let agent = AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap();
    bystander.calls();
    let (_, summary) = agent.finish(LIMIT * 3).unwrap();
    let refused = summary.outcomes["ECONNREFUSED"];
    assert_eq!(summary.outcomes["ok"] + refused, connects);
    let (low, high) = stats::wilson(refused, connects, 3.29);
    assert!(low <= 0.3 && 0.3 <= high, "{refused} of {connects}");
    let ended = clear(&guardd, &fault);
    assert_eq!(ended["counters"]["matched"], connects);
    assert_eq!(ended["counters"]["refused"], refused);
    let seen = calls_are(&guardd, RESEARCH, "api", &[("refused", refused)]);
    assert_eq!((seen.connects, seen.connects_established), (connects, connects - refused));
    assert_eq!(pair(&guardd, RESEARCH, "api").calls_injected["refused"], refused);
    bystander.end(&guardd, "api");
}
