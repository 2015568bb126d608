//! Loss: the share asked for, counted to the packet, the same again with the same seed, and in
//! silence.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;
use testbed::guardd::Guardd;
use testbed::{requires, stats, wait};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, Probe, RESEARCH, agent, calls_are, clear, counters, inject, pair, start, url,
};

/// Datagrams each way. In pieces that fit into a socket's buffer, so that only faults lose any.
const DATAGRAMS: u32 = 2000;
const PIECE: u32 = 200;
const QUIET_MS: u32 = 20;
/// Standard deviations of 99.9 %.
const Z: f64 = 3.29;

/// Which numbered datagrams arrived, of those sent one way.
type Arrived = Vec<u32>;

/// One run over a socket of its own, with nothing else going on.
fn run(guardd: &Guardd, effect: &str) -> (Arrived, Arrived) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(QUIET_MS.into()))).unwrap();
    let mut probe = Probe::start(guardd, RESEARCH);
    let probe_at = probe.udp("flow", "127.0.0.1:0");
    let server_at = server.local_addr().unwrap();
    let before = pair(guardd, RESEARCH, "other");
    let fault = inject(guardd, RESEARCH, &format!("--service other --for 120s {effect}"));
    let lost = |arrived: &[u32], sent: u32| u64::from(sent) - arrived.len() as u64;

    let mut there = Vec::new();
    let mut buffer = [0; 100];
    for piece in 1..=DATAGRAMS / PIECE {
        // Lost in silence: every single send succeeds.
        let reply = probe.must(&format!("volley flow {PIECE} {server_at}"));
        assert_eq!((&reply["errors"], &reply["sent"]), (&json!({}), &json!(64 * PIECE)));
        wait::until("the last of a piece", LIMIT, || {
            while let Ok(length) = server.recv(&mut buffer) {
                assert_eq!(length, 64);
                there.push(u32::from_be_bytes(*buffer.first_chunk().unwrap()));
            }
            counters(guardd, &fault, "dropped") == lost(&there, piece * PIECE)
        })
        .unwrap();
    }
    let dropped_there = counters(guardd, &fault, "dropped");
    let mut back = Vec::new();
    let mut datagram = [b'y'; 32];
    for piece in 0..DATAGRAMS / PIECE {
        for number in piece * PIECE..(piece + 1) * PIECE {
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            server.send_to(&datagram, probe_at).unwrap();
        }
        wait::until("the last of a piece", LIMIT, || {
            back.extend(probe.drain("flow", PIECE as usize, QUIET_MS));
            let dropped = counters(guardd, &fault, "dropped") - dropped_there;
            dropped == lost(&back, (piece + 1) * PIECE)
        })
        .unwrap();
    }
    let ended = clear(guardd, &fault);
    let dropped = lost(&there, DATAGRAMS) + lost(&back, DATAGRAMS);
    assert_eq!(ended["counters"]["matched"], 2 * DATAGRAMS);
    assert_eq!(ended["counters"]["dropped"], dropped);
    // What was lost did not move.
    let after = pair(guardd, RESEARCH, "other");
    assert_eq!(after.faulted - before.faulted, dropped);
    assert_eq!(after.sent_bytes - before.sent_bytes, 64 * there.len() as u64);
    assert_eq!(after.received_bytes - before.received_bytes, 32 * back.len() as u64);
    (there, back)
}

