//! Cgroups that others made, by pattern: those that are there, that come later, that go.

use std::fs;
use std::path::Path;

use testbed::agent::AgentProcess;
use testbed::cgroup::{self, ScratchCgroup, mount_point};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{requires, wait};

use crate::rig::{LIMIT, clear, events, events_when, inject, inject_code, pair, url};

fn config(server: &Server, pattern: &str) -> GuarddConfig {
    let address = server.address().unwrap();
    let mut config = GuarddConfig::simple(&[("api", &[address])], &["research"]);
    config.append(&format!("[bulkheads.units]\ncgroup = \"{pattern}\"\n"));
    config
}

/// A cgroup's path from the root of the tree.
fn tree_path(path: &Path) -> String {
    format!("/{}", path.strip_prefix(mount_point().unwrap()).unwrap().display())
}

fn agent(at: &Path, server: &Server) -> AgentProcess {
    let target = url(server.address().unwrap());
    AgentProcess::stepped(&target, &[], |command| cgroup::wrap(at, &command)).unwrap()
}

fn matches(guardd: &Guardd) -> Vec<String> {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let units = bulkheads.iter().find(|b| b["name"] == "units").unwrap();
    let list = units["matches"].as_array().cloned().unwrap_or_default();
    let name = |path: &serde_json::Value| {
        path.as_str().unwrap().rsplit('/').next().unwrap_or_default().to_owned()
    };
    list.iter().map(name).collect()
}

fn matches_become(guardd: &Guardd, wanted: &[&str]) {
    let became = wait::until("the matches", LIMIT, || matches(guardd) == wanted);
    assert!(became.is_ok(), "{:?} instead of {wanted:?}", matches(guardd));
}

/// Asserts that `status` has a problem with these words.
fn problem(guardd: &Guardd, words: &str) {
    let status = guardd.ctl_json(&["status"]).unwrap();
    assert!(status["problems"].to_string().contains(words), "{status}");
}

