//! Limits and pressure where cgroup v2 has no controllers (on hybrid hosts version 1 has them): what
//! is said, and what works all the same. What limits do is tried in `vm_limits`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

mod rig;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rig::{Hog, LIMIT, RESEARCH, WRITING, agent, events, events_when, metric, url};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::binary;
use testbed::server::Server;
use testbed::{cgroup, requires, wait};

const LIMITS: &str = "memory_max = \"256MiB\"\ncpu_max = \"50%\"\npids_max = 64\n";

fn config(body: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[bulkheads.research]\ncgroup = \"research\"\n{body}\n[bulkheads.writing]\n\
         cgroup = \"writing\"\n[defaults.breaker]\nmode = \"off\"\n"
    ))
}

/// Whether cgroup v2 has no controllers here, which these tests are about.
fn without_controllers(test: &str) -> bool {
    if !requires::cgroups(test) {
        return false;
    }
    let file = cgroup::mount_point().unwrap().join("cgroup.controllers");
    let there = fs::read_to_string(file).unwrap();
    let has = there.split_whitespace().any(|word| ["memory", "cpu", "pids"].contains(&word));
    if has && std::env::var_os("GUARD_VM").is_some() {
        // The host is the test's own: what other tests have handed down is taken back.
        let control = cgroup::mount_point().unwrap().join("cgroup.subtree_control");
        fs::write(control, "-memory -cpu -pids").unwrap();
        return true;
    }
    if has {
        requires::skip(test, "cgroup v2 has controllers here: vm_limits tries what they do");
    }
    !has
}

fn limits(guardd: &Guardd) -> Vec<serde_json::Value> {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let research = bulkheads.iter().find(|b| b["name"] == RESEARCH).unwrap();
    research["resources"]["limits"].as_array().unwrap().clone()
}

#[test]
fn a_limit_that_is_not_enforced_is_said_everywhere() {
    if !without_controllers("a_limit_that_is_not_enforced_is_said_everywhere") {
        return;
    }
    let guardd = Guardd::start(config(LIMITS)).unwrap();
    let all = limits(&guardd);
    assert_eq!(all.len(), 3, "{all:?}");
    for limit in &all {
        assert_eq!(limit["state"], "not_enforced", "{limit}");
        assert!(limit["why"].as_str().unwrap().contains("controller"), "{limit}");
        assert!(!limit["cure"].as_str().unwrap().is_empty(), "{limit}");
    }
    let status = guardd.ctl(&["status"]).unwrap();
    assert_eq!(status.code, 0);
    assert!(status.stdout.contains("is not enforced, because the c"), "{}", status.stdout);
    let doctor = guardd.ctl(&["doctor"]).unwrap();
    assert!(doctor.stdout.contains("research: pids_max 64 is not enforced"), "{}", doctor.stdout);
    assert_eq!(events(&guardd, "limit_not_enforced").len(), 3);
    let enforced = guardd
        .metric("guard_bulkhead_limit_enforced", &["resource=\"memory_max\""])
        .unwrap()
        .unwrap();
    assert!(enforced.abs() < 1e-9);
    let limit = metric(&guardd, "guard_bulkhead_limit", &["resource=\"memory_max\""]);
    assert!((limit - 268_435_456.0).abs() < 1e-9, "{limit}");
    // The bulkhead without limits is not accused of anything.
    assert!(!status.stdout.contains(&format!("bulkhead {WRITING}")), "{}", status.stdout);
    guardd.finish().unwrap();
}

