//! The test-bed itself: what the server does is exactly what the agent sees, over loopback and
//! through namespaces, and nothing is left afterwards.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::agent::{AgentProcess, CallOptions, Caller, Record, Target};
use testbed::cgroup::{self, ScratchCgroup};
use testbed::netns::Network;
use testbed::server::{Answer, Behaviour, Server, ServerProcess};
use testbed::{requires, timing, wait};

const LIMIT: Duration = Duration::from_secs(10);

fn options() -> CallOptions {
    CallOptions {
        connect_timeout: Some(Duration::from_secs(2)),
        timeout: Some(Duration::from_millis(300)),
        ..CallOptions::default()
    }
}

fn call(target: &str, options: &CallOptions) -> Record {
    let target: Target = target.parse().unwrap();
    Caller::default().call(1, &target, options)
}

/// Every scripted behaviour, as the agent sees it: outcome, errno, phase.
#[test]
fn behaviours_are_seen_as_what_they_are() {
    let mut server = Server::loopback().unwrap();
    let url = format!("http://{}/", server.address().unwrap());
    let cases = [
        (Behaviour::answer(200, 10), "ok", 0, "done"),
        (Behaviour::answer(503, 10), "http_503", 0, "done"),
        (Behaviour::answer(429, 0), "http_429", 0, "done"),
        (Behaviour::Hang, "timeout", 0, "receive"),
        (Behaviour::CloseAfterRequest, "eof", 0, "receive"),
        (Behaviour::ResetAfterRequest, "ECONNRESET", 104, "receive"),
    ];
    for (behaviour, outcome, errno, phase) in cases {
        server.set(behaviour.clone());
        let record = call(&url, &options());
        let seen = (record.outcome.as_str(), record.errno, record.phase.as_str());
        assert_eq!(seen, (outcome, errno, phase), "{behaviour}");
    }
    // Whether the agent was still sending when the end came is up to the scheduler.
    for (behaviour, outcomes) in [
        (Behaviour::CloseOnAccept, &["eof", "ECONNRESET", "EPIPE"][..]),
        (Behaviour::ResetOnAccept, &["ECONNRESET", "EPIPE"][..]),
    ] {
        server.set(behaviour.clone());
        let record = call(&url, &options());
        assert!(outcomes.contains(&record.outcome.as_str()), "{behaviour}: {record:?}");
    }
    server.refuse();
    let record = call(&url, &options());
    let seen = (record.outcome.as_str(), record.errno, record.phase.as_str());
    assert_eq!(seen, ("ECONNREFUSED", 111, "connect"));
    server.listen().unwrap();
    server.set(Behaviour::answer(200, 1));
    assert!(call(&url, &options()).is_ok());
    assert_eq!(server.counts().connections, 9);
    // The last answer is counted a moment after it was received.
    wait::until("four answers", LIMIT, || server.counts().answers == 4).unwrap();
}

#[test]
fn delays_are_kept_to_the_millisecond() {
    let server = Server::loopback().unwrap();
    let url = format!("http://{}/", server.address().unwrap());
    let answer = Answer {
        first_byte_after: Duration::from_millis(80),
        chunks: 3,
        chunk_delay: Duration::from_millis(30),
        body_bytes: 100_000,
        ..Answer::default()
    };
    server.set(Behaviour::Answer(answer));
    let record = call(&url, &options());
    assert!(record.is_ok() && record.received_bytes == 100_000, "{record:?}");
    let ttfb_ms = record.ttfb_us.unwrap() / 1000.0;
    let rest_ms = record.total_us / 1000.0 - ttfb_ms;
    // Never early; late only as much as a busy machine is.
    let late_ms = timing::at_most(Duration::from_millis(40)).as_secs_f64() * 1000.0;
    assert!((80.0..80.0 + late_ms).contains(&ttfb_ms), "first byte after {ttfb_ms} ms");
    assert!((60.0..60.0 + late_ms).contains(&rest_ms), "the rest took {rest_ms} ms");
}

