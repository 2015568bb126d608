//! Limits where cgroup v2 has all controllers: set, changed, noticed, counted, taken back. It
//! exhausts memory and processes, so it runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{cgroup, requires, stats, wait};

#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::{Hog, LIMIT, RESEARCH, agent, events, events_when, metric, url};

const MIB: usize = 1 << 20;
/// Most of a minute: an emulated processor is slow.
const LONG: Duration = Duration::from_mins(1);

/// Whether this is a guest; then its top cgroup hands the controllers down, as a host of systemd
/// does.
fn ready(test: &str) -> bool {
    if !requires::vm(test) {
        return false;
    }
    let control = cgroup::mount_point().unwrap().join("cgroup.subtree_control");
    fs::write(control, "+memory +cpu +pids").unwrap();
    true
}

fn config(research: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[bulkheads.research]\ncgroup = \"agents/research\"\n{research}\n[bulkheads.writing]\n\
         cgroup = \"agents/writing\"\n[defaults.breaker]\nmode = \"off\"\n"
    ))
}

const AGENTS: &str = "agents/research";

fn file(guardd: &Guardd, name: &str) -> PathBuf {
    guardd.bulkhead(AGENTS).join(name)
}

fn value(guardd: &Guardd, name: &str) -> String {
    fs::read_to_string(file(guardd, name)).unwrap().trim().to_owned()
}

fn resources(guardd: &Guardd) -> Value {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    bulkheads.iter().find(|b| b["name"] == RESEARCH).unwrap()["resources"].clone()
}

fn limit(guardd: &Guardd, key: &str) -> Value {
    let resources = resources(guardd);
    let limits = resources["limits"].as_array().unwrap();
    limits.iter().find(|l| l["resource"] == key).cloned().unwrap_or_default()
}

fn of_research(name: &str, guardd: &Guardd, more: &[&str]) -> f64 {
    let mut labels = vec!["bulkhead=\"research\""];
    labels.extend(more);
    metric(guardd, name, &labels)
}

fn reload(guardd: &mut Guardd, body: &str) {
    guardd.set_config(config(body)).unwrap();
    let said = guardd.ctl(&["reload"]).unwrap();
    assert_eq!(said.code, 0, "{said:?}");
}

