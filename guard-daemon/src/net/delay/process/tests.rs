//! The engine process against the real kernel, in network namespaces of the tests' own. It is the
//! test binary itself, as guardd's is guardd.

use std::fs::read_to_string;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid as NixPid;

use super::super::tests::{Pair, added_delays, profile, queues_of_this_namespace};
use super::running::ANSWER_LIMIT;
use super::*;
use crate::kernel::boottime_ns;
use crate::net::testing::{in_own_netns, is_root};

const ENGINE_ENV: &str = "GUARD_TEST_IS_ENGINE";
const LEASE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_mins(1);

/// Not a test by itself: the engine process of the others. It is not the main thread here, so that
/// signals to the process end it; what it does with them is tested with guardd.
#[test]
fn root_engine_child() {
    if std::env::var_os(ENGINE_ENV).is_some() {
        run().unwrap();
    }
}

fn engine() -> DelayProcess {
    DelayProcess::with_command(|| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "net::delay::process::tests::root_engine_child"]);
        command.arg("--nocapture").env(ENGINE_ENV, "1");
        command
    })
}

fn shell(script: &'static str) -> DelayProcess {
    let mut process = DelayProcess::with_command(|| Command::new("sh"));
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    process.running = Some(Running::spawn(command).unwrap());
    process
}

fn in_ns(time: Duration) -> u64 {
    boottime_ns() + time.as_nanos() as u64
}

/// Delays queue 7 by a minute.
fn start(process: &mut DelayProcess) -> Pair {
    let long = profile(LONG, Duration::ZERO);
    process.start([7], long, in_ns(LONG), in_ns(LEASE)).unwrap();
    let pair = Pair::new(7);
    pair.iptables("-A");
    pair
}

fn pid(process: &DelayProcess) -> NixPid {
    NixPid::from_raw(process.running.as_ref().unwrap().pid() as i32)
}

fn path(pid: NixPid, of: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(of)
}

fn send_numbers(pair: &Pair, range: std::ops::Range<u32>) {
    for i in range {
        pair.client.send(&i.to_ne_bytes()).unwrap();
    }
}

fn expect(pair: &Pair, range: std::ops::Range<u32>) {
    pair.server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    for i in range {
        assert_eq!(pair.receive().expect("let go"), i);
    }
}

fn expect_in_any_order(pair: &Pair, range: std::ops::Range<u32>) {
    pair.server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut all: Vec<u32> = range.clone().map(|_| pair.receive().expect("let go")).collect();
    all.sort_unstable();
    assert_eq!(all, range.collect::<Vec<_>>());
}

fn expect_nothing(pair: &Pair) {
    pair.server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(pair.receive().is_err(), "held, not passed");
}

/// Renews as guardd does, until something has failed.
fn renew_until_failed(process: &mut DelayProcess) -> (Vec<(u16, String)>, Duration) {
    let from = Instant::now();
    loop {
        let failed = process.renew(in_ns(LEASE), PATIENCE);
        if !failed.is_empty() {
            return (failed, from.elapsed());
        }
        assert!(from.elapsed() < LONG, "never noticed");
        std::thread::sleep(PATIENCE / 2);
    }
}

#[test]
fn root_a_lease_that_is_over_lets_everything_go_until_it_is_renewed() {
    if !is_root("root_a_lease_that_is_over_lets_everything_go_until_it_is_renewed") {
        return;
    }
    in_own_netns(|| {
        let mut process = engine();
        let pair = start(&mut process);
        for _ in 0..4 {
            std::thread::sleep(LEASE / 4);
            assert_eq!(process.renew(in_ns(LEASE), PATIENCE), []);
        }
        let renewed = Instant::now();
        send_numbers(&pair, 0..100);
        expect_nothing(&pair);
        expect(&pair, 0..100);
        let after = renewed.elapsed();
        println!("let go {after:?} after the last renewal, lease {LEASE:?}");
        let early = LEASE * 19 / 20;
        assert!(after > early && after < LEASE * 2, "{after:?}");
        send_numbers(&pair, 100..110);
        // While the engine turns from holding to passing on, one may overtake another (seen once).
        expect_in_any_order(&pair, 100..110);
        // We were away for longer than our patience: that is nothing to blame the engine for.
        assert_eq!(process.renew(in_ns(LEASE), PATIENCE), []);
        std::thread::sleep(Duration::from_millis(50));
        send_numbers(&pair, 110..120);
        expect_nothing(&pair);
        assert_eq!(process.renew(in_ns(LEASE), PATIENCE), []);
        let engine = pid(&process);
        let stats = process.stop(7).unwrap().unwrap();
        assert_eq!((stats.held, stats.overruns), (0, 0), "{stats:?}");
        expect(&pair, 110..120);
        assert!(!path(engine, "").exists(), "ended with its last queue");
        assert_eq!(queues_of_this_namespace(), "");
    });
}

