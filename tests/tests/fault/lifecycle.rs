//! Beginning and end of faults: scheduled, over by themselves, cleared, halted.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::guardd::Guardd;
use testbed::{requires, timing, wait};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, agent, counters, events_when, inject, inject_code, metric, start, url,
};

struct Scene {
    // Dropped in this order.
    agent: AgentProcess,
    bystander: Bystander,
    guardd: Guardd,
    _server: Metered,
}

fn scene() -> Scene {
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let bystander = Bystander::new(&guardd, server.addresses[0]);
    let agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    Scene { agent, bystander, guardd, _server: server }
}

impl Scene {
    fn outcome(&mut self) -> String {
        self.agent.call(LIMIT).unwrap().outcome
    }

    /// Waits until `fault list` shows it ended; its record.
    fn ended(&self, fault: &Value) -> Value {
        let mut last = Value::Null;
        let came = wait::until("the end of a fault", LIMIT, || {
            last = self.listed(fault);
            last["state"] == "ended"
        });
        assert!(came.is_ok(), "{last}");
        last
    }

    fn listed(&self, fault: &Value) -> Value {
        let answer = self.guardd.ctl_json(&["fault", "list"]).unwrap();
        let faults = answer["faults"].as_array().unwrap();
        faults.iter().find(|f| f["id"] == fault["id"]).unwrap().clone()
    }

    fn end(self) {
        self.bystander.end(&self.guardd, "api");
    }
}

