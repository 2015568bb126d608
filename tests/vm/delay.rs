//! Latency by departure times (EDT) and by NFQUEUE, and the choice between them: needs `fq`, which
//! few kernels have built in. It changes the queue of the guest's own loopback device, so it runs
//! in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

use std::process::Command;
use std::time::{Duration, Instant};

use testbed::agent::{AgentProcess, Record};
use testbed::guardd::Guardd;
use testbed::{requires, stats, timing};

#[path = "../tests/fault/bystander.rs"]
mod bystander;
#[path = "../tests/rig/mod.rs"]
mod rig;

use bystander::Bystander;
use rig::{
    Metered, RESEARCH, WRITING, agent, clear, good_calls, inject, inject_code, metric, pair,
    pair_when, start, start_breakers, url,
};

/// `fq` on the loopback device for as long as this lives.
struct Fq;

impl Fq {
    fn new() -> Self {
        tc("qdisc replace dev lo root fq");
        Self
    }
}

impl Drop for Fq {
    fn drop(&mut self) {
        tc("qdisc del dev lo root");
    }
}

fn tc(line: &str) {
    let output = Command::new("tc").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "tc {line}: {}", String::from_utf8_lossy(&output.stderr));
}

struct Scene {
    // Dropped in this order.
    kept: AgentProcess,
    fresh: AgentProcess,
    bystander: Bystander,
    guardd: Guardd,
    _server: Metered,
}

impl Scene {
    fn new() -> Self {
        let server = Metered::start(&["127.0.0.1:0"]);
        let target = server.addresses[0];
        let guardd = start(&[("api", &server.addresses)]);
        let mut kept = agent(&guardd, RESEARCH, &url(target), &["--keep-alive"]);
        good_calls(&mut kept, 2);
        let fresh = agent(&guardd, RESEARCH, &url(target), &[]);
        let bystander = Bystander::new(&guardd, target);
        Self { kept, fresh, bystander, guardd, _server: server }
    }

    fn doctor_says(&self, words: &str) {
        let doctor = self.guardd.ctl(&["doctor"]).unwrap();
        assert!(doctor.code == 0 && doctor.stdout.contains(words), "{words}: {}", doctor.stdout);
    }
}

fn fastest_ms(records: &[Record]) -> f64 {
    let took: Vec<f64> = records.iter().map(|record| record.total_us / 1000.0).collect();
    println!("took {took:.1?} ms");
    stats::quantile(&took, 0.0).unwrap()
}

/// Longest median of calls without a fault.
fn calm_ms() -> f64 {
    timing::at_most(Duration::from_millis(15)).as_secs_f64() * 1000.0
}

/// Never earlier; later only as much as an emulated processor is late with each of the packets that
/// wait one after the other, at best of several times.
fn is_delayed(what: &str, fastest_ms: f64, packets: f64, delay_ms: f64) {
    let late_ms = timing::at_most(Duration::from_millis(10)).as_secs_f64() * 1000.0;
    let range = packets * delay_ms * 0.99..packets * (delay_ms * 1.02 + late_ms);
    let asked = format!("{packets} times {delay_ms} ms were asked for, and {late_ms} ms allowed");
    assert!(range.contains(&fastest_ms), "{what}: {fastest_ms} ms; {asked}");
}

#[test]
fn departure_times_delay_one_bulkhead_by_what_was_asked() {
    if !requires::vm("departure_times_delay_one_bulkhead_by_what_was_asked") {
        return;
    }
    let _fq = Fq::new();
    let mut scene = Scene::new();
    scene.doctor_says("EDT for destinations behind lo");
    let (mut delayed, mut calls) = (0, 2);
    for delay_ms in [10, 50, 300, 1000] {
        scene.bystander.calls();
        let words = format!("--service api --for 600s --latency {delay_ms}ms");
        let fault = inject(&scene.guardd, RESEARCH, &words);
        assert_eq!((&fault["engine"], &fault["state"]), (&"edt".into(), &"active".into()));
        let delay_ms = f64::from(delay_ms);
        is_delayed("an exchange", fastest_ms(&good_calls(&mut scene.kept, 5)), 1.0, delay_ms);
        let fresh = good_calls(&mut scene.fresh, 3);
        is_delayed("connect and exchange", fastest_ms(&fresh), 2.0, delay_ms);
        let bystander_ms = scene.bystander.calls();
        assert!(bystander_ms < calm_ms(), "the bystander's calls took {bystander_ms} ms");
        assert_eq!(scene.bystander.chains(), [""; 0], "no rule of netfilter is needed");
        let ended = clear(&scene.guardd, &fault);
        let count = ended["counters"]["delayed"].as_u64().unwrap();
        // At the least: a request each; a SYN and a request each.
        assert!(count >= 5 + 3 * 2, "{ended}");
        delayed += count;
        calls += 5 + 3;
    }
    let seen = pair_when(&scene.guardd, RESEARCH, "api", "all calls", |p| p.all_calls() == calls);
    assert_eq!((seen.faulted, seen.call("success")), (delayed, calls), "{seen:?}");
    let afterwards = fastest_ms(&good_calls(&mut scene.kept, 5));
    assert!(afterwards < calm_ms(), "{afterwards} ms after the last fault");
    assert_eq!(pair(&scene.guardd, RESEARCH, "api").faulted, delayed);
    scene.bystander.end(&scene.guardd, "api");
}

