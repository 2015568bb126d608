//! The limits of outer bulkheads hold over everything inside.

use std::time::Duration;

use testbed::agent::AgentProcess;
use testbed::guardd::Guardd;
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires, wait};

use super::{INNER, alone, config, owns_nothing, start};
use crate::rig::{LIMIT, Probe, RESEARCH, WRITING, agent, events, good_calls, metric, pair, url};
use crate::{counted, limit};

#[test]
fn the_outer_max_connections_hold_for_both_and_a_killed_owner_leaves_no_count() {
    if !requires::cgroups(
        "the_outer_max_connections_hold_for_both_and_a_killed_owner_leaves_no_count",
    ) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start(address, "mode = \"off\"", "max_connections = 8", "max_connections = 6");
    let callers = |cgroup: &str, concurrent: u32, calls: u32| {
        let path = guardd.bulkhead(cgroup);
        let (target, concurrent, calls) = (url(address), concurrent.to_string(), calls.to_string());
        let args =
            ["--target", &target, "--concurrency", &concurrent, "--count", &calls, "--quiet"];
        AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap()
    };
    let rejected = |bulkhead: &str| {
        limit(&guardd, bulkhead, Some("api"))["rejected"]["connections"].as_u64().unwrap_or(0)
    };
    server.set(Behaviour::Hang);
    // The inner's own limit first.
    let inner = callers(INNER, 32, 32);
    counted(&guardd, WRITING, 6);
    wait::until("the refusals", LIMIT, || rejected(WRITING) == 26).unwrap();
    counted(&guardd, RESEARCH, 6);
    assert_eq!(rejected(RESEARCH), 0);
    // What is left of the outer's.
    let outer = callers(RESEARCH, 32, 32);
    counted(&guardd, RESEARCH, 8);
    wait::until("the refusals", LIMIT, || rejected(RESEARCH) == 30).unwrap();
    assert_eq!(server.counts().connections, 8);
    // SIGKILL.
    drop(inner);
    counted(&guardd, WRITING, 0);
    counted(&guardd, RESEARCH, 2);
    drop(outer);
    counted(&guardd, RESEARCH, 0);
    // The outer's limit stops the inner, whose call it is.
    let mut outside = Probe::start(&guardd, RESEARCH);
    let mut inside = Probe::start(&guardd, INNER);
    for number in 0..6 {
        outside.must(&format!("tcp o{number} {address}"));
    }
    let before = pair(&guardd, WRITING, "api").call("rejected");
    for number in 0..2 {
        inside.must(&format!("tcp i{number} {address}"));
    }
    for _ in 0..3 {
        assert_eq!(inside.ask(&format!("tcp x {address}"))["error"], "ECONNREFUSED");
    }
    assert_eq!((rejected(RESEARCH), rejected(WRITING)), (33, 26), "counted where the limit is");
    assert_eq!(pair(&guardd, WRITING, "api").call("rejected"), before + 3);
    counted(&guardd, WRITING, 2);
    counted(&guardd, RESEARCH, 8);
    // A process that holds a connection of the inner's too.
    inside.must("lend i0");
    inside.must("close i0");
    counted(&guardd, RESEARCH, 8);
    inside.must("take_back i0");
    counted(&guardd, RESEARCH, 7);
    drop((outside, inside));
    counted(&guardd, RESEARCH, 0);
    counted(&guardd, WRITING, 0);
    // In and out, many at once, and nobody is forgotten.
    server.set(Behaviour::slow(Duration::from_millis(1)));
    let (a, b) = (callers(INNER, 16, 1_500), callers(RESEARCH, 16, 1_500));
    a.finish(LIMIT * 3).unwrap();
    b.finish(LIMIT * 3).unwrap();
    counted(&guardd, RESEARCH, 0);
    counted(&guardd, WRITING, 0);
    guardd.finish().unwrap();
}

