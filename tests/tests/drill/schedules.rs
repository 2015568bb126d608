//! Drills that guardd runs by itself. They come every second or two here, with times that a person
//! would never choose.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::{requires, wait};

use crate::rig::LIMIT;
use crate::scene::{DRILL_LIMIT, Scene};

const SHORT: &str = "before = \"0s\"\nduration = \"1s\"\nafter = \"0s\"\n";
const LONG: &str = "before = \"0s\"\nduration = \"120s\"\nafter = \"0s\"\n";
const REST: &str = "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\n\
                    latency = { delay = \"10ms\" }\n\
                    [[steady_state]]\nname = \"fine\"\ncommand = [\"/bin/true\"]\n";

fn schedule(name: &str, drill: &str, more: &str) -> String {
    format!("[[schedule]]\nname = \"{name}\"\ndrill = \"{drill}\"\n{more}\n")
}

fn status(scene: &Scene, name: &str) -> Value {
    let listed = scene.guardd.ctl_json(&["drill", "list"]).unwrap();
    let schedules = listed["schedules"].as_array().unwrap();
    schedules.iter().find(|schedule| schedule["name"] == name).cloned().unwrap_or_default()
}

fn runs(scene: &Scene, name: &str, verdict: &str) -> Option<f64> {
    let labels = [format!("schedule=\"{name}\""), format!("verdict=\"{verdict}\"")];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    // A busy host may be too slow for one scrape; whoever waits asks again.
    scene.guardd.metric("guard_drill_runs_total", &labels).unwrap_or_default()
}

fn events(scene: &Scene, kind: &str) -> Vec<String> {
    let events = scene.guardd.ctl_json(&["events", "--kind", kind]).unwrap();
    let events = events["events"].as_array().unwrap().iter();
    events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn reload(scene: &Scene) {
    let reloaded = scene.guardd.ctl(&["reload"]).unwrap();
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
}

fn results(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().unwrap().path().join("record.json").exists()).count()
    })
}

