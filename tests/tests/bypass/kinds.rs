//! Kinds of sockets that the connect hooks do not see: refused when they are made, or reported.

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;

use super::rig::{Probe, RESEARCH, events_when, metric};

/// Kinds that are refused: name, family, type, protocol, errno.
const REFUSED: [(&str, u16, u32, u32, &str); 8] = [
    ("raw", 2, 3, 255, "EPERM"),
    ("raw", 2, 3, 1, "EPERM"),
    ("raw", 10, 3, 58, "EPERM"),
    ("udplite", 2, 2, 136, "EPROTONOSUPPORT"),
    ("udplite", 10, 2, 136, "EPROTONOSUPPORT"),
    ("sctp", 2, 1, 132, "EPROTONOSUPPORT"),
    ("sctp", 10, 5, 132, "EPROTONOSUPPORT"),
    ("dccp", 2, 6, 33, "EPROTONOSUPPORT"),
];
/// Kinds that every hook sees: family, type, protocol.
const ALLOWED: [(u16, u32, u32); 8] = [
    (2, 1, 0),
    (10, 1, 6),
    (2, 2, 0),
    (10, 2, 17),
    (2, 1, 262),
    (10, 1, 262),
    (2, 2, 1),
    // Unix: reaches this host alone.
    (1, 1, 0),
];

fn start(mode: &str, keys: &str) -> Guardd {
    let config = GuarddConfig::new(format!("[bulkheads.{RESEARCH}]\n{keys}\n"));
    Guardd::start(config.daemon("mode", &format!("\"{mode}\""))).unwrap()
}

/// A probe in a cgroup that is no bulkhead.
fn outside(guardd: &Guardd) -> Probe {
    let path = guardd.cgroup().path().join("outside");
    std::fs::create_dir_all(&path).unwrap();
    Probe::start(guardd, "outside")
}

fn make(probe: &mut Probe, family: u16, kind: u32, protocol: u32) -> Value {
    probe.ask(&format!("socket s {family} {kind} {protocol}"))["error"].take()
}

fn refused(guardd: &Guardd, kind: &str) -> f64 {
    metric(guardd, "guard_sockets_refused_total", &[&format!("kind=\"{kind}\"")])
}

#[test]
fn kinds_that_hooks_do_not_see_are_refused() {
    if !requires::cgroups("kinds_that_hooks_do_not_see_are_refused") {
        return;
    }
    let guardd = start("enforce", "");
    let (mut inside, mut outside) = (Probe::start(&guardd, RESEARCH), outside(&guardd));
    let mut expected = std::collections::BTreeMap::new();
    for (name, family, kind, protocol, errno) in REFUSED {
        // A kernel without the protocol refuses it by itself, and asks nobody.
        let plain = make(&mut outside, family, kind, protocol);
        let there = plain == Value::Null;
        *expected.entry(name).or_insert(0) += u32::from(there);
        let wanted = if there { errno.into() } else { plain };
        assert_eq!(make(&mut inside, family, kind, protocol), wanted, "{name}, family {family}");
    }
    assert!(expected["raw"] == 3, "{expected:?}");
    for (family, kind, protocol) in ALLOWED {
        let plain = make(&mut outside, family, kind, protocol);
        assert_eq!(make(&mut inside, family, kind, protocol), plain, "{family} {kind} {protocol}");
    }
    for (name, count) in expected {
        assert_eq!(refused(&guardd, name), f64::from(count), "{name}");
    }
    let told = events_when(&guardd, "socket_refused", 3);
    assert_eq!(told[0]["bulkhead"], RESEARCH, "{told:?}");
    let message = told[0]["message"].as_str().unwrap();
    assert!(message.starts_with("socket of kind raw (type 3, protocol 255)"), "{message}");
    drop((inside, outside));
    std::fs::remove_dir(guardd.cgroup().path().join("outside")).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_refuses_no_socket() {
    if !requires::cgroups("monitor_mode_refuses_no_socket") {
        return;
    }
    let guardd = start("monitor", "");
    let mut inside = Probe::start(&guardd, RESEARCH);
    assert_eq!(make(&mut inside, 2, 3, 255), Value::Null);
    let action = ["action=\"refuse_socket\""];
    assert_eq!(metric(&guardd, "guard_would_have_total", &action), 1.0);
    assert_eq!(refused(&guardd, "raw"), 0.0);
    drop(inside);
    guardd.finish().unwrap();
}

#[test]
fn the_list_is_the_configurations() {
    if !requires::cgroups("the_list_is_the_configurations") {
        return;
    }
    let config = |kinds: &str| GuarddConfig::new(format!("[bulkheads.{RESEARCH}]\n{kinds}\n"));
    let mut guardd = start("enforce", "sockets = [\"tcp\", \"raw\"]");
    let mut inside = Probe::start(&guardd, RESEARCH);
    let kinds = |probe: &mut Probe| {
        [(1, 6), (2, 17), (1, 262), (3, 255)].map(|(kind, protocol)| {
            make(probe, 2, kind, protocol).as_str().unwrap_or("ok").to_owned()
        })
    };
    assert_eq!(kinds(&mut inside), ["ok", "EPROTONOSUPPORT", "EPROTONOSUPPORT", "ok"]);
    guardd.set_config(config("")).unwrap();
    let reloaded = guardd.ctl_json(&["reload"]).unwrap();
    let change = "bulkhead research: sockets tcp raw -> tcp udp mptcp ping";
    assert_eq!(reloaded["changes"], serde_json::json!([change]));
    assert_eq!(kinds(&mut inside), ["ok", "ok", "ok", "EPERM"]);
    // A guardd that takes over brings its own list, and what was counted goes on.
    let count = refused(&guardd, "raw");
    guardd.sigkill().unwrap();
    assert_eq!(kinds(&mut inside), ["ok", "ok", "ok", "EPERM"], "without a daemon");
    guardd.set_config(config("sockets = [\"udp\"]")).unwrap();
    guardd.restart().unwrap();
    assert_eq!(kinds(&mut inside)[1..], ["ok", "EPROTONOSUPPORT", "EPERM"]);
    assert!(refused(&guardd, "raw") >= count + 2.0);
    drop(inside);
    guardd.finish().unwrap();
}

/// The hook is asked about IPv4 and IPv6 alone: these are reported.
#[test]
fn families_that_no_hook_sees_are_reported() {
    if !requires::cgroups("families_that_no_hook_sees_are_reported") {
        return;
    }
    let guardd = start("enforce", "");
    let mut inside = Probe::start(&guardd, RESEARCH);
    let mut expected = vec![];
    for (name, family, kind) in [("packet", 17, 3), ("vsock", 40, 1)] {
        if inside.ask(&format!("socket {name} {family} {kind} 0"))["error"] == Value::Null {
            expected.push(name);
        }
    }
    assert!(expected.contains(&"packet"), "{expected:?}");
    let found = super::descriptors::unguarded(&guardd, RESEARCH, expected.len());
    for name in expected {
        let mut named = found.iter().filter(|socket| socket["kind"] == name);
        let socket = named.next().unwrap_or_else(|| panic!("no {name} socket in {found:?}"));
        assert_eq!(socket["reason"], "unseen_kind", "{socket}");
        assert_eq!(socket["process"], "testbed-probe", "{socket}");
        inside.must(&format!("close {name}"));
    }
    super::descriptors::unguarded(&guardd, RESEARCH, 0);
    drop(inside);
    guardd.finish().unwrap();
}