#[test]
fn share_count_and_sequence_of_datagrams() {
    if !requires::cgroups("share_count_and_sequence_of_datagrams") {
        return;
    }
    let quiet = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &quiet.addresses)]);
    let mut bystander = Bystander::new(&guardd, quiet.addresses[0]);
    bystander.calls();
    let (there, back) = run(&guardd, "--loss 20% --seed 42");
    for (way, arrived) in [("there", &there), ("back", &back)] {
        let lost = u64::from(DATAGRAMS) - arrived.len() as u64;
        let (low, high) = stats::wilson(lost, DATAGRAMS.into(), Z);
        assert!(low <= 0.2 && 0.2 <= high, "{way}: {lost} of {DATAGRAMS} lost");
        assert!(arrived.is_sorted(), "{way}: loss does not reorder");
    }
    bystander.calls();
    let again = run(&guardd, "--loss 20% --seed 42");
    assert_eq!(again, (there.clone(), back.clone()), "the same seed loses the same ones");
    let (other_there, other_back) = run(&guardd, "--loss 20% --seed 43");
    assert_ne!(other_there, there);
    assert_ne!(other_back, back);
    bystander.end(&guardd, "api");
}

#[test]
fn datagrams_in_bursts() {
    if !requires::cgroups("datagrams_in_bursts") {
        return;
    }
    let quiet = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &quiet.addresses)]);
    let bystander = Bystander::new(&guardd, quiet.addresses[0]);
    let effect = "--loss 20% --burst 5 --seed 42";
    let (there, back) = run(&guardd, effect);
    for (way, arrived) in [("there", &there), ("back", &back)] {
        let ends = arrived.iter().copied().chain([DATAGRAMS]);
        let starts = [0].into_iter().chain(arrived.iter().map(|number| number + 1));
        let gaps: Vec<u32> = starts.zip(ends).map(|(from, to)| to - from).collect();
        let bursts: Vec<f64> =
            gaps.iter().filter(|gap| **gap > 0).map(|gap| f64::from(*gap)).collect();
        let lost: f64 = bursts.iter().sum();
        let (share, mean) = (lost / f64::from(DATAGRAMS), lost / bursts.len() as f64);
        // Neighbours are alike (0.75), which spreads the share 2.65 times as much; a burst's length
        // has a standard deviation of sqrt(5 x 4), and there are about 80.
        assert!((share - 0.2).abs() < Z * 2.65 * 0.009, "{way}: {share} lost");
        assert!((mean - 5.0).abs() < Z * 0.5, "{way}: bursts of {mean}: {bursts:?}");
    }
    assert_eq!(run(&guardd, effect), (there, back), "the same seed loses the same ones");
    bystander.end(&guardd, "api");
}

#[test]
fn everything_lost() {
    if !requires::cgroups("everything_lost") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let target = url(server.addresses[0]);
    let patience = ["--keep-alive", "--timeout", "500ms", "--connect-timeout", "1200ms"];
    let mut kept = agent(&guardd, RESEARCH, &target, &patience);
    assert!(kept.call(LIMIT).unwrap().is_ok());
    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --loss 100%");
    let hung = kept.call(LIMIT).unwrap();
    assert_eq!((hung.outcome.as_str(), hung.phase.as_str()), ("timeout", "receive"));
    let void = kept.call(LIMIT).unwrap();
    assert_eq!((void.outcome.as_str(), void.phase.as_str()), ("timeout", "connect"));
    bystander.calls();
    // The kept one of either bulkhead, and the bystander's five new ones.
    assert_eq!(server.connections(), 2 + 5, "the lost connect never reached it");
    let calls = [("success", 1), ("aborted", 1), ("connect_timeout", 1)];
    let seen = calls_are(&guardd, RESEARCH, "api", &calls);
    let injected: Vec<_> = seen.calls_injected.iter().map(|(o, n)| (o.as_str(), *n)).collect();
    assert_eq!(injected, [("aborted", 1), ("connect_timeout", 1)]);
    // What TCP sends again in vain goes on being dropped, until the fault ends.
    let ended = clear(&guardd, &fault);
    assert!(seen.faulted > 0);
    assert_eq!(ended["counters"]["dropped"], pair(&guardd, RESEARCH, "api").faulted);
    assert_eq!(ended["counters"]["dropped"], ended["counters"]["matched"]);
    assert!(kept.call(LIMIT).unwrap().is_ok());
    bystander.end(&guardd, "api");
}
