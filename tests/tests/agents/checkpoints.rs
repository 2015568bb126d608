//! Checkpoints of a real agent: it goes on where it was, damaged ones are passed over, a freeze is
//! always undone, and links lead nowhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;
use testbed::requires;

use crate::{Scene, kill};

/// Counts in a file of its own, one step at a time, from where it was.
const COUNTER: &str = "mkdir -p state; n=$(cat state/n 2>/dev/null || echo 0); echo from $n >> starts\n\
    while :; do n=$((n + 1)); echo $n > state/n.new; mv state/n.new state/n; sleep 0.02; done";

const AGENT: &str = "[agents.b]\ncommand = [\"HOME/agent\"]\nrestart_delay = \"50ms\"\n\
    [agents.b.checkpoint]\npaths = [\"HOME/state\"]\nevery = \"1h\"\nmax_freeze = \"5s\"\n";

fn number(scene: &Scene) -> u64 {
    scene.read("state/n").trim().parse().unwrap_or(0)
}

/// Where it began, at each start.
fn starts(scene: &Scene) -> Vec<u64> {
    let text = scene.read("starts");
    text.lines().filter_map(|line| line.strip_prefix("from ")?.parse().ok()).collect()
}

#[test]
fn an_agent_killed_in_its_work_goes_on_from_the_last_good_checkpoint() {
    if !requires::cgroups("an_agent_killed_in_its_work_goes_on_from_the_last_good_checkpoint") {
        return;
    }
    let scene = Scene::new(&[("agent", COUNTER)], AGENT);
    scene.until("some work", || number(&scene) > 10);
    let saved = scene.guardd.ctl_json(&["checkpoint", "save", "b"]).unwrap();
    let frozen = saved["checkpoints"][0]["frozen_seconds"].as_f64().unwrap();
    assert!(frozen > 0.0 && frozen < 1.0, "{saved}");
    let kept = scene.guardd.state_dir().join("checkpoints/b/000001/data/0/n");
    let good: u64 = fs::read_to_string(kept).unwrap().trim().parse().unwrap();
    assert!(good > 10);
    // It runs again after the freeze.
    let now = number(&scene);
    scene.until("more work", || number(&scene) > now + 5);
    scene.ctl(&["checkpoint", "save", "b"]);
    // The newest is damaged: the one before it counts.
    fs::write(scene.guardd.state_dir().join("checkpoints/b/000002/data/0/n"), "999999\n").unwrap();
    kill(scene.pid("b").unwrap(), Signal::SIGKILL);
    scene.until("the second start", || starts(&scene).len() == 2);
    assert_eq!(starts(&scene), [0, good], "{}", scene.words());
    scene.until("its event", || !scene.events("agent_restored").is_empty());
    assert!(scene.events("agent_restored")[0].contains("2 is damaged"));
    let replaced = scene.read(".state.guard-replaced/n").trim().parse::<u64>().unwrap();
    assert!(replaced > good, "the state that was replaced is kept");
    // By hand too, while it runs: it is stopped, and started again.
    scene.until("more work", || number(&scene) > good + 5);
    let said = scene.ctl(&["checkpoint", "restore", "b"]);
    assert!(said.contains("restored: checkpoint 1"), "{said}");
    scene.until("the third start", || starts(&scene).len() == 3);
    assert_eq!(starts(&scene)[2], good);
    let labels = ["agent=\"b\"", "result=\"saved\""];
    assert_eq!(scene.guardd.metric("guard_checkpoints_total", &labels).unwrap(), Some(2.0));
    let frozen =
        scene.guardd.metric("guard_checkpoint_freeze_seconds_total", &labels[..1]).unwrap();
    assert!(frozen > Some(0.0), "{frozen:?}");
    scene.finish();
}

