//! The engine against the real kernel: packets of real sockets over loopback, through a real
//! netfilter rule, in a network namespace of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::net::testing::{in_own_netns, is_root, late_by, run, scale};

const HOLDER_ENV: &str = "GUARD_TEST_HOLDS_QUEUE";

/// Two UDP sockets; only what goes from `client` to `server` passes through the queue.
pub(super) struct Pair {
    pub(super) client: UdpSocket,
    pub(super) server: UdpSocket,
    rule: Vec<String>,
}

impl Pair {
    pub(super) fn new(queue: u16) -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        let (client, server) = (bind(), bind());
        // A release of many at once must not overflow the receiver.
        setsockopt(&server, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        server.connect(client.local_addr().unwrap()).unwrap();
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        }
        let port = |s: &UdpSocket| s.local_addr().unwrap().port().to_string();
        let rule = format!(
            "OUTPUT -p udp --sport {} --dport {} -j NFQUEUE --queue-num {queue} --queue-bypass",
            port(&client),
            port(&server)
        );
        Self { client, server, rule: rule.split(' ').map(str::to_owned).collect() }
    }

    pub(super) fn iptables(&self, action: &str) {
        let mut arguments = vec!["-w", "5", "-t", "mangle", action];
        arguments.extend(self.rule.iter().map(String::as_str));
        run("iptables", &arguments);
    }

    /// One round trip.
    fn round_trip(&self, number: u32) -> Duration {
        let mut buffer = [0; 4];
        let start = Instant::now();
        self.client.send(&number.to_ne_bytes()).expect("ping");
        self.client.recv(&mut buffer).expect("pong");
        assert_eq!(buffer, number.to_ne_bytes(), "a late answer");
        start.elapsed()
    }

    /// Answers `count` pings.
    fn echo(&self, count: u32) {
        let mut buffer = [0; 4];
        for _ in 0..count {
            self.server.recv(&mut buffer).expect("ping");
            self.server.send(&buffer).expect("pong");
        }
    }

    /// Receives one datagram and returns its number.
    pub(super) fn receive(&self) -> std::io::Result<u32> {
        let mut buffer = [0; 4];
        self.server.recv(&mut buffer).map(|_| u32::from_ne_bytes(buffer))
    }
}

pub(super) fn profile(delay: Duration, jitter: Duration) -> DelayProfile {
    DelayProfile {
        delay,
        jitter,
        distribution: Distribution::Uniform,
        seed: 1,
        bytes_per_second: None,
    }
}

pub(super) fn queues_of_this_namespace() -> String {
    std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue").unwrap()
}

/// One measurement: the quickest round trip through the queue, less that of packets which are sent
/// beside it, as far apart and turn by turn.
///
/// The quickest, because whatever else runs on the machine only adds: it says what the queue
/// itself does. Medians on a quiet machine are a matter for `cargo xtask bench delay`.
///
/// `start` starts queue 7 and returns what stops it.
fn measure<S: FnOnce() -> DelayStats>(
    delay: Duration,
    count: u32,
    start: impl FnOnce(DelayProfile) -> S,
) -> Duration {
    let (delayed, bare) = (Pair::new(7), Pair::new(7));
    let stop = start(profile(delay, Duration::ZERO));
    delayed.iptables("-A");
    let (mut with, mut without): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        scope.spawn(|| delayed.echo(count));
        scope.spawn(|| bare.echo(count));
        let both = |i| {
            std::thread::sleep(delay);
            (delayed.round_trip(i), {
                std::thread::sleep(delay);
                bare.round_trip(i)
            })
        };
        (0..count).map(both).unzip()
    });
    delayed.iptables("-D");
    let stats = stop();
    assert_eq!(stats.released, u64::from(count), "every ping, no pong, went through the queue");
    with.sort();
    without.sort();
    let added = with[0].saturating_sub(without[0]);
    println!(
        "asked {delay:?}: added {added:?} ({count} round trips: bare {:?} to {:?}, delayed {:?} to {:?}, median {:?})",
        without[0],
        without[without.len() - 1],
        with[0],
        with[with.len() - 1],
        with[with.len() / 2],
    );
    added
}

#[test]
fn root_added_delay_is_what_was_asked() {
    if !is_root("root_added_delay_is_what_was_asked") {
        return;
    }
    in_own_netns(|| {
        added_delays(&[(1, 200), (10, 60), (100, 11), (1000, 1), (2000, 1)], |profile| {
            let queue = DelayQueue::start(7, profile).unwrap();
            || queue.stop().unwrap()
        });
    });
}

/// Each delay (ms, number of round trips) is added to within 1 % or 0.2 ms.
pub(super) fn added_delays<S: FnOnce() -> DelayStats>(
    wanted: &[(u64, u32)],
    start: impl Fn(DelayProfile) -> S,
) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (delay_ms, count) in wanted {
        let delay = Duration::from_millis(*delay_ms);
        let tolerance = late_by((delay / 100).max(Duration::from_micros(200)));
        // The long ones are measured once or a few times only: the best of five counts.
        let hit = (0..5).any(|_| measure(delay, *count, &start).abs_diff(delay) <= tolerance);
        assert!(hit, "{delay:?} missed by more than {tolerance:?} five times");
    }
}

