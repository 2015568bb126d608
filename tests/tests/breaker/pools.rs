//! Connections that guard ends or holds: hanging calls, pools of a service that is sick, connects
//! that wait for an open breaker.

use std::time::Duration;

use testbed::guardd::Guardd;
use testbed::requires;
use testbed::server::{Behaviour, Server};
use testbed::timing::at_most;

use super::rig::{
    LIMIT, RESEARCH, WRITING, agent, breaker_config, breaker_when, calls_are, good_calls, metric,
    start_breakers, state_when, url, waits,
};

fn trip(guardd: &Guardd) {
    guardd.ctl_json(&["breaker", "trip", &format!("{RESEARCH}/api")]).unwrap();
}

fn ended(guardd: &Guardd, reason: &str) -> f64 {
    metric(guardd, "guard_connections_ended_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn a_call_that_hangs_ends_at_its_timeout_and_opens_the_breaker() {
    if !requires::cgroups("a_call_that_hangs_ends_at_its_timeout_and_opens_the_breaker") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let breakers = "failure_threshold = 2\nopen_timeout = \"10m\"";
    let guardd = start_breakers(address, "", breakers, "call_timeout = \"500ms\"");
    server.set(Behaviour::Hang);
    let mut patient = agent(&guardd, WRITING, &url(address), &[]);
    patient.start_call().unwrap();
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    for _ in 0..2 {
        let record = sick.call(LIMIT).unwrap();
        assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("ECONNABORTED", "receive"));
        let late = Duration::from_micros(record.total_us as u64).as_secs_f64() - 0.5;
        assert!((0.0..at_most(Duration::from_millis(150)).as_secs_f64()).contains(&late), "{late}");
    }
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    calls_are(&guardd, RESEARCH, "api", &[("response_timeout", 2), ("rejected", 1)]);
    assert_eq!(ended(&guardd, "call_timeout"), 2.0);
    // The neighbour has no such limit: its call hangs on.
    let hanging = waits(&guardd);
    assert!(hanging.len() == 1 && hanging[0]["bulkhead"] == WRITING, "{hanging:?}");
    drop((patient, sick));
    guardd.finish().unwrap();
}

#[test]
fn an_answer_in_time_is_left_alone() {
    if !requires::cgroups("an_answer_in_time_is_left_alone") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", "call_timeout = \"2s\"");
    // The first byte comes in time; the rest of the answer takes longer than the timeout.
    server.set("answer delay=300ms body=40 chunks=4 chunk-delay=800ms".parse().unwrap());
    let mut slow = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut slow, 1);
    assert_eq!(ended(&guardd, "call_timeout"), 0.0);
    drop(slow);
    guardd.finish().unwrap();
}

