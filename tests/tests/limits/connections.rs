//! `max_connections`: who is refused, with what, and who is not.

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;
use testbed::server::Server;

use super::rig::{Probe, RESEARCH, WRITING, breaker_config, metric, pair, start_breakers};
use super::{counted, limit};

#[test]
fn one_too_many_is_refused_and_a_closed_one_makes_room() {
    if !requires::cgroups("one_too_many_is_refused_and_a_closed_one_makes_room") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", "max_connections = 3");
    let (mut probe, mut other) = (Probe::start(&guardd, RESEARCH), Probe::start(&guardd, WRITING));
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
        other.must(&format!("tcp {name} {address}"));
    }
    counted(&guardd, RESEARCH, 3);
    for _ in 0..5 {
        assert_eq!(probe.ask(&format!("tcp d {address}"))["error"], "ECONNREFUSED");
    }
    other.must(&format!("tcp d {address}"));
    // What is open works on.
    probe.must("http a");
    probe.must("close b");
    counted(&guardd, RESEARCH, 2);
    probe.must(&format!("tcp d {address}"));
    assert_eq!(probe.ask(&format!("tcp e {address}"))["error"], "ECONNREFUSED");
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["rejected"]["connections"], 6);
    assert_eq!(pair(&guardd, RESEARCH, "api").call("rejected"), 6);
    assert_eq!(pair(&guardd, WRITING, "api").call("rejected"), 0);
    let labels = ["bulkhead=\"research\"", "destination=\"api\"", "reason=\"connections\""];
    assert_eq!(metric(&guardd, "guard_bulkhead_rejected_total", &labels), 6.0);
    // No failure of the service's: the breaker knows nothing of it.
    let breaker = super::rig::breaker(&guardd, RESEARCH);
    assert_eq!(breaker["state"], "closed", "{breaker}");
    drop((probe, other));
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn a_service_has_limits_of_its_own() {
    if !requires::cgroups("a_service_has_limits_of_its_own") {
        return;
    }
    let (api, rest) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (api, rest_at) = (api.address().unwrap(), rest.address().unwrap());
    let research = "max_connections = 3\n[bulkheads.research.limits]\nerrno = \"ENETUNREACH\"\n\
                    services.api = { max_connections = 1, errno = \"EHOSTUNREACH\" }";
    let guardd = start_breakers(api, "", "", research);
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp a {api}"));
    assert_eq!(probe.ask(&format!("tcp b {api}"))["error"], "EHOSTUNREACH");
    // The place that it had already in the bulkhead is free again.
    counted(&guardd, RESEARCH, 1);
    probe.must(&format!("tcp b {rest_at}"));
    probe.must(&format!("tcp c {rest_at}"));
    assert_eq!(probe.ask(&format!("tcp d {rest_at}"))["error"], "ENETUNREACH");
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["connections"], 1);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn a_reload_changes_limits_and_loses_no_count() {
    if !requires::cgroups("a_reload_changes_limits_and_loses_no_count") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = start_breakers(address, "", "", "");
    let mut probe = Probe::start(&guardd, RESEARCH);
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    let reload = |guardd: &mut Guardd, limit: &str| {
        guardd.set_config(breaker_config(address, "", "", limit)).unwrap();
        guardd.ctl_json(&["reload"]).unwrap()
    };
    // Those that are open stay; the count was right before there was a limit.
    let answer = reload(&mut guardd, "max_connections = 2");
    let changes = answer["changes"].to_string();
    assert!(changes.contains("bulkhead research: max_connections default -> 2"), "{changes}");
    counted(&guardd, RESEARCH, 3);
    probe.must("http a");
    probe.must("close a");
    assert_eq!(probe.ask(&format!("tcp d {address}"))["error"], "ECONNREFUSED");
    probe.must("close b");
    probe.must(&format!("tcp d {address}"));
    reload(&mut guardd, "");
    for name in ["e", "f", "g"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    counted(&guardd, RESEARCH, 5);
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_refuses_nothing_and_counts() {
    if !requires::cgroups("monitor_mode_refuses_nothing_and_counts") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config =
        breaker_config(address, "", "", "max_connections = 1").daemon("mode", "\"monitor\"");
    let guardd = Guardd::start(config).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    counted(&guardd, RESEARCH, 3);
    let api = limit(&guardd, RESEARCH, Some("api"));
    assert_eq!((&api["would_have"], &api["rejected"]), (&2.into(), &serde_json::json!({})));
    assert_eq!(metric(&guardd, "guard_would_have_total", &["action=\"limit\""]), 2.0);
    drop(probe);
    counted(&guardd, RESEARCH, 0);
    guardd.finish().unwrap();
}

#[test]
fn protected_destinations_have_no_limit() {
    if !requires::cgroups("protected_destinations_have_no_limit") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{RESEARCH}]\nmax_connections = 1\n"
    ));
    let guardd = Guardd::start(config.daemon("protected", "[\"127.0.0.0/8\"]")).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    for name in ["a", "b", "c"] {
        probe.must(&format!("tcp {name} {address}"));
    }
    drop(probe);
    guardd.finish().unwrap();
}
