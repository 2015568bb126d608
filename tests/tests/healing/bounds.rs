//! Healing that does not help stops at its limit and calls a person, once; healing that may not act
//! only says what it would do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;

use crate::{caller, incident_when, incidents, results};

struct Scene {
    _server: Server,
    guardd: Guardd,
    target: String,
    files: tempfile::TempDir,
}

/// A service that is down for good, a rule whose only step is a hook, and somebody to call.
fn scene(rule: &str) -> Scene {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    server.refuse();
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let told = files.path().join("told").display().to_string();
    let tried = files.path().join("tried").display().to_string();
    let hook = write("hook", &format!("echo $GUARD_SERVICE >> {tried}"));
    let page = write("page", &format!("echo $GUARD_INCIDENT $GUARD_REASON >> {told}"));
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.research]\n\
         [notify]\nexec = [\"{page}\"]\n\
         [[recovery]]\nname = \"useless\"\n\
         when = {{ bulkhead = \"research\", service = \"api\", breaker_open_for = \"0s\" }}\n\
         steps = [ {{ exec = [\"{hook}\"] }}, {{ reset_connections = {{}} }} ]\n\
         verify = {{ within = \"1s\" }}\n{rule}"
    ));
    let target = format!("http://{address}/");
    Scene { _server: server, guardd: Guardd::start(config).unwrap(), target, files }
}

impl Scene {
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.files.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn of_rule(incident: &Value) -> bool {
    incident["situation"]["rule"] == "useless"
}

#[test]
fn a_recovery_that_does_not_help_ends_and_calls_a_person_once() {
    let scene = scene("");
    let agent = caller(&scene.guardd, &scene.target, &[]);
    let called = |i: &Value| {
        let mut lines = i["timeline"].as_array().unwrap().iter();
        of_rule(i) && lines.any(|line| line["kind"] == "called")
    };
    let incident = incident_when(&scene.guardd, "a call", called);
    assert_eq!(results(&incident, "exec"), ["done"], "{incident:#}");
    assert_eq!(results(&incident, "reset_connections"), ["done"], "{incident:#}");
    // It goes on being sick, and nothing more is done about it.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(scene.lines("tried"), ["api"]);
    let told = scene.lines("told");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("no step has helped"), "{told:?}");
    let all: Vec<Value> = incidents(&scene.guardd).into_iter().filter(of_rule).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0]["closed"].is_null(), "it is open until it is well: {:#}", all[0]);
    let count = |action: &str| {
        let labels = [r#"rule="useless""#, action, r#"result="done""#];
        scene.guardd.metric("guard_recovery_actions_total", &labels).unwrap()
    };
    assert_eq!(count(r#"action="exec""#), Some(1.0));
    assert_eq!(count(r#"action="notify""#), Some(1.0));
    drop(agent);
    scene.guardd.finish().unwrap();
}

#[test]
fn a_dry_run_touches_nothing() {
    let scene = scene("dry_run = true\n");
    let agent = caller(&scene.guardd, &scene.target, &[]);
    let incident = incident_when(&scene.guardd, "its action", |i| {
        of_rule(i) && !results(i, "exec").is_empty()
    });
    assert_eq!(results(&incident, "exec"), ["would_have"], "{incident:#}");
    // Not even a person is called, when nothing has helped that was not tried.
    let would_have_called = |i: &Value| {
        let mut lines = i["timeline"].as_array().unwrap().iter();
        of_rule(i) && lines.any(|l| l["kind"] == "called" && l["result"] == "would_have")
    };
    incident_when(&scene.guardd, "its call", would_have_called);
    thread::sleep(Duration::from_secs(1));
    assert!(scene.lines("tried").is_empty());
    assert!(scene.lines("told").is_empty(), "{:?}", scene.lines("told"));
    drop(agent);
    scene.guardd.finish().unwrap();
}

/// What the configuration does not call a service is a target like any other: one incident, not one at
/// each look. It ends when no rule is about it any more, even if there is no rule at all.
#[test]
fn a_rule_about_everything_else_is_bounded_too_and_its_incident_ends_with_it() {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    server.refuse();
    let bulkhead = "[bulkheads.research]\n[defaults.recovery]\ndefault_rule = \"off\"\n";
    let rule = "[[recovery]]\nname = \"useless\"\n\
                when = { service = \"other\", success_rate_below = 0.8, min_calls = 5 }\n\
                steps = [ { flush_dns = {} } ]\nverify = { within = \"1s\" }\n";
    let config = GuarddConfig::new(format!("{bulkhead}{rule}"));
    let mut guardd = Guardd::start(config).unwrap();
    let agent = caller(&guardd, &format!("http://{address}/"), &[]);
    let open = incident_when(&guardd, "an incident", of_rule);
    thread::sleep(Duration::from_secs(4));
    let all = incidents(&guardd);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0]["closed"].is_null(), "{all:#?}");
    guardd.set_config(GuarddConfig::new(bulkhead)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    let closed = incident_when(&guardd, "its end", |i| !i["closed"].is_null());
    assert_eq!((&closed["id"], &closed["closed"]["end"]), (&open["id"], &"withdrawn".into()));
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn an_operator_runs_a_rule_by_hand() {
    let scene = scene("");
    let ctl = scene.guardd.ctl_json(&["recover", "useless", "--dry-run"]).unwrap();
    assert_eq!(ctl["steps"][0]["result"], "would_have", "{ctl:#}");
    assert!(scene.lines("tried").is_empty());
    let ctl = scene.guardd.ctl_json(&["recover", "useless"]).unwrap();
    assert_eq!(ctl["steps"][0]["result"], "done", "{ctl:#}");
    assert_eq!(scene.lines("tried"), ["api"]);
    let wrong = scene.guardd.ctl(&["recover", "nobody"]).unwrap();
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("useless"), "{}", wrong.stderr);
    scene.guardd.finish().unwrap();
}