#[test]
fn pools_are_kept_or_cut_as_configured() {
    if !requires::cgroups("pools_are_kept_or_cut_as_configured") {
        return;
    }
    let name = format!("{RESEARCH}/api");
    let trip = ["breaker", "trip", &name];
    let force = ["breaker", "mode", &name, "force_open"];
    for (pool, open, idle_lives) in
        [("keep", &trip[..], true), ("cut_idle", &trip, false), ("cut_idle", &force, false)]
    {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let breakers = format!("open_timeout = \"10m\"\nopen_pool = \"{pool}\"");
        let guardd = start_breakers(address, "", &breakers, "");
        let mut pooling = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
        let mut neighbour = agent(&guardd, WRITING, &url(address), &["--keep-alive"]);
        good_calls(&mut pooling, 2);
        good_calls(&mut neighbour, 2);
        // When the command returns, the pool is cut.
        guardd.ctl_json(open).unwrap();
        if idle_lives {
            assert!(good_calls(&mut pooling, 1)[0].reused);
        } else {
            let dead = pooling.call(LIMIT).unwrap();
            assert!(dead.reused && !dead.is_ok(), "{dead:?}");
            assert_eq!(pooling.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
            assert_eq!(ended(&guardd, "open_pool"), 1.0);
        }
        assert!(good_calls(&mut neighbour, 1)[0].reused);
        drop((pooling, neighbour));
        guardd.finish().unwrap();
    }
}

#[test]
fn cut_all_ends_calls_under_way_and_they_are_nobodys_failure() {
    if !requires::cgroups("cut_all_ends_calls_under_way_and_they_are_nobodys_failure") {
        return;
    }
    for (pool, outcome) in [("cut_idle", None), ("cut_all", Some("ECONNABORTED"))] {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let breakers = format!("open_timeout = \"10m\"\nopen_pool = \"{pool}\"");
        let guardd = start_breakers(address, "", &breakers, "");
        server.set(Behaviour::Hang);
        let mut busy = agent(&guardd, RESEARCH, &url(address), &[]);
        busy.start_call().unwrap();
        breaker_when(&guardd, RESEARCH, "the call", |_| waits(&guardd).len() == 1);
        trip(&guardd);
        if let Some(outcome) = outcome {
            assert_eq!(busy.next(LIMIT).unwrap().outcome, outcome);
            calls_are(&guardd, RESEARCH, "api", &[("rejected", 1)]);
        } else {
            assert!(busy.next(Duration::from_millis(500)).is_err(), "it was cut");
            assert_eq!(waits(&guardd).len(), 1);
        }
        drop(busy);
        guardd.finish().unwrap();
    }
}

#[test]
fn a_held_connect_goes_on_when_the_service_is_back() {
    if !requires::cgroups("a_held_connect_goes_on_when_the_service_is_back") {
        return;
    }
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let breakers = "failure_threshold = 2\nopen_timeout = \"1500ms\"\nopen_action = \"hold\"\n\
                    hold_max = \"60s\"";
    let guardd = start_breakers(address, "", breakers, "");
    let mut held = agent(&guardd, RESEARCH, &url(address), &[]);
    server.refuse();
    for _ in 0..2 {
        assert_eq!(held.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    }
    server.listen().unwrap();
    held.start_call().unwrap();
    breaker_when(&guardd, RESEARCH, "a held call", |breaker| breaker["held"] == 1);
    let record = held.next(LIMIT).unwrap();
    assert!(record.is_ok(), "{record:?}");
    let waited = record.connect_us.unwrap() / 1e6;
    assert!(
        waited > 0.5 && waited < 1.5 + at_most(Duration::from_secs(2)).as_secs_f64(),
        "{waited}"
    );
    let closed = state_when(&guardd, RESEARCH, "closed");
    assert_eq!((&closed["probes_succeeded"], &closed["rejected"]), (&1.into(), &0.into()));
    calls_are(&guardd, RESEARCH, "api", &[("refused", 2), ("success", 1)]);
    drop(held);
    guardd.finish().unwrap();
}

#[test]
fn a_connect_is_held_no_longer_than_it_may() {
    if !requires::cgroups("a_connect_is_held_no_longer_than_it_may") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let breakers = "open_timeout = \"10m\"\nopen_action = \"hold\"\nhold_max = \"1s\"";
    let guardd = start_breakers(address, "", breakers, "");
    let mut held = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut held, 1);
    trip(&guardd);
    let accepted = server.counts().connections;
    let record = held.call(LIMIT).unwrap();
    assert_eq!((record.outcome.as_str(), record.phase.as_str()), ("ECONNABORTED", "connect"));
    let late = record.total_us / 1e6 - 1.0;
    assert!((0.0..at_most(Duration::from_millis(400)).as_secs_f64()).contains(&late), "{late}");
    assert_eq!(server.counts().connections, accepted, "no SYN reached it");
    calls_are(&guardd, RESEARCH, "api", &[("success", 1), ("rejected", 1)]);
    assert_eq!(ended(&guardd, "hold_over"), 1.0);
    drop(held);
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_ends_nothing_and_counts() {
    if !requires::cgroups("monitor_mode_ends_nothing_and_counts") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let limits = "call_timeout = \"200ms\"";
    let config = breaker_config(address, "", "open_pool = \"cut_all\"", limits);
    let guardd = Guardd::start(config.daemon("mode", "\"monitor\"")).unwrap();
    let mut calm = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&guardd);
    good_calls(&mut calm, 2);
    let would = |action: &str| {
        metric(&guardd, "guard_would_have_total", &[&format!("action=\"{action}\"")])
    };
    assert_eq!(would("breaker"), 2.0);
    server.set(Behaviour::Hang);
    calm.start_call().unwrap();
    breaker_when(&guardd, RESEARCH, "a call over its time", |_| would("end_connection") == 1.0);
    assert!(calm.next(Duration::from_secs(1)).is_err(), "the call was ended");
    assert_eq!(would("end_connection"), 1.0, "each call counts once");
    drop(calm);
    guardd.finish().unwrap();
}
