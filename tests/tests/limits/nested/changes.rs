//! Counts are exact, whatever a restart or a reload changes meanwhile.

use testbed::guardd::Guardd;
use testbed::requires;
use testbed::server::Server;

use super::{INNER, alone, config, owns_nothing, start};
use crate::counted;
use crate::rig::{Probe, RESEARCH, WRITING, calls_are, pair, pair_when};

#[test]
fn a_restart_takes_nested_counts_over() {
    if !requires::cgroups("a_restart_takes_nested_counts_over") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = start(address, "", "max_connections = 4", "");
    let mut inside = Probe::start(&guardd, INNER);
    let mut outside = Probe::start(&guardd, RESEARCH);
    for name in ["a", "b"] {
        inside.must(&format!("tcp {name} {address}"));
        outside.must(&format!("tcp {name} {address}"));
    }
    guardd.sigkill().unwrap();
    // Without a daemon, too.
    assert_eq!(inside.ask(&format!("tcp c {address}"))["error"], "ECONNREFUSED");
    inside.must("close a");
    guardd.restart().unwrap();
    counted(&guardd, RESEARCH, 3);
    counted(&guardd, WRITING, 1);
    inside.must("http b");
    inside.must(&format!("tcp c {address}"));
    assert_eq!(inside.ask(&format!("tcp d {address}"))["error"], "ECONNREFUSED");
    outside.must("http a");
    let inner = pair(&guardd, WRITING, "api");
    assert_eq!((inner.call("success"), inner.call("rejected")), (1, 2), "{inner:?}");
    let outer = pair(&guardd, RESEARCH, "api");
    assert_eq!((outer.call("success"), outer.call("rejected"), outer.connects), (1, 0, 2));
    drop((inside, outside));
    counted(&guardd, RESEARCH, 0);
    counted(&guardd, WRITING, 0);
    // A clean stop forgets all; what is older than guardd is taken in at its first packet, for both.
    let mut inside = Probe::start(&guardd, INNER);
    guardd.stop().unwrap();
    inside.must(&format!("tcp old {address}"));
    guardd.restart().unwrap();
    inside.must("http old");
    counted(&guardd, WRITING, 1);
    counted(&guardd, RESEARCH, 1);
    owns_nothing(&guardd, RESEARCH);
    drop(inside);
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn a_reload_that_adds_and_removes_an_inner_bulkhead_keeps_the_counts() {
    if !requires::cgroups("a_reload_that_adds_and_removes_an_inner_bulkhead_keeps_the_counts") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let outer = "max_connections = 5";
    let mut guardd = Guardd::start(alone(address, outer)).unwrap();
    std::fs::create_dir(guardd.bulkhead(INNER)).unwrap();
    let mut probe = Probe::start(&guardd, INNER);
    probe.must(&format!("tcp a {address}"));
    probe.must(&format!("tcp b {address}"));
    probe.must("http a");
    calls_are(&guardd, RESEARCH, "api", &[("success", 1)]);
    // What was open stays with the outer; what comes is the inner's.
    guardd.set_config(config(address, "", outer, "")).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    probe.must("http a");
    probe.must(&format!("tcp c {address}"));
    probe.must(&format!("tcp d {address}"));
    probe.must("http c");
    calls_are(&guardd, RESEARCH, "api", &[("success", 2)]);
    calls_are(&guardd, WRITING, "api", &[("success", 1)]);
    counted(&guardd, RESEARCH, 4);
    counted(&guardd, WRITING, 2);
    probe.must("close a");
    probe.must("close d");
    counted(&guardd, RESEARCH, 2);
    counted(&guardd, WRITING, 1);
    // The inner goes: its connection becomes the outer's, where it counts already.
    guardd.set_config(alone(address, outer)).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    counted(&guardd, RESEARCH, 2);
    probe.must("http c");
    let before = calls_are(&guardd, RESEARCH, "api", &[("success", 3)]);
    assert_eq!(before.connections, 2, "{before:?}");
    counted(&guardd, RESEARCH, 2);
    probe.must("close c");
    probe.must("close b");
    counted(&guardd, RESEARCH, 0);
    pair_when(&guardd, RESEARCH, "api", "the ends", |p| p.connections == 0);
    // One that ends without another packet, and one that ends while nobody is around it.
    guardd.set_config(config(address, "", outer, "")).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    for name in ["e", "f"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    counted(&guardd, WRITING, 2);
    guardd.set_config(alone(address, outer)).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    drop(probe);
    counted(&guardd, RESEARCH, 0);
    std::fs::remove_dir(guardd.bulkhead(INNER)).unwrap();
    guardd.finish().unwrap();
}