fn empty(guardd: &Guardd) {
    wait::until("empty bulkheads", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
}

const ALL: &str = "memory_max = \"128MiB\"\nmemory_high = \"96MiB\"\nmemory_swap_max = \"0MiB\"\n\
                   memory_oom_group = true\ncpu_max = \"50%\"\ncpu_weight = 50\npids_max = 40\n";

#[test]
fn limits_are_set_changed_noticed_and_taken_back() {
    if !ready("limits_are_set_changed_noticed_and_taken_back") {
        return;
    }
    let mut guardd = Guardd::start(config(ALL).daemon("strict", "true")).unwrap();
    for (name, wanted) in [
        ("memory.max", "134217728"),
        ("memory.high", "100663296"),
        ("memory.oom.group", "1"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "50"),
        ("pids.max", "40"),
    ] {
        assert_eq!(value(&guardd, name), wanted, "{name}");
    }
    // Without swap in the kernel there is no such file.
    if file(&guardd, "memory.swap.max").exists() {
        assert_eq!(value(&guardd, "memory.swap.max"), "0");
    }
    for key in ["memory_max", "memory_high", "cpu_max", "pids_max"] {
        assert_eq!(limit(&guardd, key)["state"], "enforced", "{key}");
        let enforced = format!("resource=\"{key}\"");
        assert_eq!(of_research("guard_bulkhead_limit_enforced", &guardd, &[&enforced]), 1.0);
    }
    let cpu = of_research("guard_bulkhead_limit", &guardd, &["resource=\"cpu_max\""]);
    assert!((cpu - 0.5).abs() < 1e-9, "{cpu}");

    // Changed by a reload: no restart, and a process inside goes on.
    let mut hog = Hog::start(&guardd, AGENTS);
    hog.ask("hold 1048576");
    let pid = guardd.pid().unwrap();
    reload(&mut guardd, "memory_max = \"64MiB\"\ncpu_max = \"20%\"\n");
    assert_eq!(value(&guardd, "memory.max"), "67108864");
    assert_eq!(value(&guardd, "cpu.max"), "20000 100000");
    for (name, unset) in [
        ("memory.high", "max"),
        ("pids.max", "max"),
        ("cpu.weight", "100"),
        ("memory.oom.group", "0"),
    ] {
        assert_eq!(value(&guardd, name), unset, "{name} is not wanted any more");
    }
    assert!(hog.is_running() && guardd.pid().unwrap() == pid);

    // Somebody else writes: reported, and not fought.
    fs::write(file(&guardd, "memory.max"), "80000000").unwrap();
    events_when(&guardd, "limit_changed", 1);
    let changed = limit(&guardd, "memory_max");
    assert_eq!(changed["state"], "changed", "{changed}");
    assert!(changed["why"].as_str().unwrap().contains("somebody has changed"), "{changed}");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(value(&guardd, "memory.max"), (80_000_000 / 4096 * 4096).to_string());
    assert_eq!(events(&guardd, "limit_changed").len(), 1, "said once");
    reload(&mut guardd, "memory_max = \"72MiB\"\n");
    assert_eq!(value(&guardd, "memory.max"), "75497472", "the operator's word counts");

    // Monitor mode touches nothing: what was set goes.
    guardd.set_config(config("memory_max = \"72MiB\"\n").daemon("mode", "\"monitor\"")).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(value(&guardd, "memory.max"), "max");
    hog.ask(&format!("hold {}", 80 * MIB));
    events_when(&guardd, "would_have", 1);
    assert!(metric(&guardd, "guard_would_have_total", &["action=\"resource_limit\""]) >= 1.0);
    drop(hog);
    empty(&guardd);
    guardd.finish().unwrap();
}

/// A cgroup that was there before guard has its own values again after it.
#[test]
fn an_adopted_cgroup_gets_its_own_values_back() {
    if !ready("an_adopted_cgroup_gets_its_own_values_back") {
        return;
    }
    let mut guardd = Guardd::prepare(config(ALL)).unwrap();
    let adopted = guardd.cgroup().child(AGENTS).unwrap();
    for dir in [guardd.cgroup().path().to_owned(), adopted.parent().unwrap().to_owned()] {
        fs::write(dir.join("cgroup.subtree_control"), "+memory +pids").unwrap();
    }
    fs::write(adopted.join("memory.max"), "209715200").unwrap();
    let before = |name: &str| fs::read_to_string(adopted.join(name)).unwrap().trim().to_owned();
    let mut how = Vec::new();
    for end in ["stop", "cleanup after kill -9", "start after kill -9, then stop"] {
        guardd.restart().unwrap();
        assert_eq!(before("memory.max"), "134217728", "{end}");
        assert_eq!(before("cpu.max"), "50000 100000", "{end}");
        match end {
            "stop" => {
                guardd.stop().unwrap();
            }
            "cleanup after kill -9" => {
                guardd.sigkill().unwrap();
                assert_eq!(before("memory.max"), "134217728", "limits outlive a killed daemon");
                let said = guardd.cleanup().unwrap();
                assert_eq!(said.code, 0, "{said:?}");
            }
            _ => {
                guardd.sigkill().unwrap();
                guardd.set_config(config("pids_max = 40\n")).unwrap();
                guardd.restart().unwrap();
                assert_eq!(before("memory.max"), "209715200", "not wanted by this file");
                assert_eq!(before("pids.max"), "40");
                guardd.stop().unwrap();
            }
        }
        how.push(end);
        assert_eq!(before("memory.max"), "209715200", "{how:?}");
        assert_eq!(before("pids.max"), "max", "{how:?}");
        let control = fs::read_to_string(guardd.cgroup().path().join("cgroup.subtree_control"));
        // The controller that guard switched on is off again; those of others stay.
        assert_eq!(control.unwrap().trim(), "memory pids", "{how:?}");
    }
    fs::write(adopted.join("memory.max"), "max").unwrap();
    for dir in [adopted.parent().unwrap().to_owned(), guardd.cgroup().path().to_owned()] {
        fs::write(dir.join("cgroup.subtree_control"), "-memory -pids").unwrap();
    }
    fs::remove_dir(&adopted).unwrap();
    fs::remove_dir(adopted.parent().unwrap()).unwrap();
}

/// `on_exit = "keep"` keeps limits too, and the next start knows what was before them.
#[test]
fn limits_that_are_kept_are_taken_over() {
    if !ready("limits_that_are_kept_are_taken_over") {
        return;
    }
    let kept = |body: &str| config(body).daemon("on_exit", "\"keep\"");
    let mut guardd = Guardd::start(kept("pids_max = 40\n")).unwrap();
    let mut hog = Hog::start(&guardd, AGENTS);
    hog.ask("spin 0");
    guardd.stop().unwrap();
    assert_eq!(value(&guardd, "pids.max"), "40");
    guardd.set_config(kept("pids_max = 50\n")).unwrap();
    guardd.restart().unwrap();
    assert_eq!(value(&guardd, "pids.max"), "50");
    guardd.stop().unwrap();
    let said = guardd.cleanup().unwrap();
    // With its controller the file itself is gone, though a process keeps the cgroup.
    assert!(
        said.stdout.contains("CgroupValue") && said.stdout.contains("ControllerOn"),
        "{said:?}"
    );
    assert!(!file(&guardd, "pids.max").exists(), "{said:?}");
    assert!(file(&guardd, "cgroup.procs").exists());
    drop(hog);
    empty(&guardd);
    let said = guardd.cleanup().unwrap();
    assert_eq!(said.code, 0, "{said:?}");
}

/// Processes in a cgroup above keep its children without controllers.
#[test]
fn a_cgroup_with_processes_hands_nothing_down_and_that_is_said() {
    if !ready("a_cgroup_with_processes_hands_nothing_down_and_that_is_said") {
        return;
    }
    let mut guardd = Guardd::start(config("")).unwrap();
    let mut hog = Hog::start(&guardd, "agents");
    // It is there once it answers.
    hog.ask("spin 0");
    reload(&mut guardd, "pids_max = 40\n");
    let limit_now = limit(&guardd, "pids_max");
    assert_eq!(limit_now["state"], "not_enforced", "{limit_now}");
    assert!(limit_now["why"].as_str().unwrap().contains("processes directly in"), "{limit_now}");
    drop(hog);
    empty(&guardd);
    // Tried again by itself.
    wait::until("the limit", LIMIT, || limit(&guardd, "pids_max")["state"] == "enforced").unwrap();
    assert_eq!(value(&guardd, "pids.max"), "40");
    guardd.finish().unwrap();
}

#[test]
fn whoever_runs_out_of_memory_is_killed_alone_and_counted() {
    if !ready("whoever_runs_out_of_memory_is_killed_alone_and_counted") {
        return;
    }
    let body = "memory_max = \"64MiB\"\nmemory_swap_max = \"0MiB\"\n";
    let mut guardd = Guardd::start(config(body)).unwrap();
    let mut first = Hog::start(&guardd, AGENTS);
    first.ask("spin 0");
    let mut hog = Hog::start(&guardd, AGENTS);
    hog.order(&format!("hold {}", 200 * MIB));
    hog.0.wait(LIMIT).unwrap();
    assert!(first.is_running(), "the agent outlives its tool");
    let killed = events_when(&guardd, "oom_kill", 1);
    assert_eq!(killed[0]["bulkhead"], RESEARCH);
    assert_eq!(killed[0]["message"], "killed for want of memory (1 since the last word)");
    events_when(&guardd, "memory_at_max", 1);
    assert_eq!(resources(&guardd)["oom_kills"], 1);
    assert_eq!(
        of_research("guard_bulkhead_memory_events_total", &guardd, &["event=\"oom_kill\""]),
        1.0
    );

    // A limit below what is in use would kill at once: it waits.
    let mut second = Hog::start(&guardd, AGENTS);
    second.ask(&format!("hold {}", 40 * MIB));
    reload(&mut guardd, "memory_max = \"20MiB\"\n");
    let waiting = limit(&guardd, "memory_max");
    assert_eq!(waiting["state"], "not_enforced", "{waiting}");
    assert!(waiting["why"].as_str().unwrap().contains("cannot be reclaimed"), "{waiting}");
    assert_eq!(value(&guardd, "memory.max"), "67108864", "the old limit holds meanwhile");
    assert!(second.is_running());
    second.ask("free");
    wait::until("room", LIMIT, || limit(&guardd, "memory_max")["state"] == "enforced").unwrap();
    assert_eq!(value(&guardd, "memory.max"), (20 * MIB).to_string());

    // More than the host has: set, and said to be odd.
    reload(&mut guardd, "memory_max = \"900GiB\"\n");
    let odd = limit(&guardd, "memory_max");
    assert!(odd["remark"].as_str().unwrap().contains("above the memory"), "{odd}");
    drop((first, second));
    empty(&guardd);
    guardd.finish().unwrap();
}

#[test]
fn forks_end_at_pids_max_and_are_counted() {
    if !ready("forks_end_at_pids_max_and_are_counted") {
        return;
    }
    let mut guardd = Guardd::start(config("pids_max = 12\n")).unwrap();
    let mut hog = Hog::start(&guardd, AGENTS);
    assert_eq!(hog.ask("forks 20"), "forked 11 refused 9");
    let refused = events_when(&guardd, "pids_at_max", 1);
    let message = refused[0]["message"].as_str().unwrap();
    assert!(message.starts_with("a fork refused at pids_max ("), "{message}");
    // Kernels differ in whether each of them is counted.
    let refused = of_research("guard_bulkhead_forks_refused_total", &guardd, &[]);
    assert!((1.0..=9.0).contains(&refused), "{refused}");
    assert_eq!(of_research("guard_bulkhead_tasks", &guardd, &[]), 12.0);
    reload(&mut guardd, "pids_max = 5\n");
    let odd = limit(&guardd, "pids_max");
    assert!(odd["remark"].as_str().unwrap().contains("12 run already"), "{odd}");
    // Its children would outlive it.
    fs::write(file(&guardd, "cgroup.kill"), "1").unwrap();
    drop(hog);
    empty(&guardd);
    guardd.finish().unwrap();
}

#[test]
fn processor_time_is_held_to_cpu_max() {
    if !ready("processor_time_is_held_to_cpu_max") {
        return;
    }
    let guardd = Guardd::start(config("cpu_max = \"20%\"\n")).unwrap();
    let mut hog = Hog::start(&guardd, AGENTS);
    hog.ask("spin 2");
    let used = || resources(&guardd)["cpu_seconds"].as_f64().unwrap();
    let (start, before) = (Instant::now(), used());
    std::thread::sleep(Duration::from_secs(4));
    let share = (used() - before) / start.elapsed().as_secs_f64();
    assert!((0.05..0.30).contains(&share), "{share}: two threads, held to 0.2");
    println!("processor time at cpu_max = 20%: {:.1}%", share * 100.0);
    assert!(of_research("guard_bulkhead_cpu_throttled_seconds_total", &guardd, &[]) > 0.5);
    events_when(&guardd, "cpu_throttled", 1);
    drop(hog);
    empty(&guardd);
    guardd.finish().unwrap();
}

/// Throttled, then refused, then well again.
#[test]
fn memory_pressure_goes_through_its_stages_and_back() {
    if !ready("memory_pressure_goes_through_its_stages_and_back") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let body = "memory_max = \"128MiB\"\npressure = { memory_above = \"50%\", lasting = \"1s\", \
                calm_for = \"1s\", throttle_to = \"75%\", stages = [\"throttle\", \"refuse\"] }\n";
    let guardd = Guardd::start(config(body)).unwrap();
    let mut caller = agent(&guardd, AGENTS, &url(address), &[]);
    let mut hog = Hog::start(&guardd, AGENTS);
    hog.ask(&format!("hold {}", 80 * MIB));
    events_when(&guardd, "pressure_stage", 2);
    assert_eq!(value(&guardd, "memory.high"), (96 * MIB).to_string());
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    hog.ask("free");
    let relieved = events_when(&guardd, "pressure_relieved", 2);
    let words: Vec<&str> = relieved.iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert!(
        words[0].starts_with("refuse taken back") && words[1].starts_with("throttle"),
        "{words:?}"
    );
    assert_eq!(value(&guardd, "memory.high"), "max");
    assert!(caller.call(LIMIT).unwrap().is_ok());
    drop((hog, caller));
    empty(&guardd);
    guardd.finish().unwrap();
}

/// One bulkhead runs out of memory again and again, a bomb goes off in another: the third one's
/// calls all succeed, and take no longer than without them.
#[test]
fn neighbours_of_a_hog_and_of_a_bomb_do_not_notice() {
    if !ready("neighbours_of_a_hog_and_of_a_bomb_do_not_notice") {
        return;
    }
    /// Calls in one stretch, and stretches of each kind, by turns.
    const CALLS: usize = 100;
    const TURNS: usize = 6;
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let body = "memory_max = \"64MiB\"\nmemory_swap_max = \"0MiB\"\ncpu_max = \"10%\"\ncpu_weight = 1\n\
                [bulkheads.bomb]\ncgroup = \"agents/bomb\"\npids_max = 16\ncpu_max = \"10%\"\n\
                cpu_weight = 1\n";
    let guardd = Guardd::start(config(body)).unwrap();
    let mut caller = agent(&guardd, "agents/writing", &url(address), &[]);
    let (mut quiet, mut loud) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        for (times, noisy) in [(&mut quiet, false), (&mut loud, true)] {
            let mut hogs = Vec::new();
            if noisy {
                let mut bomb = Hog::start(&guardd, "agents/bomb");
                bomb.ask("bomb");
                let tasks = guardd.bulkhead("agents/bomb").join("pids.current");
                wait::until("the bomb to fill its bulkhead", LONG, || {
                    fs::read_to_string(&tasks).is_ok_and(|text| text.trim() == "16")
                })
                .unwrap();
                let mut hog = Hog::start(&guardd, AGENTS);
                hog.ask(&format!("devour {}", 500 * MIB));
                hogs.extend([bomb, hog]);
            }
            for _ in 0..CALLS {
                let record = caller.call(LIMIT).unwrap();
                assert!(record.is_ok(), "turn {turn}, noisy {noisy}: {record:?}");
                times.push(record.total_us);
            }
            drop(hogs);
            for name in ["agents/bomb", AGENTS] {
                let bulkhead = guardd.bulkhead(name);
                fs::write(bulkhead.join("cgroup.kill"), "1").unwrap();
                wait::until("the noise to end", LONG, || {
                    fs::read_to_string(bulkhead.join("cgroup.procs")).is_ok_and(|t| t.is_empty())
                })
                .unwrap();
            }
        }
    }
    let kills = of_research("guard_bulkhead_memory_events_total", &guardd, &["event=\"oom_kill\""]);
    let refused = metric(&guardd, "guard_bulkhead_forks_refused_total", &["bulkhead=\"bomb\""]);
    let at = |times: &[f64], share: f64| stats::quantile(times, share).unwrap();
    println!(
        "neighbours: {} calls each, all well; {kills} OOM kills and {refused} refused forks beside \
         them; p50 {:.0} -> {:.0} us, p99 {:.0} -> {:.0} us",
        quiet.len(),
        at(&quiet, 0.5),
        at(&loud, 0.5),
        at(&quiet, 0.99),
        at(&loud, 0.99)
    );
    // Emulated processors that share real ones are no yardstick for a fifth: the numbers are in
    // docs/benchmarks.md.
    assert!(at(&loud, 0.5) < 2.0 * at(&quiet, 0.5), "the neighbours notice");
    assert!(kills >= 1.0 && refused >= 1.0, "{kills} kills, {refused} refused forks");
    assert_eq!(rig::metric(&guardd, "guard_bulkhead_limit_enforced", &[]), 7.0);
    drop(caller);
    empty(&guardd);
    guardd.finish().unwrap();
}
