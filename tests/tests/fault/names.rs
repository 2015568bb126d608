//! Name queries that fail: nobody answers, or nobody listens. Everything else goes on.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use testbed::requires;

use crate::rig::{
    LIMIT, Metered, RESEARCH, WRITING, agent, clear, counters, good_calls, inject, pair_when,
    start, url,
};

/// Where nothing else of a host listens.
const RESOLVER: &str = "127.53.53.1:53";

/// Answers every datagram with itself.
struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start() -> std::io::Result<Self> {
        let socket = UdpSocket::bind(RESOLVER)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    drop(socket.send_to(&buffer[..length], from));
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn nobody_answers_or_nobody_listens() {
    let test = "nobody_answers_or_nobody_listens";
    if !requires::cgroups(test) {
        return;
    }
    let _resolver = match Echo::start() {
        Ok(resolver) => resolver,
        Err(error) => return requires::skip(test, &format!("{RESOLVER}: {error}")),
    };
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let target = format!("udp://{RESOLVER}");
    let words = ["--timeout", "1s", "--payload-bytes", "40"];
    let mut asks = agent(&guardd, RESEARCH, &target, &words);
    let mut calls = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    let mut others = agent(&guardd, WRITING, &target, &words);
    good_calls(&mut asks, 2);

    for (how, outcome) in [("no_answer", "timeout"), ("refused", "ECONNREFUSED")] {
        let fault = inject(&guardd, RESEARCH, &format!("--dns {how} --for 120s"));
        assert_eq!(fault["effect"], format!("dns {how}"));
        let record = asks.call(LIMIT).unwrap();
        assert_eq!(record.outcome, outcome, "{record:?}");
        good_calls(&mut calls, 2);
        good_calls(&mut others, 2);
        let did = if how == "refused" { "refused" } else { "dropped" };
        assert!(counters(&guardd, &fault, did) >= 1);
        assert_eq!(counters(&guardd, &fault, did), counters(&guardd, &fault, "matched"));
        clear(&guardd, &fault);
        good_calls(&mut asks, 2);
    }
    let seen =
        pair_when(&guardd, RESEARCH, "other", "two failed queries", |p| p.call("dns_failure") == 2);
    assert_eq!((seen.calls_injected["dns_failure"], seen.call("refused")), (2, 0), "{seen:?}");
}
