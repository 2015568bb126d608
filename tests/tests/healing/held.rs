//! What a rule has put in place goes with its incident: healing must never become the outage.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::wait;

use crate::{LIMIT, caller, incident_when, results};

/// A rule whose last step freezes the bulkhead, about a service that is down; `within` = how long it
/// waits for that to help.
fn config(service: &Server, fallback: &Server, within: &str) -> (GuarddConfig, String) {
    let [address, other] = [service, fallback].map(|server| server.address().unwrap());
    let base = format!(
        "[services.api]\nendpoints = [\"{address}\"]\nfallback = \"{other}\"\n[bulkheads.research]\n\
         [defaults.recovery]\ndefault_rule = \"off\"\n"
    );
    let rule = format!(
        "[[recovery]]\nname = \"useless\"\n\
         when = {{ bulkhead = \"research\", service = \"api\", breaker_open_for = \"0s\" }}\n\
         steps = [ {{ fallback = \"on\" }}, {{ freeze = {{}} }} ]\nverify = {{ within = \"{within}\" }}\n"
    );
    (GuarddConfig::new(format!("{base}{rule}")), base)
}

fn freezer(guardd: &Guardd) -> PathBuf {
    guardd.bulkhead("research").join("cgroup.freeze")
}

fn stands_still(freezer: &PathBuf) -> bool {
    fs::read_to_string(freezer).unwrap().trim() == "1"
}

fn notes(incident: &Value) -> Vec<&str> {
    let lines = incident["timeline"].as_array().unwrap().iter();
    let notes = lines.filter(|line| line["kind"] == "note");
    notes.map(|line| line["message"].as_str().unwrap()).collect()
}

#[test]
fn what_a_ladder_has_put_in_place_is_taken_back_when_it_gives_up() {
    let (mut service, other) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (config, _) = config(&service, &other, "1s");
    let target = format!("http://{}/", service.address().unwrap());
    service.refuse();
    let guardd = Guardd::start(config).unwrap();
    let freezer = freezer(&guardd);
    let agent = caller(&guardd, &target, &[]);
    wait::until("frozen", LIMIT, || stands_still(&freezer)).unwrap();
    let both_back = |incident: &Value| {
        let notes = notes(incident);
        ["its processes run", "the breaker decides"]
            .iter()
            .all(|what| notes.iter().any(|n| n.starts_with("taken back: ") && n.contains(what)))
    };
    let incident = incident_when(&guardd, "both taken back", both_back);
    assert_eq!(results(&incident, "fallback"), ["done"], "{incident:#}");
    assert_eq!(results(&incident, "freeze"), ["done"], "{incident:#}");
    assert!(incident["closed"].is_null(), "{incident:#}");
    assert!(!stands_still(&freezer));
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn and_when_a_reload_takes_the_rule_away() {
    let (mut service, other) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (config, base) = config(&service, &other, "10m");
    let mut config = config;
    // The first step must not be waited for that long.
    config.replace("{ fallback = \"on\" }, ", "");
    let target = format!("http://{}/", service.address().unwrap());
    service.refuse();
    let mut guardd = Guardd::start(config).unwrap();
    let freezer = freezer(&guardd);
    let agent = caller(&guardd, &target, &[]);
    wait::until("frozen", LIMIT, || stands_still(&freezer)).unwrap();
    guardd.set_config(GuarddConfig::new(base)).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    wait::until("running again", LIMIT, || !stands_still(&freezer)).unwrap();
    let withdrawn = |incident: &Value| incident["closed"]["end"] == "withdrawn";
    incident_when(&guardd, "withdrawn", withdrawn);
    drop(agent);
    guardd.finish().unwrap();
}