#[test]
fn root_order_is_kept_under_jitter_and_load() {
    if !is_root("root_order_is_kept_under_jitter_and_load") {
        return;
    }
    in_own_netns(|| {
        let pair = Pair::new(7);
        let jitter = Duration::from_millis(4);
        let queue = DelayQueue::start(7, profile(Duration::from_millis(5), jitter)).unwrap();
        pair.iptables("-A");
        const COUNT: u32 = 5000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..COUNT {
                    pair.client.send(&i.to_ne_bytes()).unwrap();
                    if i % 50 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            for i in 0..COUNT {
                assert_eq!(pair.receive().expect("none lost"), i, "reordered");
            }
        });
        let stats = queue.stats();
        assert_eq!((stats.released, stats.overruns), (u64::from(COUNT), 0));
        assert!(stats.max_held > 10, "{stats:?}");
        println!("{stats:?}");
    });
}

#[test]
fn root_a_full_queue_lets_the_oldest_go_in_order_and_loses_none() {
    if !is_root("root_a_full_queue_lets_the_oldest_go_in_order_and_loses_none") {
        return;
    }
    in_own_netns(|| {
        const HELD: usize = 32_768;
        const SENT: usize = 36_000;
        let pair = Pair::new(7);
        // Held packets count against the sender: by default it would block after about 280.
        setsockopt(&pair.client, sockopt::SndBufForce, &(64 << 20)).unwrap();
        let queue = DelayQueue::start(7, profile(Duration::from_mins(1), Duration::ZERO)).unwrap();
        pair.iptables("-A");
        for i in 0..SENT as u32 {
            pair.client.send(&i.to_ne_bytes()).unwrap();
        }
        pair.server.set_read_timeout(Some(late_by(Duration::from_millis(300)))).unwrap();
        let receive_all = || std::iter::from_fn(|| pair.receive().ok()).collect::<Vec<u32>>();
        let passed = receive_all();
        let stats = queue.stats();
        println!("{} went early, {stats:?}", passed.len());
        assert_eq!(passed.len() + stats.held, SENT);
        assert_eq!((stats.held, stats.hurried), (HELD, passed.len() as u64));
        queue.stop().unwrap();
        let all = [passed, receive_all()].concat();
        let disorder = all.windows(2).filter(|two| two[0] >= two[1]).count();
        assert_eq!((SENT - all.len(), disorder), (0, 0), "lost, and out of order");
    });
}

#[test]
fn root_bulk_tcp_goes_through_whole() {
    if !is_root("root_bulk_tcp_goes_through_whole") {
        return;
    }
    in_own_netns(|| {
        let megabytes = (64 / scale() as usize).max(1);
        let bytes_sent = megabytes << 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        for delay_ms in [0, 5] {
            let delay = Duration::from_millis(delay_ms);
            let queue = DelayQueue::start(7, profile(delay, Duration::ZERO)).unwrap();
            let rule = ["-p", "tcp", "--dport", &port, "-j", "NFQUEUE", "--queue-num", "7"];
            let change = |action| {
                let base = ["-w", "5", "-t", "mangle", action, "OUTPUT"];
                run("iptables", &[&base[..], &rule[..], &["--queue-bypass"]].concat());
            };
            change("-A");
            let start = Instant::now();
            let sum = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    let block: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
                    for _ in 0..megabytes {
                        stream.write_all(&block).unwrap();
                    }
                });
                let (mut stream, _) = listener.accept().unwrap();
                let mut bytes = Vec::with_capacity(bytes_sent);
                stream.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len(), bytes_sent);
                bytes.iter().map(|b| u64::from(*b)).sum::<u64>()
            });
            let seconds = start.elapsed().as_secs_f64();
            change("-D");
            let stats = queue.stop().unwrap();
            let block: u64 = (0..=250_u64).cycle().take(1 << 20).sum();
            assert_eq!(sum, block * megabytes as u64);
            let mean_bytes = bytes_sent as u64 / stats.released;
            println!(
                "{delay:?}: {:.2} Gbit/s, {mean_bytes} bytes per packet, {stats:?}",
                bytes_sent as f64 * 8e-9 / seconds
            );
            assert!(mean_bytes > 4000, "super-packets are not cut up");
            assert_eq!(stats.overruns, 0);
        }
    });
}