#[test]
fn scripts_and_kept_connections() {
    let server = Server::loopback().unwrap();
    let target: Target = format!("http://{}/", server.address().unwrap()).parse().unwrap();
    let options = CallOptions { keep_alive: true, ..options() };
    let mut caller = Caller::default();
    server.push(Behaviour::answer(500, 0));
    server.push(Behaviour::answer(200, 3));
    let outcomes: Vec<_> = (1..=3).map(|seq| caller.call(seq, &target, &options)).collect();
    assert_eq!(
        outcomes.iter().map(|r| r.outcome.as_str()).collect::<Vec<_>>(),
        ["http_500", "ok", "ok"]
    );
    assert_eq!(outcomes.iter().map(|r| r.reused).collect::<Vec<_>>(), [false, true, true]);
    let counts = server.counts();
    assert_eq!((counts.connections, counts.requests, counts.open), (1, 3, 1));
    let peer = counts.peers.values().next().unwrap();
    assert_eq!((peer.connections, peer.requests), (1, 3));
    assert_eq!(counts.peers.keys().next().unwrap().port(), outcomes[0].local_port);

    // A pooled connection that the server resets is found dead when it is used again.
    server.reset_all();
    wait::until("the connection to be gone", LIMIT, || server.counts().open == 0).unwrap();
    let stale = caller.call(4, &target, &options);
    assert_eq!((stale.outcome.as_str(), stale.reused), ("ECONNRESET", true), "{stale:?}");
    assert!(!caller.call(5, &target, &options).reused);
    server.close_all();
    wait::until("the connection to be gone", LIMIT, || server.counts().open == 0).unwrap();
    let stale = caller.call(6, &target, &options);
    assert!(["eof", "EPIPE", "ECONNRESET"].contains(&stale.outcome.as_str()), "{stale:?}");
}

#[test]
fn echo_udp_and_ipv6() {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut addresses = vec![local];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        addresses.push("[::1]:0".parse().unwrap());
    } else {
        requires::skip("echo_udp_and_ipv6/ipv6", "there is no ::1");
    }
    let server = Server::start_with(&addresses, &addresses, Behaviour::Echo).unwrap();
    let options = CallOptions { payload_bytes: 1000, ..options() };
    for address in server.addresses() {
        let record = call(&format!("tcp://{address}"), &options);
        assert!(record.is_ok() && record.received_bytes == 1000, "{record:?}");
    }
    for address in server.udp_addresses() {
        let record = call(&format!("udp://{address}"), &options);
        assert!(record.is_ok() && record.received_bytes == 1000, "{record:?}");
    }
    server.set(Behaviour::Hang);
    let silent = call(&format!("udp://{}", server.udp_addresses()[0]), &options);
    assert_eq!((silent.outcome.as_str(), silent.phase.as_str()), ("timeout", "receive"));
    let closed = std::net::UdpSocket::bind(local).unwrap().local_addr().unwrap();
    let refused = call(&format!("udp://{closed}"), &options);
    assert_eq!(refused.outcome, "ECONNREFUSED");
}

/// A big answer to a peer that does not read must not keep the server from ending.
#[test]
fn a_server_ends_whatever_its_connections_do() {
    let server = Server::loopback().unwrap();
    server.set(Behaviour::answer(200, 1 << 30));
    let mut stream = std::net::TcpStream::connect(server.address().unwrap()).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait::until("the request", LIMIT, || server.counts().requests == 1).unwrap();
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < timing::at_most(Duration::from_secs(1)), "{:?}", start.elapsed());
}

