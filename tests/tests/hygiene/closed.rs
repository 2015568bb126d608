//! Connections that their peer has closed: those that an agent pools end, those on which something
//! still flows do not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;
use testbed::server::Server;
use testbed::timing::at_most;

use crate::rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker_when, calls_are, events, good_calls, metric,
    pair_when, url, waits,
};
use crate::stale;

const IDLE: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(2);

fn start(api: SocketAddr, mode: &str) -> Guardd {
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{api}\"]\n\
         hygiene = {{ peer_closed = \"1s\", peer_closed_busy = \"2s\" }}\n\
         [defaults.breaker]\nfailure_threshold = 1\n[bulkheads.{RESEARCH}]\n[bulkheads.{WRITING}]\n"
    ));
    Guardd::start(config.daemon("mode", &format!("\"{mode}\""))).unwrap()
}

/// What `send` on this connection gives, once it is no longer alive; `None` if it lives on.
fn ended_within(guardd: &Guardd, limit: Duration) -> Option<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if waits(guardd).iter().all(|wait| wait["state"] != "peer_closed") {
            return Some(begin.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn a_pooled_connection_that_its_peer_closed_ends_and_is_nobodys_failure() {
    if !requires::cgroups("a_pooled_connection_that_its_peer_closed_ends") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "enforce");
    let mut pooled = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    good_calls(&mut pooled, 2);
    server.close_all();
    let closed = breaker_when(&guardd, RESEARCH, "the wait", |_| waits(&guardd).len() == 1);
    assert_eq!(closed["state"], "closed");
    let took = ended_within(&guardd, LIMIT).unwrap();
    assert!(took < IDLE + at_most(Duration::from_secs(1)), "{took:?}");
    assert_eq!(stale(&guardd, "peer_closed"), 1.0);
    let ended = [r#"reason="peer_closed""#];
    assert_eq!(metric(&guardd, "guard_connections_ended_total", &ended), 1.0);
    let events = events(&guardd, "stale_connection");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["message"], "ended: peer_closed");
    // Nothing was under way: no call has any outcome for it, and the breaker is closed.
    calls_are(&guardd, RESEARCH, "api", &[("success", 2)]);
    let dead = pooled.call(LIMIT).unwrap();
    assert!(dead.reused && !dead.is_ok(), "{dead:?}");
    good_calls(&mut pooled, 1);
    calls_are(&guardd, RESEARCH, "api", &[("success", 3)]);
    drop(pooled);
    guardd.finish().unwrap();
}

/// A peer that answers one request, then closes its side after `last` more bytes and reads on.
fn half_closing(last: usize) -> (SocketAddr, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 16_384];
        let mut total = stream.read(&mut buffer).unwrap();
        stream.write_all(&vec![b'y'; 10 + last]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return total,
                Ok(count) => total += count,
            }
        }
    };
    (address, thread::spawn(serve))
}

#[test]
fn an_agent_that_sends_on_a_half_closed_connection_is_left_alone() {
    if !requires::cgroups("an_agent_that_sends_on_a_half_closed_connection_is_left_alone") {
        return;
    }
    let (address, peer) = half_closing(0);
    let guardd = start(address, "enforce");
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp c {address}"));
    probe.must("send c 100");
    probe.must("read c");
    let begin = Instant::now();
    let mut sent = 100;
    // Longer than both graces, with pauses that are shorter than the one for calls under way.
    while begin.elapsed() < 2 * BUSY {
        probe.must("send c 1000");
        sent += 1000;
        thread::sleep(BUSY / 3);
    }
    assert_eq!(stale(&guardd, "peer_closed"), 0.0);
    probe.must("close c");
    assert_eq!(peer.join().unwrap(), sent);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn an_answer_that_is_not_read_yet_is_left_alone_and_nothing_of_a_short_one_is_lost() {
    if !requires::cgroups("an_answer_that_is_not_read_yet_is_left_alone") {
        return;
    }
    for (last, lives) in [(20_000, true), (100, false)] {
        let (address, peer) = half_closing(last);
        let guardd = start(address, "enforce");
        let mut probe = Probe::start(&guardd, RESEARCH);
        probe.must(&format!("tcp c {address}"));
        probe.must("send c 100");
        thread::sleep(2 * IDLE + Duration::from_millis(500));
        assert_eq!(stale(&guardd, "peer_closed") == 0.0, lives, "{last} bytes to read");
        let mut received = 0;
        loop {
            let count = probe.must("read c")["received"].as_u64().unwrap();
            if count == 0 {
                break;
            }
            received += count;
        }
        assert_eq!(received, 10 + last as u64, "all of it is read, then the end");
        probe.must("close c");
        peer.join().unwrap();
        drop(probe);
        guardd.finish().unwrap();
    }
}

#[test]
fn a_call_that_waits_on_a_closed_connection_ends_later_and_is_stale() {
    if !requires::cgroups("a_call_that_waits_on_a_closed_connection_ends_later_and_is_stale") {
        return;
    }
    let (address, peer) = half_closing(0);
    let guardd = start(address, "enforce");
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp c {address}"));
    probe.must("send c 100");
    probe.must("read c");
    // Used again, though closed: the peer takes the request, and no answer can come.
    probe.must("send c 100");
    let begin = Instant::now();
    let seen = pair_when(&guardd, RESEARCH, "api", "its end", |p| p.all_calls() == 2);
    let took = begin.elapsed();
    assert!(took > BUSY / 2 && took < BUSY + at_most(BUSY), "{took:?}");
    assert_eq!((seen.call("success"), seen.call("stale_connection")), (1, 1), "{seen:?}");
    assert_eq!(stale(&guardd, "peer_closed"), 1.0);
    breaker_when(&guardd, RESEARCH, "closed", |breaker| breaker["state"] == "closed");
    assert_eq!(probe.ask("send c 100")["error"], "ECONNABORTED");
    assert_eq!(peer.join().unwrap(), 200);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_only_counts() {
    if !requires::cgroups("monitor_mode_only_counts") {
        return;
    }
    let (address, peer) = half_closing(0);
    let guardd = start(address, "monitor");
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp c {address}"));
    probe.must("send c 100");
    probe.must("read c");
    let would = || metric(&guardd, "guard_would_have_total", &[r#"action="end_connection""#]);
    breaker_when(&guardd, RESEARCH, "the count", |_| would() == 1.0);
    thread::sleep(IDLE);
    assert_eq!((would(), stale(&guardd, "peer_closed")), (1.0, 0.0));
    probe.must("send c 100");
    probe.must("close c");
    assert_eq!(peer.join().unwrap(), 200);
    drop(probe);
    guardd.finish().unwrap();
}

/// A server that the agent runs: its own clients close, and that is its business.
#[test]
fn an_accepted_connection_is_never_ended() {
    if !requires::cgroups("an_accepted_connection_is_never_ended") {
        return;
    }
    let guardd = start("127.0.0.3:1".parse().unwrap(), "enforce");
    let mut server = Probe::start(&guardd, RESEARCH);
    let at = server.must("listen l 127.0.0.1:0")["local"].as_str().unwrap().to_owned();
    let client = TcpStream::connect(at).unwrap();
    server.must("accept a l");
    client.shutdown(Shutdown::Write).unwrap();
    thread::sleep(2 * IDLE);
    server.must("send a 100");
    drop(client);
    drop(server);
    guardd.finish().unwrap();
}