#[test]
fn root_a_stopped_engine_is_ended_and_traffic_passes() {
    if !is_root("root_a_stopped_engine_is_ended_and_traffic_passes") {
        return;
    }
    in_own_netns(|| {
        let mut process = engine();
        let pair = start(&mut process);
        send_numbers(&pair, 0..100);
        expect_nothing(&pair);
        let engine = pid(&process);
        kill(engine, Signal::SIGSTOP).unwrap();
        let (failed, after) = renew_until_failed(&mut process);
        println!("{after:?}: {failed:?}");
        assert!(
            matches!(&failed[..], [(7, why)] if why.contains("has not answered")),
            "{failed:?}"
        );
        assert!(after >= PATIENCE && after < PATIENCE * 4, "{after:?}");
        assert!(!path(engine, "").exists());
        // What was held is let go or dropped: a matter of luck here.
        pair.server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while pair.receive().is_ok() {}
        send_numbers(&pair, 100..110);
        expect(&pair, 100..110);
        assert_eq!(process.stop(7).unwrap(), None);
        assert_eq!(process.renew(in_ns(LEASE), PATIENCE), [], "told until it is stopped");
        // And another one may be started.
        process.start([7], profile(LONG, Duration::ZERO), in_ns(LONG), in_ns(LEASE)).unwrap();
    });
}

#[test]
fn root_a_killed_engine_is_noticed_and_traffic_passes() {
    if !is_root("root_a_killed_engine_is_noticed_and_traffic_passes") {
        return;
    }
    in_own_netns(|| {
        let mut process = engine();
        let pair = start(&mut process);
        process.start([8], profile(LONG, Duration::ZERO), in_ns(LONG), in_ns(LEASE)).unwrap();
        kill(pid(&process), Signal::SIGKILL).unwrap();
        let (failed, _) = renew_until_failed(&mut process);
        assert_eq!(failed.iter().map(|(queue, _)| *queue).collect::<Vec<_>>(), [7, 8]);
        assert!(failed[0].1.contains("ended by itself") && failed[0].1.contains("SIGKILL"));
        send_numbers(&pair, 0..10);
        expect(&pair, 0..10);
        assert_eq!(queues_of_this_namespace(), "");
    });
}

/// As when guardd dies.
#[test]
fn root_the_end_of_guardd_ends_the_process_and_loses_nothing() {
    if !is_root("root_the_end_of_guardd_ends_the_process_and_loses_nothing") {
        return;
    }
    in_own_netns(|| {
        let mut process = engine();
        let pair = start(&mut process);
        send_numbers(&pair, 0..100);
        expect_nothing(&pair);
        let engine = pid(&process);
        drop(process);
        assert!(!path(engine, "").exists());
        expect(&pair, 0..100);
        send_numbers(&pair, 100..110);
        expect(&pair, 100..110);
        assert_eq!(queues_of_this_namespace(), "");
    });
}

#[test]
fn root_the_process_delays_as_exactly_while_it_is_renewed() {
    if !is_root("root_the_process_delays_as_exactly_while_it_is_renewed") {
        return;
    }
    in_own_netns(|| {
        added_delays(&[(1, 200), (10, 60), (100, 11), (1000, 1)], |profile| {
            let mut process = engine();
            process.start([7], profile, in_ns(LONG), in_ns(LEASE)).unwrap();
            let stopped = std::sync::Arc::new(AtomicBool::new(false));
            let stop = std::sync::Arc::clone(&stopped);
            let renewing = std::thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    assert_eq!(process.renew(in_ns(LEASE), PATIENCE), []);
                    std::thread::sleep(PATIENCE / 2);
                }
                process.stop(7).unwrap().unwrap()
            });
            move || {
                stop.store(true, Ordering::Relaxed);
                renewing.join().unwrap()
            }
        });
    });
}

#[test]
fn root_a_queue_that_is_taken_is_refused_and_named() {
    if !is_root("root_a_queue_that_is_taken_is_refused_and_named") {
        return;
    }
    in_own_netns(|| {
        let holder = super::super::DelayQueue::start(9, profile(LONG, Duration::ZERO)).unwrap();
        let mut process = engine();
        let long = profile(LONG, Duration::ZERO);
        let error = process.start([9], long, in_ns(LONG), in_ns(LEASE)).unwrap_err();
        assert!(matches!(&error, DelayError::Refused(why) if why.contains("in use")), "{error}");
        assert!(process.running.is_none(), "not kept without a queue");
        let number = process.start([9, 10, 11], long, in_ns(LONG), in_ns(LEASE)).unwrap();
        assert_eq!(number, 10, "the first that is free");
        let error = process.start([10], long, in_ns(LONG), in_ns(LEASE)).unwrap_err();
        assert!(error.to_string().contains("runs already"), "{error}");
        assert_eq!(process.stop(10).unwrap().unwrap().released, 0);
        holder.stop().unwrap();
    });
}