#[test]
fn the_outer_budget_counts_and_blocks_what_is_inside() {
    if !requires::cgroups("the_outer_budget_counts_and_blocks_what_is_inside") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let budget = "budgets = [{ calls = 10, per = \"8760h\", services = [\"api\"] }]";
    let mut guardd = start(address, "", budget, "");
    let mut outer = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut inner = agent(&guardd, INNER, &url(address), &[]);
    let mut pooled = agent(&guardd, INNER, &url(address), &["--keep-alive"]);
    good_calls(&mut outer, 3);
    good_calls(&mut inner, 3);
    let used = |guardd: &Guardd| {
        let answer = guardd.ctl_json(&["budget", "list"]).unwrap();
        answer["budgets"][0]["amounts"][0]["used"].as_u64().unwrap()
    };
    wait::until("the six", LIMIT, || used(&guardd) == 6).unwrap();
    // An inner bulkhead that goes takes nothing along, and one that comes again brings nothing.
    let with = config(address, "", budget, "");
    for body in [alone(address, budget), with] {
        guardd.set_config(body).unwrap();
        guardd.ctl_json(&["reload"]).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(used(&guardd), 6);
    }
    good_calls(&mut pooled, 4);
    wait::until("the block", LIMIT, || events(&guardd, "budget_exhausted").len() == 1).unwrap();
    assert_eq!(used(&guardd), 10);
    assert_eq!(inner.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(outer.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    wait::until("the end of the inner's pooled connection", LIMIT, || {
        pooled.call(LIMIT).is_ok_and(|record| record.outcome == "ECONNREFUSED")
    })
    .unwrap();
    guardd.ctl_json(&["budget", "release", RESEARCH]).unwrap();
    good_calls(&mut inner, 2);
    drop((outer, inner, pooled));
    guardd.finish().unwrap();
}

#[test]
fn three_deep_each_limit_holds_and_sockets_are_allowed_by_all() {
    if !requires::cgroups("three_deep_each_limit_holds_and_sockets_are_allowed_by_all") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut config = config(
        address,
        "",
        "max_connections = 3\nsockets = [\"tcp\"]",
        "max_connections = 2\n[bulkheads.writing.limits]\nerrno = \"EHOSTUNREACH\"",
    );
    config.append("[bulkheads.deep]\ncgroup = \"research/writing/deep\"\n");
    let guardd = Guardd::start(config).unwrap();
    let mut deep = Probe::start(&guardd, "research/writing/deep");
    let mut outer = Probe::start(&guardd, RESEARCH);
    deep.must(&format!("tcp a {address}"));
    deep.must(&format!("tcp b {address}"));
    assert_eq!(deep.ask(&format!("tcp c {address}"))["error"], "EHOSTUNREACH");
    deep.must("close b");
    counted(&guardd, RESEARCH, 1);
    outer.must(&format!("tcp a {address}"));
    outer.must(&format!("tcp b {address}"));
    assert_eq!(deep.ask(&format!("tcp c {address}"))["error"], "ECONNREFUSED");
    for (bulkhead, connections) in [("deep", 1), (WRITING, 1), (RESEARCH, 3)] {
        counted(&guardd, bulkhead, connections);
    }
    owns_nothing(&guardd, WRITING);
    // The outermost alone forbids datagrams; nobody counts them twice.
    assert_eq!(deep.ask("udp u 127.0.0.1:0")["error"], "EPROTONOSUPPORT");
    let refused = |bulkhead: &str| {
        let label = format!("bulkhead=\"{bulkhead}\"");
        metric(&guardd, "guard_sockets_refused_total", &[&label])
    };
    assert_eq!((refused(RESEARCH), refused(WRITING), refused("deep")), (1.0, 0.0, 0.0));
    drop((deep, outer));
    for bulkhead in ["deep", WRITING, RESEARCH] {
        counted(&guardd, bulkhead, 0);
    }
    guardd.finish().unwrap();
}