#[test]
fn cgroups_of_others_are_guarded_while_they_match_and_otherwise_left_alone() {
    if !requires::cgroups("cgroups_of_others_are_guarded_while_they_match_and_otherwise_left_alone")
    {
        return;
    }
    let others = ScratchCgroup::new("others").unwrap();
    let one = others.child("unit-1.scope").unwrap();
    let beside = others.child("beside.service").unwrap();
    let server = Server::loopback().unwrap();
    let pattern = format!("{}/unit-*.scope", tree_path(others.path()));
    let mut guardd = Guardd::start(config(&server, &pattern)).unwrap();
    assert_eq!(matches(&guardd), ["unit-1.scope"]);
    let mut first = agent(&one, &server);
    let mut stranger = agent(&beside, &server);
    assert!(first.call(LIMIT).unwrap().is_ok() && stranger.call(LIMIT).unwrap().is_ok());
    assert_eq!(pair(&guardd, "units", "api").connects, 1);

    // One that comes later is in the same bulkhead, before its first call.
    let two = others.child("unit-2.scope").unwrap();
    matches_become(&guardd, &["unit-1.scope", "unit-2.scope"]);
    assert_eq!(events_when(&guardd, "cgroup_matched", 2).len(), 2);
    let mut second = agent(&two, &server);
    assert!(second.call(LIMIT).unwrap().is_ok());
    assert_eq!(pair(&guardd, "units", "api").connects, 2);
    let fault = inject(&guardd, "units", "--service api --for 60s --refuse 100%");
    assert_eq!(second.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert!(stranger.call(LIMIT).unwrap().is_ok());
    clear(&guardd, &fault);
    // Delay by netfilter is for one cgroup, and says so.
    let delay = inject_code(&guardd, "units", "--service api --for 1s --latency 1ms");
    assert!(delay.code == 0 || delay.stderr.contains("takes in the cgroups"), "{delay:?}");

    // A guardd that was killed goes on where it stopped.
    guardd.sigkill().unwrap();
    guardd.restart().unwrap();
    assert_eq!(matches(&guardd), ["unit-1.scope", "unit-2.scope"]);
    assert!(first.call(LIMIT).unwrap().is_ok());
    drop(second);
    wait::until("the second to be empty", LIMIT, || fs::remove_dir(&two).is_ok()).unwrap();
    matches_become(&guardd, &["unit-1.scope"]);
    assert_eq!(events_when(&guardd, "cgroup_unmatched", 1).len(), 1);

    // Another pattern: what matched goes on, unguarded.
    let other = format!("{}/nothing-*.scope", tree_path(others.path()));
    guardd.set_config(config(&server, &other)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(matches(&guardd).is_empty());
    // The kernel takes programs off in its own time.
    wait::until("the programs to be off", LIMIT, || {
        let calls = pair(&guardd, "units", "api").connects;
        assert!(first.call(LIMIT).unwrap().is_ok());
        pair(&guardd, "units", "api").connects == calls
    })
    .unwrap();
    guardd.finish().unwrap();
    assert!(first.call(LIMIT).unwrap().is_ok());
    assert!(one.exists() && beside.exists(), "they are others'");
}

#[test]
fn levels_that_come_later_are_followed() {
    if !requires::cgroups("levels_that_come_later_are_followed") {
        return;
    }
    let others = ScratchCgroup::new("pods").unwrap();
    let server = Server::loopback().unwrap();
    let pattern = format!("{}/late.slice/pod-?/[ab]-*", tree_path(others.path()));
    let guardd = Guardd::start(config(&server, &pattern)).unwrap();
    assert!(matches(&guardd).is_empty());
    for (path, wanted) in [
        ("late.slice/pod-1/a-1", &["a-1"][..]),
        ("late.slice/pod-2/c-1", &["a-1"]),
        ("late.slice/pod-2/b-1", &["a-1", "b-1"]),
        ("late.slice/pod-22/a-2", &["a-1", "b-1"]),
    ] {
        others.child(path).unwrap();
        matches_become(&guardd, wanted);
    }
    // The whole branch goes, and comes again under the old names.
    for path in others.below() {
        fs::remove_dir(path).unwrap();
    }
    matches_become(&guardd, &[]);
    let again = others.child("late.slice/pod-1/a-1").unwrap();
    matches_become(&guardd, &["a-1"]);
    let mut agent = agent(&again, &server);
    assert!(agent.call(LIMIT).unwrap().is_ok());
    assert_eq!(pair(&guardd, "units", "api").connects, 1);
    assert_eq!(events(&guardd, "cgroup_unmatched").len(), 2);
    guardd.finish().unwrap();
}

#[test]
fn bulkheads_and_guardd_itself_are_never_matched() {
    if !requires::cgroups("bulkheads_and_guardd_itself_are_never_matched") {
        return;
    }
    let server = Server::loopback().unwrap();
    // The bulkhead's own cgroups are made below here.
    let guardd = Guardd::prepare(config(&server, "/placeholder")).unwrap();
    let root = tree_path(guardd.cgroup().path());
    let mut guardd = guardd;
    guardd.set_config(config(&server, &format!("{root}/res*"))).unwrap();
    guardd.launch().unwrap();
    guardd.wait_ready().unwrap();
    assert!(matches(&guardd).is_empty());
    problem(&guardd, "of bulkhead research is around or inside it");
    // Another service of guardd's own place: its cgroup is not a match while guardd is in it.
    let home = guardd.cgroup().child("home.service").unwrap();
    let own = home.join("cgroup.procs");
    fs::write(&own, guardd.pid().unwrap().to_string()).unwrap();
    guardd.set_config(config(&server, &format!("{root}/home.*"))).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert!(matches(&guardd).is_empty());
    problem(&guardd, "guardd itself is in it");
    let top = mount_point().unwrap().join("cgroup.procs");
    fs::write(top, guardd.pid().unwrap().to_string()).unwrap();
    fs::remove_dir(home).unwrap();
    guardd.finish().unwrap();
}