#[test]
fn scheduled_and_over_by_itself() {
    if !requires::cgroups("scheduled_and_over_by_itself") {
        return;
    }
    let mut scene = scene();
    let before = Instant::now();
    // Long enough to be looked at while it acts.
    let length = timing::at_most(Duration::from_secs(1));
    let words = format!("--service api --after 1500ms --for {length:?} --refuse 100%");
    let fault = inject(&scene.guardd, RESEARCH, &words);
    let injected = Instant::now();
    assert_eq!(fault["state"], "scheduled", "{fault}");
    let first = scene.outcome();
    if injected.elapsed() < Duration::from_secs(1) {
        assert_eq!(first, "ok", "not yet begun");
        assert_eq!(counters(&scene.guardd, &fault, "matched"), 0);
    }
    wait::until("the beginning", LIMIT, || scene.outcome() == "ECONNREFUSED").unwrap();
    assert!(before.elapsed() >= Duration::from_millis(1500), "{:?}", before.elapsed());
    assert_eq!(scene.listed(&fault)["state"], "active");
    let active = [r#"effect="refuse""#, r#"bulkhead="research""#];
    assert_eq!(metric(&scene.guardd, "guard_fault_active", &active), 1.0);
    let mut refused = 1;
    wait::until("the end", LIMIT, || {
        let good = scene.outcome() == "ok";
        refused += u64::from(!good);
        good
    })
    .unwrap();
    let least = Duration::from_millis(1500) + length;
    assert!(before.elapsed() >= least, "{:?}", before.elapsed());
    let ended = scene.ended(&fault);
    assert_eq!((&ended["ended"], &ended["remaining_seconds"]), (&"done".into(), &0.0.into()));
    assert_eq!(ended["counters"]["refused"], refused, "counters stay after the end");
    assert_eq!(metric(&scene.guardd, "guard_fault_active", &active), 0.0);
    let refusals = [r#"effect="refused""#];
    assert_eq!(metric(&scene.guardd, "guard_fault_packets_total", &refusals), refused as f64);
    let status = scene.guardd.ctl_json(&["status"]).unwrap();
    assert_eq!(status["faults"], serde_json::json!([]));
    for kind in ["fault_injected", "fault_ended"] {
        let events = events_when(&scene.guardd, kind, 1);
        assert_eq!((events.len(), &events[0]["fault"]), (1, &fault["id"]), "{events:?}");
    }
    scene.end();
}

/// The same for what has rules on the host: they go with the fault, without being asked to.
#[test]
fn rules_go_with_the_deadline() {
    if !requires::cgroups("rules_go_with_the_deadline") {
        return;
    }
    let mut scene = scene();
    let fault = inject(&scene.guardd, RESEARCH, "--service api --for 2s --latency 100ms");
    let record = scene.agent.call(LIMIT).unwrap();
    assert!(record.is_ok() && record.total_us >= 195_000.0, "{record:?}");
    scene.bystander.calls();
    if fault["engine"] == "nfqueue" {
        assert!(!scene.bystander.chains().is_empty());
    }
    let ended = scene.ended(&fault);
    assert_eq!(ended["ended"], "done");
    assert!(ended["counters"]["delayed"].as_u64().unwrap() > 0, "{ended}");
    scene.end();
}

#[test]
fn cleared_one_by_one_and_all() {
    if !requires::cgroups("cleared_one_by_one_and_all") {
        return;
    }
    let mut scene = scene();
    let refuse = inject(&scene.guardd, RESEARCH, "--service api --for 1h --refuse 100%");
    let latency = inject(&scene.guardd, RESEARCH, "--service api --for 1h --latency 10ms");
    let loss = inject(&scene.guardd, RESEARCH, "--service api --for 1h --after 1h --loss 1%");
    assert_eq!(scene.outcome(), "ECONNREFUSED");
    scene.bystander.calls();
    let id = refuse["id"].to_string();
    let answer = scene.guardd.ctl_json(&["fault", "clear", &id]).unwrap();
    assert_eq!(answer["faults"].as_array().unwrap().len(), 1);
    assert_eq!(answer["faults"][0]["ended"], "cleared");
    assert_eq!(scene.outcome(), "ok");
    let answer = scene.guardd.ctl_json(&["fault", "clear", "--all"]).unwrap();
    let cleared: Vec<_> = answer["faults"].as_array().unwrap().iter().map(|f| &f["id"]).collect();
    assert_eq!(cleared, [&latency["id"], &loss["id"]]);
    // Clearing what has ended is no error, clearing what never was is one.
    assert_eq!(scene.guardd.ctl(&["fault", "clear", &id]).unwrap().code, 0);
    let never = scene.guardd.ctl(&["fault", "clear", "4711"]).unwrap();
    assert_eq!(never.code, 2, "{never:?}");
    assert!(never.stderr.contains("there is no fault 4711"), "{never:?}");
    assert_eq!(counters(&scene.guardd, &refuse, "refused"), 1);
    for fault in [&latency, &loss] {
        assert_eq!(scene.listed(fault)["ended"], "cleared");
    }
    scene.end();
}

#[test]
fn halted_and_resumed() {
    if !requires::cgroups("halted_and_resumed") {
        return;
    }
    let mut scene = scene();
    let refuse = inject(&scene.guardd, RESEARCH, "--service api --for 1h --refuse 100%");
    let latency = inject(&scene.guardd, RESEARCH, "--service api --for 1h --latency 10ms");
    assert_eq!(scene.outcome(), "ECONNREFUSED");
    scene.bystander.calls();
    let answer = scene.guardd.ctl_json(&["halt", "customer", "demo"]).unwrap();
    assert_eq!(answer["halted"], "customer demo");
    assert_eq!(scene.outcome(), "ok");
    for fault in [&refuse, &latency] {
        let listed = scene.listed(fault);
        assert_eq!((&listed["state"], &listed["ended"]), (&"ended".into(), &"halted".into()));
    }
    let refused = inject_code(&scene.guardd, RESEARCH, "--service api --for 1s --loss 1%");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("customer demo"), "{refused:?}");
    assert!(refused.stderr.contains("guardctl resume"), "{refused:?}");
    assert_eq!(metric(&scene.guardd, "guard_halted", &[]), 1.0);
    let status = scene.guardd.ctl_json(&["status"]).unwrap();
    assert_eq!(
        (&status["halted"], &status["faults"]),
        (&"customer demo".into(), &Value::Array(vec![]))
    );
    scene.guardd.ctl_json(&["resume"]).unwrap();
    let again = inject(&scene.guardd, RESEARCH, "--service api --for 1h --refuse 100%");
    assert_ne!(again["id"], refuse["id"], "ids are never used again");
    wait::until("the lease", LIMIT, || scene.outcome() == "ECONNREFUSED").unwrap();
    scene.guardd.ctl_json(&["fault", "clear", "--all"]).unwrap();
    assert_eq!(scene.outcome(), "ok");
    scene.end();
}
