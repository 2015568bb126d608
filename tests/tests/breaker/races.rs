//! Many callers at once: no call too many gets through. The same with 1000 rounds is in
//! `cargo xtask bench breaker`.

use std::time::Duration;

use testbed::agent::AgentProcess;
use testbed::guardd::Guardd;
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires, timing};

use super::rig::{LIMIT, RESEARCH, breaker, calls_are, pair, start_breakers, state_when, url};

/// Calls with so many workers at once; how many calls had which outcome.
fn burst(guardd: &Guardd, target: &str, callers: u32, calls: u32) -> Vec<(String, u64)> {
    let path = guardd.bulkhead(RESEARCH);
    let (callers, calls) = (callers.to_string(), calls.to_string());
    let args = ["--target", target, "--concurrency", &callers, "--count", &calls];
    let agent = AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap();
    let (_, summary) = agent.finish(LIMIT).unwrap();
    summary.outcomes.into_iter().collect()
}

#[test]
fn the_threshold_holds_for_many_callers() {
    if !requires::cgroups("the_threshold_holds_for_many_callers") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let breakers = "failure_threshold = 5\nopen_timeout = \"10m\"";
    let guardd = start_breakers(address, "", breakers, "");
    server.set(Behaviour::ResetOnAccept);
    let name = format!("{RESEARCH}/api");
    for callers in [1_u32, 8, 64] {
        let before = server.counts().connections;
        burst(&guardd, &url(address), callers, 200);
        let reached = server.counts().connections - before;
        // Those that were under way when it tripped had passed already.
        let most = 5 + u64::from(callers) - 1;
        assert!((5..=most).contains(&reached), "{callers} callers: {reached} calls got through");
        let open = state_when(&guardd, RESEARCH, "open");
        let refused = pair(&guardd, RESEARCH, "api").call("rejected");
        assert_eq!(open["rejected"], refused, "{open}");
        guardd.ctl_json(&["breaker", "reset", &name]).unwrap();
    }
    guardd.finish().unwrap();
}

#[test]
fn of_256_callers_one_is_the_probe() {
    if !requires::cgroups("of_256_callers_one_is_the_probe") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    // The answer comes after all have called, and before the lease ends (with the open time).
    let (answer, open) = (Duration::from_secs(1), Duration::from_millis(1_500));
    let (answer, open) = (timing::at_most(answer), timing::at_most(open));
    let breakers = format!("open_timeout = \"{}ms\"", open.as_millis());
    let guardd = start_breakers(address, "", &breakers, "");
    guardd.ctl_json(&["breaker", "trip", &format!("{RESEARCH}/api")]).unwrap();
    server.set(Behaviour::slow(answer));
    std::thread::sleep(open + Duration::from_millis(100));
    let outcomes = burst(&guardd, &url(address), 256, 256);
    assert_eq!(server.counts().connections, 1, "{outcomes:?}");
    assert_eq!(outcomes, [("ECONNREFUSED".to_owned(), 255), ("ok".to_owned(), 1)]);
    calls_are(&guardd, RESEARCH, "api", &[("rejected", 255), ("success", 1)]);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    guardd.finish().unwrap();
}
