//! A service that was out of reach and comes back.

use std::time::{Duration, Instant};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::wait;

use crate::{LIMIT, caller, incident_when, is_closed};

/// `open_timeout` is a minute by default: it is not waited for.
#[test]
fn a_service_that_is_back_is_used_at_once() {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.research]\n"
    ));
    let guardd = Guardd::start(config).unwrap();
    let agent = caller(&guardd, &format!("http://{address}/"), &[]);
    wait::until("good calls", LIMIT, || agent.records().len() > 5).unwrap();
    server.refuse();
    let open = incident_when(&guardd, "an incident", |incident| !is_closed(incident));
    assert_eq!(open["situation"]["rule"], "success-rate");
    assert_eq!(open["situation"]["service"], "api");
    wait::until("the breaker to open", LIMIT, || {
        let all = guardd.ctl_json(&["breaker", "list"]).unwrap();
        all["breakers"][0]["state"] == "open"
    })
    .unwrap();
    server.listen().unwrap();
    let back = Instant::now();
    let before = agent.records().len();
    wait::until("a good call", LIMIT, || {
        agent.records()[before..].iter().any(testbed::agent::Record::is_ok)
    })
    .unwrap();
    assert!(back.elapsed() < Duration::from_secs(10), "after {:?}", back.elapsed());
    let closed = incident_when(&guardd, "its end", is_closed);
    assert_eq!(closed["id"], open["id"]);
    assert_eq!(closed["closed"]["end"], "recovered", "{closed:#}");
    let kinds: Vec<&str> = closed["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["detected", "diagnosed"], "{closed:#}");
    assert_eq!(kinds.last(), Some(&"verified"));
    let label = &[r#"bulkhead="research""#, r#"destination="api""#];
    assert_eq!(guardd.metric("guard_incidents_total", label).unwrap(), Some(1.0));
    assert_eq!(guardd.metric("guard_incident_active", label).unwrap(), Some(0.0));
    drop(agent);
    guardd.finish().unwrap();
}

/// What is known of incidents outlives guardd, and an open one goes on.
#[test]
fn an_open_incident_goes_on_after_a_sigkill() {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = GuarddConfig::simple(&[("api", &[address])], &["research"]);
    let mut guardd = Guardd::start(config).unwrap();
    let agent = caller(&guardd, &format!("http://{address}/"), &[]);
    server.refuse();
    let open = incident_when(&guardd, "an incident", |incident| !is_closed(incident));
    guardd.sigkill().unwrap();
    guardd.restart().unwrap();
    let again = incident_when(&guardd, "the same", |incident| incident["id"] == open["id"]);
    assert!(!is_closed(&again), "{again:#}");
    server.listen().unwrap();
    incident_when(&guardd, "its end", |i| i["id"] == open["id"] && is_closed(i));
    drop(agent);
    guardd.finish().unwrap();
}

/// An agent that calls every few seconds shows that its service is well as one that calls all the time does.
#[test]
fn rare_calls_end_an_incident() {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = GuarddConfig::simple(&[("api", &[address])], &["research"]);
    let guardd = Guardd::start(config).unwrap();
    let target = format!("http://{address}/");
    server.refuse();
    let hurried = caller(&guardd, &target, &[]);
    incident_when(&guardd, "an incident", |incident| !is_closed(incident));
    drop(hurried);
    server.listen().unwrap();
    let agent = caller(&guardd, &target, &["--interval", "4s"]);
    let closed = incident_when(&guardd, "its end", is_closed);
    assert_eq!(closed["closed"]["end"], "recovered", "{closed:#}");
    let shown = closed["closed"]["message"].as_str().unwrap();
    assert!(shown.contains("good calls in a row"), "{closed:#}");
    drop(agent);
    guardd.finish().unwrap();
}
