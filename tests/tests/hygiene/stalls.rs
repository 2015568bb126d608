//! Silence: reported, and never ended.

use std::thread;
use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;
use testbed::server::Server;

use crate::rig::{
    LIMIT, RESEARCH, WRITING, agent, calls_are, events, events_when, good_calls, metric, url, waits,
};

#[test]
fn a_silent_call_is_reported_once_and_goes_on() {
    if !requires::cgroups("a_silent_call_is_reported_once_and_goes_on") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\nstall_warn = \"500ms\"\n\
         [bulkheads.{RESEARCH}]\n[bulkheads.{WRITING}]\nstall_warn = \"1h\"\n"
    )))
    .unwrap();
    server.set("answer delay=3s".parse().unwrap());
    let mut calls =
        [RESEARCH, WRITING].map(|b| agent(&guardd, b, &url(address), &["--keep-alive"]));
    for call in &mut calls {
        call.start_call().unwrap();
    }
    let stalled = events_when(&guardd, "call_stalled", 1);
    let event = &stalled[0];
    assert_eq!(
        (&event["bulkhead"], &event["service"]),
        (&RESEARCH.into(), &"api".into()),
        "{event}"
    );
    assert_eq!(event["pid"], calls[0].pid(), "{event}");
    let seconds = event["seconds"].as_f64().unwrap();
    assert!((0.5..1.5).contains(&seconds), "{event}");
    let waiting = waits(&guardd);
    let is_stalled = |bulkhead: &str| {
        let wait = waiting.iter().find(|wait| wait["bulkhead"] == bulkhead).unwrap();
        (wait["state"].clone(), wait["stalled"].clone())
    };
    assert_eq!(is_stalled(RESEARCH), ("first_byte".into(), true.into()), "{waiting:?}");
    assert_eq!(is_stalled(WRITING), ("first_byte".into(), false.into()), "{waiting:?}");
    for call in &mut calls {
        assert!(call.next(LIMIT).unwrap().is_ok());
    }
    // Once for each call, however long it takes, and again for the next.
    assert_eq!(events(&guardd, "call_stalled").len(), 1);
    assert!(calls[0].call(LIMIT).unwrap().is_ok());
    assert_eq!(events_when(&guardd, "call_stalled", 2).len(), 2);
    let labels = [r#"bulkhead="research""#, r#"destination="api""#];
    assert_eq!(metric(&guardd, "guard_stalled_calls_total", &labels), 2.0);
    assert_eq!(metric(&guardd, "guard_connections_ended_total", &[]), 0.0);
    calls_are(&guardd, RESEARCH, "api", &[("success", 2)]);
    drop(calls);
    guardd.finish().unwrap();
}

/// A silence many times longer than all that proves death, shortened to what a test may take: the
/// peer's host answers the kernel's questions, so the call lives.
#[test]
fn a_silent_peer_that_is_alive_outlives_every_limit() {
    if !requires::cgroups("a_silent_peer_that_is_alive_outlives_every_limit") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\nstall_warn = \"200ms\"\n\
         hygiene = {{ keepalive = \"1s\", keepalive_interval = \"1s\", keepalive_probes = 1, \
         user_timeout = \"2s\", peer_closed = \"1s\", peer_closed_busy = \"1s\" }}\n\
         [bulkheads.{RESEARCH}]\n"
    )))
    .unwrap();
    // Silent before the answer, in the middle of it, and after it.
    server.set("answer delay=7s body=40 chunks=2 chunk-delay=7s".parse().unwrap());
    let mut patient = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    good_calls(&mut patient, 1);
    server.set("answer".parse().unwrap());
    thread::sleep(Duration::from_secs(7));
    assert!(good_calls(&mut patient, 1)[0].reused);
    calls_are(&guardd, RESEARCH, "api", &[("success", 2)]);
    drop(patient);
    guardd.finish().unwrap();
}