#[test]
fn root_stop_and_deadline_let_everything_go() {
    if !is_root("root_stop_and_deadline_let_everything_go") {
        return;
    }
    in_own_netns(|| {
        let pair = Pair::new(7);
        let long = profile(Duration::from_mins(1), Duration::ZERO);
        let send = |range: std::ops::Range<u32>| {
            for i in range {
                pair.client.send(&i.to_ne_bytes()).unwrap();
            }
        };
        let expect = |range: std::ops::Range<u32>| {
            for i in range {
                assert_eq!(pair.receive().expect("released"), i);
            }
        };

        let queue = DelayQueue::start(7, long).unwrap();
        pair.iptables("-A");
        send(0..100);
        pair.server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(pair.receive().is_err(), "held, not passed");
        assert_eq!(queue.stats().held, 100);
        // Stopped while the rule stands: nothing may be lost, later packets bypass.
        let stats = queue.stop().unwrap();
        assert_eq!((stats.held, stats.released), (0, 100));
        send(100..150);
        // On another processor they may overtake those that were just let go.
        let mut all: Vec<u32> = (0..150).map(|_| pair.receive().expect("released")).collect();
        let (was_held, bypassed): (Vec<u32>, Vec<u32>) = all.iter().partition(|i| **i < 100);
        assert!(was_held.is_sorted() && bypassed.is_sorted(), "{all:?}");
        all.sort_unstable();
        assert!((0..150).eq(all), "nothing lost, nothing twice");
        assert_eq!(queues_of_this_namespace(), "", "the queue is given back");

        // A deadline given at the start, and one moved to now.
        let end = Instant::now() + Duration::from_millis(150);
        let queue = DelayQueue::start_until(7, long, Some(end)).unwrap();
        send(0..10);
        pair.server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        expect(0..10);
        let late = Instant::now().saturating_duration_since(end);
        assert!(Instant::now() >= end && late < late_by(Duration::from_millis(100)), "{late:?}");
        send(10..20);
        expect(10..20);
        queue.set_end(Instant::now() + Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(20));
        send(20..30);
        pair.server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(pair.receive().is_err(), "delays again");
        queue.set_end(Instant::now());
        pair.server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        expect(20..30);
        drop(queue);
        assert_eq!(queues_of_this_namespace(), "", "dropping gives the queue back too");
    });
}

/// Time on a processor of the thread that serves queue `number`.
fn processor_time(number: u16) -> Duration {
    let name = format!("delay-{number}\n");
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|entry| entry.path());
    let mut named = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm == name));
    let stat = std::fs::read_to_string(named.next().unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn root_a_queue_past_its_deadline_does_nothing() {
    if !is_root("root_a_queue_past_its_deadline_does_nothing") {
        return;
    }
    in_own_netns(|| {
        let pair = Pair::new(11);
        let short = profile(Duration::from_millis(20), Duration::ZERO);
        let end = Instant::now() + Duration::from_millis(100);
        let queue = DelayQueue::start_until(11, short, Some(end)).unwrap();
        pair.iptables("-A");
        pair.client.send(&1_u32.to_ne_bytes()).unwrap();
        assert_eq!(pair.receive().unwrap(), 1);
        std::thread::sleep(Duration::from_millis(300));
        let before = processor_time(11);
        std::thread::sleep(Duration::from_millis(500));
        let used = processor_time(11).saturating_sub(before);
        assert!(used < Duration::from_millis(50), "{used:?} in half a second without a packet");
        queue.stop().unwrap();
    });
}

#[test]
fn root_queue_in_use_names_the_holder() {
    if !is_root("root_queue_in_use_names_the_holder") {
        return;
    }
    in_own_netns(|| {
        let queue = DelayQueue::start(9, profile(Duration::ZERO, Duration::ZERO)).unwrap();
        let error = DelayQueue::start(9, profile(Duration::ZERO, Duration::ZERO)).unwrap_err();
        assert!(matches!(error, DelayError::InUse { queue: 9, .. }), "{error}");
        assert!(!error.to_string().contains("unknown"), "{error}");
        queue.stop().unwrap();
        kernel_support().unwrap();
    });
}

/// Not a test by itself: the child of the next one, which holds queue 7 until it is killed.
#[test]
fn root_holder_child() {
    if std::env::var_os(HOLDER_ENV).is_none() {
        return;
    }
    let long = profile(Duration::from_mins(1), Duration::ZERO);
    let _queue = DelayQueue::start(7, long).unwrap();
    println!("holding");
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn root_sigkill_of_the_holder_lets_traffic_pass() {
    if !is_root("root_sigkill_of_the_holder_lets_traffic_pass") {
        return;
    }
    in_own_netns(|| {
        let pair = Pair::new(7);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "net::delay::tests::root_holder_child", "--nocapture"])
            .env(HOLDER_ENV, "1")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let bound = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            !queues_of_this_namespace().is_empty()
        });
        assert!(bound, "the child binds the queue");
        pair.iptables("-A");
        pair.client.send(&0_u32.to_ne_bytes()).unwrap();
        pair.server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(pair.receive().is_err(), "the child holds it");

        child.kill().unwrap();
        let killed = Instant::now();
        child.wait().unwrap();
        pair.server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let passed = (1..100_u32).find(|i| {
            pair.client.send(&i.to_ne_bytes()).unwrap();
            pair.receive().is_ok_and(|n| n == *i)
        });
        let after = killed.elapsed();
        println!("passed with try {passed:?}, {after:?} after SIGKILL");
        assert!(passed.is_some() && after < late_by(Duration::from_millis(500)), "{after:?}");
    });
}
