//! Drills that go on without whoever started them.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testbed::{requires, wait};

use crate::rig::LIMIT;
use crate::scene::Scene;

const LONG: &str = "before = \"0s\"\nduration = \"120s\"\nafter = \"0s\"\n\
                    [[fault]]\nbulkhead = \"research\"\nservice = \"api\"\n\
                    latency = { delay = \"10ms\" }\n\
                    [[steady_state]]\nname = \"fine\"\ncommand = [\"/bin/true\"]\n";

/// `(session, terminal)` of a process; see proc_pid_stat(5).
fn session(pid: &str) -> (String, String) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    (fields[3].to_owned(), fields[4].to_owned())
}

#[test]
fn it_goes_on_by_itself_until_it_is_aborted() {
    if !requires::cgroups("it_goes_on_by_itself_until_it_is_aborted") {
        return;
    }
    let scene = Scene::new();
    let (file, out) = (scene.file(LONG), scene.out());
    let words = ["drill", "run", &file, "--detach", "--seed", "7", "--out", out.to_str().unwrap()];
    let detached = scene.guardd.ctl_json(&words).unwrap();
    assert_eq!(
        (&detached["schema"], &detached["name"]),
        (&json!("guard.drill_detached/1"), &json!("test-drill"))
    );
    let run_id = detached["run_id"].as_str().unwrap();
    let results = out.join(run_id);
    assert_eq!(detached["results"], results.to_str().unwrap());
    let listed = || scene.guardd.ctl_json(&["drill", "list"]).unwrap()["drills"].clone();
    assert_eq!(listed()[0]["id"], run_id, "accepted, so it is listed at once");
    wait::until("its fault", LIMIT, || scene.faults().len() == 1).unwrap();

    // The guardctl that started it has ended, and this one has no terminal that could.
    let pid = detached["pid"].to_string();
    assert_eq!(session(&pid), (pid.clone(), "0".to_owned()), "a session of its own, no terminal");
    for stream in 0..3 {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(target.to_str().unwrap(), "/dev/null", "stream {stream}");
    }
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGHUP).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(listed()[0]["id"], run_id);
    assert_eq!(scene.faults().len(), 1);

    // What is refused is told as without --detach, in words and as JSON.
    let second = scene.guardd.ctl(&words).unwrap();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("is running"), "{second:?}");
    let second = scene.guardd.ctl(&[&["--json"], &words[..]].concat()).unwrap();
    let body: Value = serde_json::from_str(&second.stdout).unwrap();
    assert!(body["error"].as_str().unwrap().contains("is running"), "{body}");

    assert_eq!(scene.guardd.ctl(&["drill", "abort"]).unwrap().code, 0);
    wait::until("its results", LIMIT, || results.join("record.json").exists()).unwrap();
    let record = std::fs::read(results.join("record.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!((&record["status"], &record["exit_code"]), (&json!("interrupted"), &json!(5)));
    assert!(record["why"].as_str().unwrap().contains("aborted by uid"), "{record:#}");
    assert_eq!(record["seed"], 7);
    assert_eq!(record["cleanup"]["complete"], json!(true), "{record:#}");
    scene.end();
}

#[test]
fn what_cannot_start_is_told_before_it_is_left_alone() {
    if !requires::cgroups("what_cannot_start_is_told_before_it_is_left_alone") {
        return;
    }
    let scene = Scene::new();
    let (file, out) = (scene.file(LONG), scene.out().display().to_string());
    let no_out = scene.guardd.ctl(&["drill", "run", &file, "--detach"]).unwrap();
    assert_eq!(no_out.code, 2, "{no_out:?}");
    assert!(no_out.stderr.contains("--out"), "{no_out:?}");

    let nowhere = scene.directory.path().join("nowhere.sock").display().to_string();
    let words = ["--socket", &nowhere, "drill", "run", &file, "--detach", "--out", &out];
    let mut command = std::process::Command::new(testbed::process::binary("guardctl").unwrap());
    let no_daemon = command.args(words).output().unwrap();
    assert_eq!(no_daemon.status.code(), Some(4), "{no_daemon:?}");
    assert!(
        String::from_utf8_lossy(&no_daemon.stderr).contains("no daemon answers"),
        "{no_daemon:?}"
    );

    for (text, said) in [
        (LONG.replace("\"api\"", "\"nothing\""), "no service is named"),
        (LONG.replace("10ms", "5m"), "delay"),
    ] {
        let wrong = scene.file(&text);
        let refused =
            scene.guardd.ctl(&["drill", "run", &wrong, "--detach", "--out", &out]).unwrap();
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    let events = scene.guardd.ctl_json(&["events", "--kind", "drill_begun"]).unwrap();
    assert_eq!(events["events"], json!([]));
    scene.end();
}