#[test]
fn a_link_in_the_place_of_the_state_is_neither_read_nor_written_through() {
    if !requires::cgroups("a_link_in_the_place_of_the_state_is_neither_read_nor_written_through") {
        return;
    }
    let scene = Scene::new(&[("agent", COUNTER)], AGENT);
    scene.until("some work", || number(&scene) > 3);
    scene.ctl(&["checkpoint", "save", "b"]);
    scene.ctl(&["agent", "stop", "b"]);
    let secret = scene.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("n"), "secret\n").unwrap();
    fs::rename(scene.path("state"), scene.path("moved")).unwrap();
    symlink(&secret, scene.path("state")).unwrap();
    let said = scene.guardd.ctl(&["checkpoint", "save", "b"]).unwrap();
    assert!(said.code == 1 && said.stderr.contains("symbolic link"), "{said:?}");
    scene.ctl(&["checkpoint", "restore", "b"]);
    assert_eq!(fs::read_to_string(secret.join("n")).unwrap(), "secret\n");
    assert!(number(&scene) > 3);
    scene.finish();
}

#[test]
fn a_guardd_killed_in_a_freeze_is_followed_by_one_that_lets_the_agent_go() {
    if !requires::cgroups("a_guardd_killed_in_a_freeze_is_followed_by_one_that_lets_the_agent_go") {
        return;
    }
    // Many files, so that the second pass takes a while.
    let work = format!(
        "mkdir -p state; test -e state/f1 || for i in $(seq 3000); do echo $i > state/f$i; done\n{COUNTER}"
    );
    let agent = AGENT.replace("\"5s\"", "\"50s\"");
    let mut scene = Scene::new(&[("agent", &work)], &agent);
    scene.until("some work", || number(&scene) > 3);
    let freeze = scene.guardd.bulkhead("b").join("agent-b/cgroup.freeze");
    let frozen = || fs::read_to_string(&freeze).is_ok_and(|text| text.trim() == "1");
    let mut caught = false;
    for _ in 0..20 {
        let socket = scene.guardd.socket();
        let mut asking = std::process::Command::new(testbed::process::binary("guardctl").unwrap())
            .arg("--socket")
            .arg(socket)
            .args(["checkpoint", "save", "b"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Changed after the first pass: they take long while it stands still.
        while asking.try_wait().unwrap().is_none() && !frozen() {}
        caught = frozen();
        if caught {
            scene.guardd.sigkill().unwrap();
        }
        asking.wait().unwrap();
        if caught && frozen() {
            break;
        }
        if caught {
            scene.guardd.restart().unwrap();
        }
    }
    assert!(caught && frozen(), "no freeze was met");
    let now = number(&scene);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(number(&scene), now, "it stands still");
    scene.guardd.restart().unwrap();
    assert!(!frozen());
    scene.until("work again", || number(&scene) > now + 3);
    // Half a checkpoint counts for nothing, and goes with the next one.
    scene.ctl(&["checkpoint", "save", "b"]);
    assert!(!scene.guardd.state_dir().join("checkpoints/b/.new").exists());
    scene.finish();
}

#[test]
fn a_copy_that_takes_too_long_is_thrown_away_and_full_directories_are_told() {
    if !requires::cgroups("a_copy_that_takes_too_long_is_thrown_away_and_full_directories_are_told")
    {
        return;
    }
    // Writes all of it again and again: every pass has to copy it.
    let work = "mkdir -p state; head -c 200000000 /dev/zero > state/big; touch up\n\
                while :; do touch state/big; sleep 0.01; done";
    let agent = AGENT.replace("\"5s\"", "\"10ms\"");
    let scene = Scene::new(&[("agent", work)], &agent);
    scene.until("its start", || scene.path("up").exists());
    let said = scene.guardd.ctl(&["checkpoint", "save", "b"]).unwrap();
    assert!(said.code == 1 && said.stderr.contains("max_freeze"), "{said:?}");
    assert!(scene.ctl(&["checkpoint", "list", "b"]).contains("no checkpoints"));
    let freeze = scene.guardd.bulkhead("b").join("agent-b/cgroup.freeze");
    assert_eq!(fs::read_to_string(freeze).unwrap().trim(), "0");
    let labels = ["agent=\"b\"", "result=\"failed\""];
    assert_eq!(scene.guardd.metric("guard_checkpoints_total", &labels).unwrap(), Some(1.0));
    scene.finish();
}