/// Neither a file that is not closed at an exec nor a right: nothing but what it needs.
#[test]
fn root_the_process_keeps_nothing_of_its_parent() {
    if !is_root("root_the_process_keeps_nothing_of_its_parent") {
        return;
    }
    in_own_netns(|| {
        let leaky = std::fs::File::open("/proc/version").unwrap();
        fcntl(&leaky, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut process = engine();
        let _pair = start(&mut process);
        let engine = pid(&process);
        let mut kinds: Vec<String> = std::fs::read_dir(path(engine, "fd"))
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.unwrap();
                let number: i32 = entry.file_name().to_str()?.parse().ok()?;
                let target = std::fs::read_link(entry.path()).ok()?;
                let target = target.to_string_lossy().into_owned();
                (number >= 3).then(|| target.split('[').next().unwrap().to_owned())
            })
            .collect();
        kinds.sort();
        println!("{kinds:?}");
        // signalfd, timerfd, eventfd of the queue; its netlink socket, the socket to us.
        assert_eq!(kinds, ["anon_inode:", "anon_inode:", "anon_inode:", "socket:", "socket:"]);
        // The thread gives itself its name.
        let queue = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let tasks = std::fs::read_dir(path(engine, "task")).unwrap();
            let named = |task: &PathBuf| read_to_string(task.join("comm")).unwrap() == "delay-7\n";
            tasks.map(|task| task.unwrap().path()).find(named)
        });
        let status = read_to_string(queue.unwrap().join("status")).unwrap();
        for line in ["CapEff:\t0000000000001000", "CapPrm:\t0000000000001000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let stat = read_to_string(path(engine, "stat")).unwrap();
        let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
        assert_eq!(session, engine.to_string(), "a session of its own");
    });
}

#[test]
fn root_an_engine_that_is_told_nonsense_works_on() {
    if !is_root("root_an_engine_that_is_told_nonsense_works_on") {
        return;
    }
    in_own_netns(|| {
        let mut process = engine();
        let pair = start(&mut process);
        send_numbers(&pair, 0..10);
        let socket = process.running.as_ref().unwrap().link.as_fd().as_raw_fd();
        for text in [&b"{\"start\":{}}"[..], b"\xff\x00", &vec![b'x'; 30_000]] {
            send(socket, text, MsgFlags::MSG_DONTWAIT).unwrap();
        }
        let absurd = profile(Duration::from_nanos(u64::MAX), Duration::from_nanos(u64::MAX));
        process.start([8], absurd, u64::MAX, u64::MAX).unwrap();
        assert_eq!(process.renew(u64::MAX, PATIENCE), []);
        expect_nothing(&pair);
        assert!(process.stop(7).unwrap().is_some());
        expect(&pair, 0..10);
        assert!(process.stop(8).unwrap().is_some());
    });
}

#[test]
fn engines_that_do_not_work_are_told_apart() {
    let order = |mut process: DelayProcess| {
        let long = profile(LONG, Duration::ZERO);
        let from = Instant::now();
        let error = process.start([7], long, in_ns(LONG), in_ns(LEASE)).unwrap_err();
        assert!(process.running.is_none(), "{error}");
        (error.to_string(), from.elapsed())
    };
    let (error, _) = order(shell("exit 3"));
    assert!(error.contains("ended by itself") && error.contains("exit status: 3"), "{error}");
    let (error, _) = order(shell("echo nonsense >&0; exec sleep 600"));
    assert!(error.contains("makes no sense") && error.contains("nonsense"), "{error}");
    let (error, _) = order(shell("echo '{\"started\":{\"queue\":6}}' >&0; exec sleep 600"));
    assert!(error.contains("what was not asked"), "{error}");
    let (error, after) = order(shell("trap '' TERM; while :; do sleep 0.1; done"));
    assert!(error.contains("not answered for 2s") && error.contains("has killed it"), "{error}");
    assert!(after >= ANSWER_LIMIT && after < ANSWER_LIMIT * 3, "{after:?}");
    let (error, _) = order(DelayProcess::with_command(|| Command::new("/nonexistent")));
    assert!(error.contains("starting it"), "{error}");
}
