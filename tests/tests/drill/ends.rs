//! However a drill ends, its faults end with it.

use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::{requires, timing, wait};

use crate::rig::{LIMIT, RESEARCH, pair};
use crate::scene::{Scene, record};

/// A drill that would last for minutes: refusals, and no steady state that could fail.
const LONG: &str = "before = \"0s\"\nduration = \"120s\"\nafter = \"5s\"\n\
                    [[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nrefuse = { percent = 50 }\n\
                    [[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nlatency = { delay = \"10ms\" }\n\
                    [[steady_state]]\nname = \"fine\"\ncommand = [\"/bin/true\"]\n";

/// Until no fault is listed; how long that took.
fn faults_end(scene: &Scene) -> Duration {
    let start = Instant::now();
    wait::until("the end of the faults", LIMIT, || scene.faults().is_empty()).unwrap();
    start.elapsed()
}

fn interrupted(record: &Value, code: i32, why: &str) {
    assert_eq!(code, 5, "{record:#}");
    assert_eq!(record["status"], "interrupted", "{record:#}");
    let said = record["why"].as_str().unwrap();
    assert!(said.contains(why), "{said}");
    assert_eq!(record["cleanup"]["complete"], json!(true), "{record:#}");
}

#[test]
fn an_abort_condition_ends_it() {
    if !requires::cgroups("an_abort_condition_ends_it") {
        return;
    }
    let scene = Scene::new();
    let rest = format!(
        "{LONG}[[steady_state]]\nname = \"slow\"\ncommand = [\"/bin/sleep\", \"59\"]\n\
         timeout = \"60s\"\n[[abort]]\nbulkhead = \"research\"\nsuccess_rate_below = 0.9\nfor = \"1s\"\nmin_calls = 1\n"
    );
    let (record, code) = scene.run(&rest, &[]);
    assert_eq!(code, 1, "{record:#}");
    assert_eq!((&record["status"], &record["verdict"]), (&json!("aborted"), &json!("deviated")));
    let why = record["why"].as_str().unwrap();
    assert!(why.starts_with("research success ") && why.contains(" < 90.0 % for 1s"), "{why}");
    // A probe that is still at its first try keeps no fault alive.
    assert!(record["seconds"].as_f64().unwrap() < 30.0, "{record:#}");
    assert_eq!(record["cleanup"]["complete"], json!(true));
    scene.end();
}

#[test]
fn signals_end_it_in_good_order() {
    if !requires::cgroups("signals_end_it_in_good_order") {
        return;
    }
    let scene = Scene::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut drill = scene.start(LONG, &[]);
        drill.signal(signal).unwrap();
        let (record, code) = record(&mut drill);
        interrupted(&record, code, "stopped by a signal");
        assert_eq!(record["proof"][0]["fault"]["ended"], "drill over", "{record:#}");
        assert_eq!(scene.faults(), [Value::Null; 0]);
    }
    scene.end();
}

#[test]
fn a_client_that_is_killed_takes_its_faults_with_it() {
    if !requires::cgroups("a_client_that_is_killed_takes_its_faults_with_it") {
        return;
    }
    let scene = Scene::new();
    let mut drill = scene.start(LONG, &[]);
    drill.kill().unwrap();
    // The rules of the latency go by commands, which take a while.
    let took = faults_end(&scene);
    assert!(took < timing::at_most(Duration::from_secs(3)), "{took:?}");
    let refused = |scene: &Scene| pair(&scene.guardd, RESEARCH, "api").faulted;
    let last = refused(&scene);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(refused(&scene), last, "nothing is touched any more");
    scene.end();
}

#[test]
fn a_halt_and_an_abort_by_others_end_it() {
    if !requires::cgroups("a_halt_and_an_abort_by_others_end_it") {
        return;
    }
    let scene = Scene::new();
    let mut drill = scene.start(LONG, &[]);
    let running = scene.guardd.ctl_json(&["drill", "list"]).unwrap();
    assert_eq!(running["drills"][0]["name"], "test-drill");
    assert_eq!(running["drills"][0]["faults"].as_array().unwrap().len(), 2, "{running}");
    // A second drill would spoil the numbers of the first.
    let second = scene.guardd.ctl(&["drill", "run", &scene.file(LONG)]).unwrap();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("is running"), "{second:?}");
    assert_eq!(scene.guardd.ctl(&["halt", "a", "real", "incident"]).unwrap().code, 0);
    let (halted, code) = record(&mut drill);
    interrupted(&halted, code, "halted: a real incident");
    let refused = scene.guardd.ctl(&["drill", "run", &scene.file(LONG)]).unwrap();
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("a real incident"), "{refused:?}");
    assert_eq!(scene.guardd.ctl(&["resume"]).unwrap().code, 0);

    let mut drill = scene.start(LONG, &[]);
    assert_eq!(scene.guardd.ctl(&["drill", "abort"]).unwrap().code, 0);
    let (aborted, code) = record(&mut drill);
    interrupted(&aborted, code, "aborted by uid");

    let mut drill = scene.start(LONG, &[]);
    assert_eq!(scene.guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
    drill.signal(Signal::SIGINT).unwrap();
    let (_, code) = record(&mut drill);
    assert_eq!(code, 5);
    scene.end();
}

#[test]
fn a_guardd_that_is_killed_leaves_a_record_and_no_fault() {
    if !requires::cgroups("a_guardd_that_is_killed_leaves_a_record_and_no_fault") {
        return;
    }
    let mut scene = Scene::new();
    let mut drill = scene.start(LONG, &[]);
    scene.guardd.sigkill().unwrap();
    let (record, code) = record(&mut drill);
    assert_eq!((code, &record["status"]), (5, &json!("interrupted")), "{record:#}");
    assert!(record["why"].as_str().unwrap().contains("guardd"), "{record:#}");
    assert_eq!(record["cleanup"]["complete"], Value::Null, "nobody could be asked");
    scene.guardd.restart().unwrap();
    scene.end();
}

#[test]
fn a_full_disk_costs_the_results_and_nothing_else() {
    let test = "a_full_disk_costs_the_results_and_nothing_else";
    if !requires::cgroups(test) {
        return;
    }
    let scene = Scene::new();
    let out = scene.out();
    std::fs::create_dir(&out).unwrap();
    // Room for a page or two: the directory of the run, and no report.
    let options = Some("size=8k");
    if let Err(error) = mount(Some("tmpfs"), &out, Some("tmpfs"), MsFlags::empty(), options) {
        return requires::skip(test, &format!("no tmpfs: {error}"));
    }
    let file = scene.file(
        "before = \"0s\"\nduration = \"2s\"\nafter = \"5s\"\n[[fault]]\nbulkhead = \"research\"\n\
         service = \"api\"\nloss = { percent = 1 }\n[[steady_state]]\ncommand = [\"/bin/true\"]\n",
    );
    let ran = scene.guardd.ctl(&["drill", "run", &file, "--out", &out.display().to_string()]);
    umount2(&out, MntFlags::MNT_DETACH).unwrap();
    let ran = ran.unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("No space left on device"), "{ran:?}");
    assert!(
        ran.stdout.contains("HELD  test-drill"),
        "what it has shown is said all the same: {ran:?}"
    );
    scene.end();
}
