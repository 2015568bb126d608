//! Storms: told where there is one, and not where somebody works.

use std::time::Duration;

use testbed::requires;
use testbed::server::{Behaviour, Server};

use super::eager;
use super::rig::{RESEARCH, WRITING, breaker_config, events, events_when, metric};
use testbed::guardd::Guardd;

const STORMS: &str = "[defaults.storms]\ncalls_per_second = 20\nfor = \"3s\"\n";

#[test]
fn a_loop_that_tries_again_is_told_and_its_end_too() {
    if !requires::cgroups("a_loop_that_tries_again_is_told_and_its_end_too") {
        return;
    }
    let server = Server::loopback().unwrap();
    server.set(Behaviour::answer(429, 40));
    let address = server.address().unwrap();
    let mut config = breaker_config(address, "", "mode = \"off\"", "");
    config.append(STORMS);
    let guardd = Guardd::start(config).unwrap();
    // 28 ms from one try to the next, as it was seen in the wild; the neighbour calls calmly.
    let storm = eager(&guardd, RESEARCH, address, &["--keep-alive", "--interval", "28ms"]);
    let calm = eager(&guardd, WRITING, address, &["--keep-alive", "--interval", "200ms"]);
    let told = events_when(&guardd, "storm", 1);
    assert_eq!((&told[0]["bulkhead"], &told[0]["service"]), (&"research".into(), &"api".into()));
    let labels = ["bulkhead=\"research\"", "destination=\"api\""];
    assert_eq!(metric(&guardd, "guard_storm_active", &labels), 1.0);
    let problems = guardd.ctl_json(&["status"]).unwrap()["problems"].to_string();
    assert!(problems.contains("storm: bulkhead research calls api"), "{problems}");
    storm.stop().unwrap();
    events_when(&guardd, "storm_ended", 1);
    assert_eq!(metric(&guardd, "guard_storm_active", &labels), 0.0);
    assert_eq!(metric(&guardd, "guard_storms_total", &[]), 1.0, "and no other");
    calm.stop().unwrap();
    guardd.finish().unwrap();
}

#[test]
fn work_is_no_storm() {
    if !requires::cgroups("work_is_no_storm") {
        return;
    }
    let (large, slow, meant) =
        (Server::loopback().unwrap(), Server::loopback().unwrap(), Server::loopback().unwrap());
    large.set(Behaviour::answer(200, 20_000));
    slow.set(Behaviour::slow(Duration::from_millis(150)));
    let [large_at, slow_at, meant_at] = [&large, &slow, &meant].map(|s| s.address().unwrap());
    let mut config = breaker_config(large_at, "", "mode = \"off\"", "");
    config.append(STORMS);
    config.append(&format!("[services.cache]\nendpoints = [\"{meant_at}\"]\nstorms = \"off\"\n"));
    let guardd = Guardd::start(config).unwrap();
    let agents = [
        eager(&guardd, RESEARCH, large_at, &["--keep-alive", "--interval", "20ms"]),
        eager(&guardd, RESEARCH, slow_at, &["--keep-alive", "--concurrency", "6"]),
        eager(&guardd, WRITING, meant_at, &["--keep-alive", "--interval", "20ms"]),
    ];
    std::thread::sleep(Duration::from_secs(8));
    for agent in agents {
        let (records, _) = agent.stop().unwrap();
        assert!(records.len() > 160, "so that it would have been one: {}", records.len());
    }
    assert_eq!(events(&guardd, "storm"), [] as [serde_json::Value; 0]);
    assert_eq!(metric(&guardd, "guard_storms_total", &[]), 0.0);
    guardd.finish().unwrap();
}
