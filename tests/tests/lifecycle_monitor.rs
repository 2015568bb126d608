//! `mode = "monitor"`: guard sees, decides and counts, and touches nothing.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::process::Command;

use safety_support::{LIMIT, agent, config, counter, inject, run, url};
use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{requires, wait};

/// A tenth of the latency that is injected: no machine is as slow as that.
const LATENCY: &str = "2s";

#[test]
fn faults_touch_nothing_and_count_what_they_would_have_done() {
    if !requires::cgroups("faults_touch_nothing_and_count_what_they_would_have_done") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = config(&[address], &["a", "b"]).daemon("mode", "\"monitor\"");
    let mut guardd = Guardd::start(config.clone()).unwrap();
    assert_eq!(guardd.ctl_json(&["status"]).unwrap()["mode"], "monitor");
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    let mut bystander = agent(&guardd, "b", &url(address), &[]);
    let effects = [["--refuse", "100%"], ["--loss", "100%"], ["--latency", LATENCY]];
    for (number, effect) in effects.into_iter().enumerate() {
        let id = inject(&guardd, &effect);
        let before = server.counts().requests;
        for _ in 0..5 {
            let record = caller.call(LIMIT).unwrap();
            assert!(record.is_ok() && record.total_us < 1e6, "{effect:?}: {record:?}");
            assert!(bystander.call(LIMIT).unwrap().is_ok());
        }
        assert_eq!(server.counts().requests, before + 10);
        for save in ["iptables-save", "ip6tables-save"] {
            let (_, rules, _) = run(&mut Command::new(save));
            let ours = guardd.cgroup().path().file_name().unwrap().to_string_lossy().into_owned();
            assert!(!rules.contains(&ours), "{effect:?}: {rules}");
        }
        assert!(!guardd.directory().join("gates").exists());
        let cleared = guardd.ctl_json(&["fault", "clear", &id.to_string()]).unwrap();
        let counters = &cleared["faults"][0]["counters"];
        let count = |name: &str| counters[name].as_u64().unwrap();
        assert!(count("would_have") >= 5, "{effect:?}: {counters}");
        let done = count("refused") + count("dropped") + count("delayed");
        assert_eq!(done, 0, "{effect:?}: {counters}");
        let status = guardd.ctl_json(&["status"]).unwrap();
        let would_have = status["bulkheads"][0]["services"][0]["would_have"].as_u64().unwrap();
        assert!(would_have >= 5 * (number as u64 + 1), "{status}");
        assert_eq!(status["bulkheads"][1]["services"][0]["would_have"], 0, "{status}");
    }
    assert_eq!(counter(&guardd, "guard_faulted_total", "a", "api"), 0);
    assert!(guardd.metric("guard_would_have_total", &[]).unwrap().unwrap() >= 15.0);
    // Calls that monitor mode left alone are real, not injected.
    let injected = guardd.metric("guard_calls_total", &["origin=\"injected\""]).unwrap();
    assert!(injected.unwrap_or(0.0) < 0.5, "{injected:?}");

    // `fault inject --wait` says that it proved nothing.
    let target = ["fault", "inject", "--bulkhead", "a", "--service", "api", "--for", "300ms"];
    let waited = guardd.ctl(&[&target[..], &["--refuse", "100%", "--wait"]].concat()).unwrap();
    assert_eq!(waited.code, 5, "{waited:?}");

    // The mode is a live key: the same fault acts once it is enforced.
    inject(&guardd, &["--refuse", "100%"]);
    assert!(caller.call(LIMIT).unwrap().is_ok());
    guardd.set_config(config.daemon("mode", "\"enforce\"")).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    drop((caller, bystander));
    wait::until("the agents to end", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}