#[test]
fn a_schedule_runs_its_drill_and_counts_it() {
    if !requires::cgroups("a_schedule_runs_its_drill_and_counts_it") {
        return;
    }
    let mut scene = Scene::new();
    let (drill, out) = (scene.file(&format!("{SHORT}{REST}")), scene.out());
    let often = format!("calendar = \"* * * * * *\"\nout = \"{}\"", out.display());
    let later = "calendar = \"0 10 1 1 *\"";
    scene.configure(
        // The first of two that are due at the same time is the first of the file.
        &(schedule(
            "broken",
            "/nowhere/at/all.toml",
            "calendar = \"*/2 * * * * *\"\noverlap = \"wait\"",
        ) + &schedule("often", &drill, &often)
            + &schedule("later", &drill, later)
            + &schedule("never", &drill, "calendar = \"* * * * * *\"\nenabled = false")),
    );
    reload(&scene);
    wait::until("a drill that held", DRILL_LIMIT, || {
        runs(&scene, "often", "held") >= Some(1.0) && runs(&scene, "broken", "failed") >= Some(1.0)
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", scene.guardd.metrics().unwrap()));
    assert!(results(&out) >= 1, "{}", out.display());
    let often = status(&scene, "often");
    assert_eq!(often["last"]["verdict"], "held", "{often}");
    assert_eq!(often["last"]["exit_code"], 0, "{often}");
    assert!(out.join(often["last"]["run_id"].as_str().unwrap()).is_dir(), "{often}");
    let broken = status(&scene, "broken");
    assert_eq!(broken["last"]["verdict"], "failed", "{broken}");
    assert_eq!(broken["last"]["exit_code"], 2, "{broken}");
    assert!(broken["last"]["why"].as_str().unwrap().contains("/nowhere/at/all.toml"), "{broken}");
    assert!(!events(&scene, "drill_scheduled").is_empty());
    let is_overlap = |message: &String| message.contains("another drill runs");
    wait::until("one a second overlaps", DRILL_LIMIT, || {
        events(&scene, "drill_skipped").iter().any(is_overlap)
    })
    .unwrap();
    for (name, state) in [("later", "idle"), ("never", "disabled")] {
        assert_eq!(status(&scene, name)["state"], state);
        assert_eq!(runs(&scene, name, "held"), Some(0.0));
    }
    let next = scene.guardd.metric("guard_drill_schedule_next_seconds", &["schedule=\"later\""]);
    assert_eq!(next.unwrap(), status(&scene, "later")["next_unix_seconds"].as_f64());
    let text = scene.guardd.ctl(&["drill", "list"]).unwrap();
    assert!(text.stdout.contains("0 10 1 1 *"), "{text:?}");

    assert_eq!(scene.guardd.ctl(&["halt", "a", "test"]).unwrap().code, 0);
    let is_halted = |message: &String| message.contains("faults are halted");
    wait::until("a skip", LIMIT, || events(&scene, "drill_skipped").iter().any(is_halted)).unwrap();
    assert_eq!(scene.guardd.ctl(&["resume"]).unwrap().code, 0);
    scene.configure("");
    reload(&scene);
    // What runs goes on; nothing new begins.
    wait::until("the last drill's end", DRILL_LIMIT, || {
        let listed = scene.guardd.ctl_json(&["drill", "list"]).unwrap();
        listed["drills"] == serde_json::json!([])
            && events(&scene, "drill_finished").len() == events(&scene, "drill_scheduled").len()
    })
    .unwrap();
    scene.end();
}

#[test]
fn a_reload_leaves_a_drill_alone_and_a_stop_ends_it() {
    if !requires::cgroups("a_reload_leaves_a_drill_alone_and_a_stop_ends_it") {
        return;
    }
    let mut scene = Scene::new();
    let (drill, out) = (scene.file(&format!("{LONG}{REST}")), scene.out());
    let often = format!("calendar = \"* * * * * *\"\nout = \"{}\"", out.display());
    scene.configure(&schedule("often", &drill, &often));
    reload(&scene);
    wait::until("its fault", LIMIT, || scene.faults().len() == 1).unwrap();
    assert_eq!(status(&scene, "often")["state"], "running");
    let fault = scene.faults()[0]["id"].clone();
    scene.configure(&schedule("often", &drill, &format!("{often}\nwindow = \"1m\"")));
    scene.guardd.signal(Signal::SIGHUP).unwrap();
    let reloads = |scene: &Scene| events(scene, "reloaded").len();
    wait::until("the second reload", LIMIT, || reloads(&scene) == 2).unwrap();
    scene.configure("");
    scene.guardd.signal(Signal::SIGHUP).unwrap();
    wait::until("the third", LIMIT, || reloads(&scene) == 3).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.faults()[0]["id"], fault, "it still runs");
    assert_eq!(events(&scene, "drill_scheduled").len(), 1);

    assert!(scene.guardd.stop().unwrap().success());
    assert_eq!(results(&out), 1, "it reported before guardd went");
    scene.guardd.restart().unwrap();
    scene.end();
}

/// What an earlier guardd wrote down is old: it has missed last midnight, and many before.
#[test]
fn what_was_missed_is_run_once_whatever_restarts() {
    if !requires::cgroups("what_was_missed_is_run_once_whatever_restarts") {
        return;
    }
    let mut scene = Scene::new();
    let (drill, out) = (scene.file(&format!("{SHORT}{REST}")), scene.out());
    let daily = format!(
        "calendar = \"0 0 * * *\"\nwindow = \"24h\"\nmissed = \"run_once\"\nout = \"{}\"",
        out.display()
    );
    scene.configure(&schedule("daily", &drill, &daily));
    assert!(scene.guardd.stop().unwrap().success());
    let handled = "2026-01-01T00:00:00Z";
    let memory = serde_json::json!({ "daily": { "calendar": "0 0 * * *", "handled": handled } });
    std::fs::write(scene.guardd.state_dir().join("schedules.json"), memory.to_string()).unwrap();

    scene.guardd.restart().unwrap();
    wait::until("the drill that was missed", DRILL_LIMIT, || {
        runs(&scene, "daily", "held").is_some_and(|count| count > 0.0)
    })
    .unwrap();
    assert_eq!(runs(&scene, "daily", "held"), Some(1.0), "many days are one run");
    assert_eq!(results(&out), 1);
    assert!(scene.guardd.stop().unwrap().success());
    scene.guardd.restart().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(events(&scene, "drill_scheduled"), [""; 0], "not once more");
    assert_eq!(results(&out), 1);
    scene.end();
}