#[test]
fn the_agent_runs_by_schedule_and_sums_up() {
    let mut server = ServerProcess::start(&["127.0.0.1:0".parse().unwrap()], &[], |c| c).unwrap();
    let url = format!("http://{}/", server.address().unwrap());
    let args = ["--target", &url, "--count", "40", "--concurrency", "4", "--interval", "10ms"];
    let agent = AgentProcess::start(&args, |c| c).unwrap();
    let (records, summary) = agent.finish(LIMIT).unwrap();
    assert_eq!((records.len(), summary.calls, summary.outcomes["ok"]), (40, 40, 40));
    assert!(summary.seconds >= 0.09, "10 calls each, 10 ms apart: {}", summary.seconds);
    let mut numbers: Vec<_> = records.iter().map(|record| record.seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    assert_eq!(server.counts().unwrap().connections, 40);

    // Stopped in the middle of a call that hangs, it still sums up at once.
    server.set(&Behaviour::Hang).unwrap();
    let agent = AgentProcess::start(&["--target", &url], |c| c).unwrap();
    wait::until("the call to hang", LIMIT, || server.counts().unwrap().requests == 41).unwrap();
    let start = Instant::now();
    let (records, summary) = agent.stop().unwrap();
    assert_eq!((records.len(), summary.calls, summary.unfinished), (0, 0, 1));
    assert!(start.elapsed() < timing::at_most(Duration::from_secs(2)), "{:?}", start.elapsed());
}

#[test]
fn the_agent_goes_step_by_step_in_its_cgroup() {
    let test = "the_agent_goes_step_by_step_in_its_cgroup";
    if !requires::cgroups(test) {
        return;
    }
    let server = Server::loopback().unwrap();
    let url = format!("http://{}/", server.address().unwrap());
    let scratch = ScratchCgroup::new("step").unwrap();
    let wrap = |command: Command| cgroup::wrap(scratch.path(), &command);
    let mut agent = AgentProcess::stepped(&url, &["--keep-alive"], wrap).unwrap();
    assert!(!agent.call(LIMIT).unwrap().reused);
    assert!(agent.call(LIMIT).unwrap().reused);
    assert_eq!(scratch.processes(), [agent.pid()]);
    agent.close().unwrap();
    assert!(!agent.call(LIMIT).unwrap().reused);
    let closed = testbed::guardd::free_port().unwrap();
    let record = agent.call_to(&format!("connect://{closed}"), LIMIT).unwrap();
    assert_eq!(record.outcome, "ECONNREFUSED");
    let (records, summary) = agent.stop().unwrap();
    assert_eq!((records.len(), summary.calls), (4, 4));
}

#[test]
fn a_network_that_serves_swallows_and_rejects() {
    let test = "a_network_that_serves_swallows_and_rejects";
    if !requires::root(test)
        || !requires::program(test, "ip")
        || !requires::program(test, "nsenter")
    {
        return;
    }
    let network = match Network::new() {
        Ok(network) => network,
        Err(error) => return requires::skip(test, &format!("no namespaces here: {error:#}")),
    };
    let exists = |name: &str| std::path::Path::new("/run/netns").join(name).exists();
    assert!(exists(network.client.name()));
    let listen =
        [SocketAddr::from((Network::SERVER, 8080)), SocketAddr::from((Network::SERVER_V6, 8080))];
    let server = ServerProcess::start(&listen, &[], |c| network.server.wrap(&c)).unwrap();
    let patience = ["--connect-timeout", "700ms", "--timeout", "700ms"];
    let url = format!("http://{}/", server.address().unwrap());
    let mut agent = AgentProcess::stepped(&url, &patience, |c| network.client.wrap(&c)).unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ok");
    let mut outcome = |target: String| agent.call_to(&target, LIMIT).unwrap().outcome;
    assert_eq!(outcome(format!("http://{}/", server.addresses()[1])), "ok");
    assert_eq!(outcome(format!("connect://{}:80", Network::BLACKHOLE)), "timeout");
    assert_eq!(outcome(format!("connect://{}:80", Network::UNREACHABLE)), "EHOSTUNREACH");
    assert_eq!(outcome(format!("connect://{}:81", Network::SERVER)), "ECONNREFUSED");
    network.set_dropping(Network::SERVER.into(), true).unwrap();
    assert_eq!(outcome(url.clone()), "timeout");
    network.set_dropping(Network::SERVER.into(), false).unwrap();
    assert_eq!(outcome(url), "ok");

    let names = [network.client.name().to_owned(), network.server.name().to_owned()];
    drop((agent, server, network));
    for name in names {
        assert!(!exists(&name));
    }
}