#[test]
fn a_host_without_fq_is_delayed_by_nfqueue_and_its_modules_load_themselves() {
    let test = "a_host_without_fq_is_delayed_by_nfqueue_and_its_modules_load_themselves";
    if !requires::vm(test) {
        return;
    }
    let mut scene = Scene::new();
    scene.doctor_says("NFQUEUE; EDT not possible: no device has fq");
    let fault = inject(&scene.guardd, RESEARCH, "--service api --for 600s --latency 300ms");
    assert_eq!((&fault["engine"], &fault["state"]), (&"nfqueue".into(), &"active".into()));
    is_delayed("an exchange", fastest_ms(&good_calls(&mut scene.kept, 5)), 1.0, 300.0);
    let fresh = good_calls(&mut scene.fresh, 3);
    is_delayed("connect and exchange", fastest_ms(&fresh), 2.0, 300.0);
    assert!(scene.bystander.calls() < calm_ms());
    let modules = std::fs::read_to_string("/proc/modules").unwrap();
    for module in ["nfnetlink_queue", "xt_NFQUEUE", "xt_cgroup", "xt_bpf"] {
        let loaded = modules.lines().any(|line| line.starts_with(&format!("{module} ")));
        assert!(loaded, "{module} is a module here, and guardd has it loaded: {modules}");
    }
    clear(&scene.guardd, &fault);
    scene.bystander.end(&scene.guardd, "api");
}

#[test]
fn departure_times_are_chosen_where_fq_is_there_when_a_fault_begins() {
    let test = "departure_times_are_chosen_where_fq_is_there_when_a_fault_begins";
    if !requires::vm(test) {
        return;
    }
    let scene = Scene::new();
    let words = "--service api --for 600s --latency 20ms";
    let engine = || {
        let fault = inject(&scene.guardd, RESEARCH, words);
        let engine = fault["engine"].as_str().unwrap().to_owned();
        clear(&scene.guardd, &fault);
        engine
    };
    assert_eq!(engine(), "nfqueue");
    let fq = Fq::new();
    assert_eq!(engine(), "edt");
    drop(fq);
    assert_eq!(engine(), "nfqueue");
    // fq drops what is to leave beyond its horizon: guard must not ask for that.
    let _fq = Fq::new();
    tc("qdisc change dev lo root fq horizon 500ms");
    let beyond = inject_code(&scene.guardd, RESEARCH, "--service api --for 60s --latency 2s");
    assert!(beyond.code == 0 && beyond.stdout.contains("engine nfqueue"), "{beyond:?}");
    assert_eq!(scene.guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
    scene.bystander.end(&scene.guardd, "api");
}

#[test]
fn departure_times_pace_calls() {
    if !requires::vm("departure_times_pace_calls") {
        return;
    }
    let _fq = Fq::new();
    let server = Metered::start(&["127.0.0.1:0"]);
    let target = server.addresses[0];
    let research = "max_calls_per_second = 2\nmax_calls_burst = 1\npacing_max_delay = \"5s\"";
    let guardd = start_breakers(target, "", "slow_after = \"300ms\"", research);
    let mut bystander = agent(&guardd, WRITING, &url(target), &["--keep-alive"]);
    let mut kept = agent(&guardd, RESEARCH, &url(target), &["--keep-alive"]);
    let began = Instant::now();
    good_calls(&mut kept, 6);
    let took = began.elapsed().as_secs_f64();
    let late = timing::at_most(Duration::from_secs(1)).as_secs_f64();
    assert!((2.4..2.5 + late).contains(&took), "six calls, 0.5 s apart: {took} s");
    // (Both engines are at work: of `other` nobody knows by which device it goes.)
    assert!(fastest_ms(&good_calls(&mut bystander, 5)) < calm_ms());
    let seen = pair(&guardd, RESEARCH, "api");
    assert_eq!((seen.call("success"), seen.all_calls()), (6, 6), "{seen:?}");
    assert!(seen.p50_seconds.unwrap() < 0.3, "the hold is not the service's: {seen:?}");
    let labels = ["bulkhead=\"research\"", "destination=\"api\""];
    let paced = metric(&guardd, "guard_paced_calls_total", &labels);
    assert!((3.0..=5.0).contains(&paced), "{paced}");
    let status = guardd.ctl_json(&["status"]).unwrap().to_string();
    assert!(status.contains("\"pacing_engine\":\"edt\""), "{status}");
    drop((bystander, kept));
    guardd.finish().unwrap();
}
