//! Sockets that guard did not see born: older than the daemon, or accepted by a server in a
//! bulkhead.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use testbed::agent::{AgentProcess, CallOptions, Caller, Target};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::ServerProcess;
use testbed::{cgroup, requires};

use crate::rig::{
    LIMIT, Metered, RESEARCH, WRITING, calls_are, clear, counters, good_calls, inject, metric,
    pair, pair_when, services, start, url,
};

#[test]
fn connections_older_than_the_daemon() {
    if !requires::cgroups("connections_older_than_the_daemon") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0", "127.0.0.1:0"]);
    let named = [("api", &server.addresses[..1]), ("calm", &server.addresses[1..])];
    let config = GuarddConfig::simple(&named, &[RESEARCH, WRITING]);
    let mut guardd = Guardd::prepare(config).unwrap();
    let path = guardd.cgroup().child(RESEARCH).unwrap();
    let agent_of = |target: String| {
        let args = ["--keep-alive", "--timeout", "2s"];
        let agent = AgentProcess::stepped(&target, &args, |c| cgroup::wrap(&path, &c));
        let mut agent = agent.unwrap();
        good_calls(&mut agent, 2);
        agent
    };
    let mut old = agent_of(url(server.addresses[0]));
    let mut calm = agent_of(url(server.addresses[1]));
    let before = server.bytes();
    guardd.restart().unwrap();
    assert!(services(&guardd, RESEARCH).is_empty(), "not a packet since");

    // Counted from its first packet on.
    let records = good_calls(&mut old, 3);
    assert!(records.iter().all(|record| record.reused));
    let seen = calls_are(&guardd, RESEARCH, "api", &[("success", 3)]);
    assert_eq!((seen.connects, seen.connects_established, seen.connections), (0, 0, 1));
    let after = server.bytes();
    let moved = (after.0 - before.0, after.1 - before.1);
    assert_eq!((seen.sent_bytes, seen.received_bytes), moved);
    good_calls(&mut calm, 1);

    // And it can be faulted: delayed, then cut off.
    let fault = inject(&guardd, RESEARCH, "--service api --for 60s --latency 300ms");
    let record = old.call(LIMIT).unwrap();
    assert!(record.is_ok() && record.reused && record.total_us >= 295_000.0, "{record:?}");
    clear(&guardd, &fault);
    let fault = inject(&guardd, RESEARCH, "--service api --for 60s --loss 100%");
    assert_eq!(old.call(LIMIT).unwrap().outcome, "timeout");
    assert!(counters(&guardd, &fault, "dropped") > 0);
    clear(&guardd, &fault);
    good_calls(&mut calm, 1);
    assert_eq!(pair(&guardd, RESEARCH, "calm").faulted, 0);
    let seen = pair_when(&guardd, RESEARCH, "api", "the end", |p| p.connections == 0);
    assert_eq!((seen.call("success"), seen.call("aborted")), (4, 1), "{seen:?}");
    calm.close().unwrap();
    pair_when(&guardd, RESEARCH, "calm", "the end", |p| p.connections == 0);
    // guardd leaves a cgroup that it did not make: that is ours to remove.
    drop((old, calm));
    guardd.stop().unwrap();
    assert!(path.exists());
    std::fs::remove_dir(&path).unwrap();
}

/// A free port below those that the kernel gives to callers, as servers have.
fn server_port() -> TcpListener {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let start = low - 2000 + (std::process::id() % 1000) as u16;
    let listener = (start..low).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    listener.unwrap()
}

/// Once on a port as servers have, once on one that a caller might have been given.
#[test]
fn accepted_connections_are_no_calls() {
    if requires::cgroups("accepted_connections_are_no_calls") {
        let of_servers = server_port().local_addr().unwrap();
        accepted_on(of_servers);
        accepted_on("127.0.0.1:0".parse().unwrap());
    }
}

fn accepted_on(listen: SocketAddr) {
    let elsewhere = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &elsewhere.addresses)]);
    let path = guardd.bulkhead(RESEARCH);
    let wrap = |command| cgroup::wrap(&path, &command);
    let mut server = ServerProcess::start(&[listen], &[], wrap).unwrap();
    let target: Target = url(server.address().unwrap()).parse().unwrap();
    let options = CallOptions {
        timeout: Some(Duration::from_secs(10)),
        keep_alive: true,
        ..CallOptions::default()
    };
    let mut caller = Caller::default();
    let mut call = |count: u64| -> Vec<f64> {
        let records = (0..count).map(|seq| caller.call(seq, &target, &options));
        records.inspect(|r| assert!(r.is_ok(), "{r:?}")).map(|r| r.total_us).collect()
    };
    call(4);
    // Every kind of fault on everything that the bulkhead does; new and old connections alike.
    let refuse = inject(&guardd, RESEARCH, "--unsafe-all --for 60s --refuse 100%");
    let loss = inject(&guardd, RESEARCH, "--unsafe-all --for 60s --loss 100%");
    let latency = inject(&guardd, RESEARCH, "--unsafe-all --for 60s --latency 3s");
    let took = call(4);
    assert!(took.iter().all(|us| *us < 2_000_000.0), "{took:?}");
    let mut fresh = Caller::default();
    let record = fresh.call(1, &target, &options);
    assert!(record.is_ok() && record.total_us < 2_000_000.0, "{record:?}");
    for fault in [&refuse, &loss, &latency] {
        let ended = clear(&guardd, fault);
        for counter in ["delayed", "dropped", "refused"] {
            assert_eq!(ended["counters"][counter], 0, "{ended}");
        }
    }
    let other = pair(&guardd, RESEARCH, "other");
    assert_eq!((other.all_calls(), other.connects, other.faulted), (0, 0, 0), "{other:?}");
    let accepted = metric(&guardd, "guard_accepted_connections_total", &[r#"bulkhead="research""#]);
    assert_eq!(accepted, 2.0);
    assert_eq!(server.counts().unwrap().requests, 9);
    assert_eq!(services(&guardd, RESEARCH).len(), 1);
    assert!(services(&guardd, WRITING).is_empty());
    drop((caller, fresh));
    pair_when(&guardd, RESEARCH, "other", "no open ones", |p| p.connections == 0);
}
