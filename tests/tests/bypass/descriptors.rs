//! Sockets that come into a bulkhead from elsewhere, or leave it: a socket keeps the cgroup of its
//! creator for life, so that none of these can be closed. All are reported.

use std::io::IoSlice;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::Value;
use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{requires, wait};

use super::rig::{LIMIT, Probe, RESEARCH, WRITING, events_when, metric, start};

/// What `status` says of sockets of a bulkhead that escape guard, once there are so many.
pub(super) fn unguarded(guardd: &Guardd, bulkhead: &str, count: usize) -> Vec<Value> {
    let mut last = Vec::new();
    let came = wait::until("unguarded sockets", LIMIT, || {
        let status = guardd.ctl_json(&["status"]).unwrap();
        let bulkheads = status["bulkheads"].as_array().unwrap();
        let found = bulkheads.iter().find(|b| b["name"] == bulkhead).unwrap();
        last = found["unguarded"].as_array().cloned().unwrap_or_default();
        last.len() == count
    });
    assert!(came.is_ok(), "{count} sockets were to be found in {bulkhead}: {last:?}");
    last
}

fn count(guardd: &Guardd, bulkhead: &str, reason: &str) -> f64 {
    let labels = [format!("bulkhead=\"{bulkhead}\""), format!("reason=\"{reason}\"")];
    metric(guardd, "guard_unguarded_sockets", &[&labels[0], &labels[1]])
}

/// What `doctor` says of sockets.
fn doctor(guardd: &Guardd) -> Vec<String> {
    let answer: Value =
        serde_json::from_str(&guardd.ctl(&["--json", "doctor"]).unwrap().stdout).unwrap();
    let checks = answer["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["name"] == "sockets")
        .map(|check| format!("{} {}", check["result"].as_str().unwrap(), check["found"]))
        .collect()
}

#[test]
fn a_descriptor_that_was_handed_over_is_reported() {
    if !requires::cgroups("a_descriptor_that_was_handed_over_is_reported") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    let mut inside = Probe::start(&guardd, RESEARCH);
    // One of its own is guarded.
    inside.must(&format!("tcp own {address}"));
    unguarded(&guardd, RESEARCH, 0);
    assert_eq!(doctor(&guardd).len(), 1);
    let path = guardd.directory().join("handed");
    let handed = TcpStream::connect(address).unwrap();
    let text = path.display().to_string();
    let sender = std::thread::spawn(move || {
        wait::until("the probe listens", LIMIT, || path.exists()).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        let rights = [handed.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let byte = [IoSlice::new(b"x")];
        sendmsg::<()>(stream.as_raw_fd(), &byte, &control, MsgFlags::empty(), None).unwrap();
    });
    inside.must(&format!("receive handed {text}"));
    sender.join().unwrap();
    let found = unguarded(&guardd, RESEARCH, 1).remove(0);
    assert_eq!(found["reason"], "made_outside", "{found}");
    assert_eq!((&found["kind"], &found["process"]), (&"tcp".into(), &"testbed-probe".into()));
    assert_eq!(found["peer"], address.to_string(), "{found}");
    assert_eq!(count(&guardd, RESEARCH, "made_outside"), 1.0);
    assert_eq!(count(&guardd, WRITING, "made_outside"), 0.0);
    let doctor = doctor(&guardd);
    assert!(doctor[0].contains(&format!("holds a tcp socket to {address}")), "{doctor:?}");
    let page = guardd.ctl(&["status"]).unwrap().stdout;
    let words: Vec<_> = page.split_whitespace().collect();
    assert!(words.join(" ").contains("made outside the bulkhead"), "{page}");
    let told = events_when(&guardd, "unguarded_socket", 1);
    assert_eq!(told[0]["bulkhead"], RESEARCH, "{told:?}");
    inside.must("close handed");
    unguarded(&guardd, RESEARCH, 0);
    drop(inside);
    guardd.finish().unwrap();
}

#[test]
fn a_socket_made_before_joining_is_reported() {
    if !requires::cgroups("a_socket_made_before_joining_is_reported") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    let outside = guardd.cgroup().path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let mut probe = Probe::start(&guardd, "outside");
    probe.must(&format!("tcp before {address}"));
    probe.must("udp before-too 127.0.0.1:0");
    unguarded(&guardd, RESEARCH, 0);
    let pid = probe.pid().to_string();
    guardd.ctl_json(&["move", RESEARCH, &pid]).unwrap();
    probe.must(&format!("tcp after {address}"));
    let found = unguarded(&guardd, RESEARCH, 2);
    assert!(found.iter().all(|socket| socket["reason"] == "made_outside"), "{found:?}");
    assert!(found.iter().all(|socket| socket["pid"] == probe.pid()), "{found:?}");
    // Into another bulkhead: what it made in this one follows this one's rules.
    guardd.ctl_json(&["move", WRITING, &pid]).unwrap();
    let found = unguarded(&guardd, WRITING, 3);
    let other = found.iter().filter(|socket| socket["reason"] == "other_bulkhead").count();
    assert_eq!(other, 1, "{found:?}");
    drop(probe);
    std::fs::remove_dir(outside).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn a_process_that_left_is_reported() {
    if !requires::cgroups("a_process_that_left_is_reported") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(&[("api", &[address])]);
    let outside = guardd.cgroup().path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp own {address}"));
    unguarded(&guardd, RESEARCH, 0);
    let pid = probe.pid().to_string();
    std::fs::write(outside.join("cgroup.procs"), &pid).unwrap();
    let found = unguarded(&guardd, RESEARCH, 1).remove(0);
    assert_eq!(found["reason"], "process_left", "{found}");
    assert_eq!(found["pid"].to_string(), pid);
    assert_eq!(count(&guardd, RESEARCH, "process_left"), 1.0);
    let doctor = doctor(&guardd);
    assert!(doctor[0].contains("has left it"), "{doctor:?}");
    drop(probe);
    std::fs::remove_dir(outside).unwrap();
    guardd.finish().unwrap();
}