#[test]
fn strict_makes_it_an_error_at_start_at_reload_and_in_check() {
    if !without_controllers("strict_makes_it_an_error_at_start_at_reload_and_in_check") {
        return;
    }
    let strict = |body: &str| config(body).daemon("strict", "true");
    let mut guardd = Guardd::prepare(strict(LIMITS)).unwrap();
    guardd.launch().unwrap();
    let error = format!("{:#}", guardd.wait_ready().unwrap_err());
    assert!(error.contains("daemon.strict") && error.contains("pids_max"), "{error}");
    assert!(guardd.leftovers().is_empty(), "{:?}", guardd.leftovers());
    let path = guardd.config_path().display().to_string();
    let check = guardd.ctl(&["check", &path]).unwrap();
    assert_eq!(check.code, 2, "{check:?}");
    assert!(check.stderr.contains("bulkheads.research.cpu_max cannot be enforced"), "{check:?}");

    // Without limits there is nothing to insist on; then they come, by a reload.
    let mut guardd = Guardd::start(strict("")).unwrap();
    guardd.set_config(strict(LIMITS)).unwrap();
    let reload = guardd.ctl(&["reload"]).unwrap();
    assert_eq!(reload.code, 1, "{reload:?}");
    assert!(reload.stderr.contains("daemon.strict"), "{reload:?}");
    assert!(limits(&guardd).is_empty(), "the old configuration is in force");
    // Not strict: the same file is taken, and check has a note.
    guardd.set_config(config(LIMITS)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(limits(&guardd).len(), 3);
    let path = guardd.config_path().display().to_string();
    let check = guardd.ctl(&["check", &path]).unwrap();
    assert!(check.code == 0 && check.stderr.contains("would not be enforced"), "{check:?}");
    guardd.finish().unwrap();
}

#[test]
fn a_bulkhead_that_others_depend_on_gets_no_limit() {
    if !requires::cgroups("a_bulkhead_that_others_depend_on_gets_no_limit") {
        return;
    }
    let mut guardd = Guardd::start(config("")).unwrap();
    let sshd = guardd.directory().join("sshd");
    fs::copy(binary("testbed-hog").unwrap(), &sshd).unwrap();
    let mut hog = Hog::start_as(&guardd, RESEARCH, &sshd);
    hog.ask("spin 0");
    guardd.set_config(config(LIMITS)).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    for limit in limits(&guardd) {
        assert_eq!(limit["state"], "not_enforced", "{limit}");
        let why = limit["why"].as_str().unwrap();
        assert!(why.contains("(sshd)") && why.contains("serves others"), "{limit}");
    }
    drop(hog);
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

fn frozen(guardd: &Guardd) -> String {
    fs::read_to_string(guardd.bulkhead(RESEARCH).join("cgroup.freeze")).unwrap().trim().to_owned()
}

fn has_pressure(test: &str, guardd: &Guardd) -> bool {
    let there = fs::read_to_string(guardd.bulkhead(RESEARCH).join("cpu.pressure")).is_ok();
    if !there {
        requires::skip(test, "this kernel does not measure pressure");
    }
    there
}

const STAGES: &str = "pressure = { cpu_stall_above = \"5%\", lasting = \"1s\", calm_for = \"1s\", \
                      calm_share = 0.9, errno = \"EHOSTUNREACH\", stages = [STAGES] }\n";

/// Threads that fight for processors: more than this machine has.
fn crowd(guardd: &Guardd) -> Hog {
    let mut hog = Hog::start(guardd, RESEARCH);
    let processors = std::thread::available_parallelism().unwrap().get();
    hog.ask(&format!("spin {}", processors * 4));
    hog
}

/// New connections are refused while processors are fought for, and pass again when it is over.
#[test]
fn under_pressure_new_connections_are_refused_until_it_is_over() {
    const TEST: &str = "under_pressure_new_connections_are_refused_until_it_is_over";
    if !requires::cgroups(TEST) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(config(&STAGES.replace("STAGES", "\"refuse\""))).unwrap();
    if !has_pressure(TEST, &guardd) {
        return;
    }
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut kept = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let mut neighbour = agent(&guardd, WRITING, &url(address), &[]);
    assert!(caller.call(LIMIT).unwrap().is_ok() && kept.call(LIMIT).unwrap().is_ok());
    let hog = crowd(&guardd);
    let stage = events_when(&guardd, "pressure_stage", 1);
    let message = stage[0]["message"].as_str().unwrap();
    assert!(message.starts_with("refuse: new connections get EHOSTUNREACH"), "{message}");
    assert!(message.contains("cpu_stall_above 5%"), "{message}");
    let record = caller.call(LIMIT).unwrap();
    assert_eq!(record.outcome, "EHOSTUNREACH", "{record:?}");
    let record = kept.call(LIMIT).unwrap();
    assert!(record.is_ok() && record.reused, "what is open stays open: {record:?}");
    assert!(neighbour.call(LIMIT).unwrap().is_ok(), "the neighbour's connections pass");
    let rejected = ["bulkhead=\"research\"", "reason=\"pressure\""];
    assert!((metric(&guardd, "guard_bulkhead_rejected_total", &rejected) - 1.0).abs() < 1e-9);
    let stage = ["bulkhead=\"research\"", "stage=\"refuse\""];
    assert!((metric(&guardd, "guard_bulkhead_pressure_stage", &stage) - 1.0).abs() < 1e-9);
    let status = guardd.ctl(&["status"]).unwrap();
    assert!(status.stdout.contains("research under pressure: refuse"), "{}", status.stdout);
    let outcome = ["bulkhead=\"research\"", "outcome=\"rejected\""];
    assert!((metric(&guardd, "guard_calls_total", &outcome) - 1.0).abs() < 1e-9);
    drop(hog);
    // The kernel's average of 10 s has to come down first.
    wait::until("calm", Duration::from_mins(1), || {
        !events(&guardd, "pressure_relieved").is_empty()
    })
    .unwrap();
    assert!(caller.call(LIMIT).unwrap().is_ok(), "the way back");
    assert!(metric(&guardd, "guard_bulkhead_pressure_stage", &stage).abs() < 1e-9);
}

/// A daemon that is killed refuses nobody for longer than its last word holds.
#[test]
fn refusals_end_with_the_daemon_that_wanted_them() {
    const TEST: &str = "refusals_end_with_the_daemon_that_wanted_them";
    if !requires::cgroups(TEST) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd =
        Guardd::start(config(&STAGES.replace("STAGES", "\"refuse\", \"freeze\""))).unwrap();
    if !has_pressure(TEST, &guardd) {
        return;
    }
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let hog = crowd(&guardd);
    events_when(&guardd, "pressure_stage", 1);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "EHOSTUNREACH");
    wait::until("a frozen bulkhead", LIMIT, || frozen(&guardd) == "1").unwrap();
    guardd.sigkill().unwrap();
    assert_eq!(frozen(&guardd), "1", "nobody is there to thaw it");
    // By hand, to see what connects get.
    let freeze = guardd.bulkhead(RESEARCH).join("cgroup.freeze");
    fs::write(&freeze, "0").unwrap();
    std::thread::sleep(Duration::from_secs(6));
    assert!(caller.call(LIMIT).unwrap().is_ok(), "the kernel has forgotten it");
    fs::write(&freeze, "1").unwrap();
    let said = guardd.cleanup().unwrap();
    assert_eq!(frozen(&guardd), "0", "{said:?}");
    drop((hog, caller));
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    assert_eq!(guardd.cleanup().unwrap().code, 0);
}

/// Frozen, then the youngest killed one by one, never the first, then all; and thawed again.
#[test]
fn the_stages_come_in_their_order_and_the_first_process_goes_last() {
    const TEST: &str = "the_stages_come_in_their_order_and_the_first_process_goes_last";
    if !requires::cgroups(TEST) {
        return;
    }
    let body = STAGES.replace("STAGES", "\"kill_newest\", \"kill\"");
    let mut guardd = Guardd::start(config(&body)).unwrap();
    if !has_pressure(TEST, &guardd) {
        return;
    }
    let mut first = crowd(&guardd);
    assert_eq!(first.ask("forks 2"), "forked 2 refused 0");
    let stages = events_when(&guardd, "pressure_stage", 3);
    let words: Vec<&str> = stages.iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert!(words[0].starts_with("kill_newest: process"), "{words:?}");
    assert!(words[1].starts_with("kill_newest: process"), "{words:?}");
    assert!(
        words[2].starts_with("kill: ") && words[2].contains("killed, processes: "),
        "{words:?}"
    );
    assert!(!words[0].contains(&first.0.pid().to_string()), "{words:?}");
    first.0.wait(LIMIT).unwrap();
    assert!(guardd.cgroup().processes().is_empty());
    // Whoever comes next runs.
    let mut next = Hog::start(&guardd, RESEARCH);
    assert_eq!(next.ask("spin 0"), "spins");
    assert_eq!(frozen(&guardd), "0");
    drop(next);
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    assert_eq!(guardd.stop().unwrap().code(), Some(0));
}

/// What serves others is neither frozen nor killed.
#[test]
fn what_serves_others_is_spared() {
    const TEST: &str = "what_serves_others_is_spared";
    if !requires::cgroups(TEST) {
        return;
    }
    let body = STAGES.replace("STAGES", "\"freeze\", \"kill_newest\", \"kill\"");
    let mut guardd = Guardd::start(config(&body)).unwrap();
    if !has_pressure(TEST, &guardd) {
        return;
    }
    let tmux: &Path = &guardd.directory().join("tmux");
    fs::copy(binary("testbed-hog").unwrap(), tmux).unwrap();
    let mut server = Hog::start_as(&guardd, RESEARCH, tmux);
    server.ask("spin 0");
    let mut hog = crowd(&guardd);
    let skipped = events_when(&guardd, "pressure_stage_skipped", 3);
    for event in &skipped {
        assert!(event["message"].as_str().unwrap().contains("(tmux)"), "{event}");
    }
    assert!(events(&guardd, "pressure_stage").is_empty());
    assert!(server.is_running() && hog.is_running());
    assert_eq!(frozen(&guardd), "0");
    drop((server, hog));
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    assert_eq!(guardd.stop().unwrap().code(), Some(0));
}

/// Monitor mode counts, and touches nothing.
#[test]
fn monitor_mode_leaves_pressure_alone() {
    const TEST: &str = "monitor_mode_leaves_pressure_alone";
    if !requires::cgroups(TEST) {
        return;
    }
    let body = STAGES.replace("STAGES", "\"freeze\", \"kill\"") + LIMITS;
    let mut guardd = Guardd::start(config(&body).daemon("mode", "\"monitor\"")).unwrap();
    if !has_pressure(TEST, &guardd) {
        return;
    }
    assert!(limits(&guardd).iter().all(|limit| limit["state"] == "monitor"));
    let mut hog = crowd(&guardd);
    let would = events_when(&guardd, "would_have", 2);
    assert!(would[0]["message"].as_str().unwrap().starts_with("would have: freeze"), "{would:?}");
    assert!(hog.is_running());
    assert_eq!(frozen(&guardd), "0");
    assert!(metric(&guardd, "guard_would_have_total", &["action=\"resource_limit\""]) >= 2.0);
    drop(hog);
    wait::until("an empty bulkhead", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    assert_eq!(guardd.stop().unwrap().code(), Some(0));
}
