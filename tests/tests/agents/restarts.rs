//! Starting again, giving up, health, order, users, and a guardd that is gone.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testbed::requires;

use crate::{Scene, kill, runs};

#[test]
fn a_crash_is_followed_by_a_pause_a_restart_and_the_end_of_what_was_left() {
    if !requires::cgroups("a_crash_is_followed_by_a_pause_a_restart_and_the_end_of_what_was_left") {
        return;
    }
    let scene = Scene::new(
        &[(
            "agent",
            "setsid sleep 1000 & echo $! >> left; echo $$ $MODEL >> starts; echo said; sleep 1000",
        )],
        "[agents.b]\ncommand = [\"HOME/agent\"]\nrestart_delay = \"600ms\"\n\
         environment = { MODEL = \"small one\" }\n",
    );
    scene.until_state("b", "running");
    scene.until("the first start", || scene.read("starts").lines().count() == 1);
    let first = scene.pid("b").unwrap();
    assert_eq!(scene.read("starts"), format!("{first} small one\n"));
    let left: u32 = scene.read("left").trim().parse().unwrap();
    let inside =
        fs::read_to_string(scene.guardd.bulkhead("b").join("agent-b/cgroup.procs")).unwrap();
    assert!(inside.lines().any(|pid| pid == first.to_string()), "{inside}");
    let before = Instant::now();
    kill(first, Signal::SIGKILL);
    scene.until("the second start", || scene.read("starts").lines().count() == 2);
    assert!(before.elapsed() >= Duration::from_millis(290), "{:?}", before.elapsed());
    assert!(!runs(left), "what it left goes before the next start");
    let agent = scene.agent("b");
    assert_eq!((&agent["restarts"], &agent["last_end"]), (&1.into(), &"SIGKILL".into()));
    scene.until("its events", || scene.events("agent_restarted").len() == 1);
    assert!(scene.events("agent_ended")[0].contains("SIGKILL"));
    let labels = ["agent=\"b\"", "reason=\"signal\""];
    assert_eq!(scene.guardd.metric("guard_agent_restarts_total", &labels).unwrap(), Some(1.0));
    assert_eq!(scene.guardd.metric("guard_agent_up", &labels[..1]).unwrap(), Some(1.0));
    assert!(scene.ctl(&["status"]).contains("AGENT"));
    assert_eq!(crate::text(&scene.guardd.state_dir().join("agents/b.log")), "said\nsaid\n");
    // An operator's stop is none of the agent's crashes, and lasts.
    scene.ctl(&["agent", "stop", "b"]);
    assert_eq!((scene.agent("b")["state"].as_str(), scene.pid("b")), (Some("stopped"), None));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.read("starts").lines().count(), 2);
    scene.ctl(&["agent", "start", "b"]);
    scene.until("the third start", || scene.read("starts").lines().count() == 3);
    scene.finish();
}

#[test]
fn one_that_crashes_too_often_is_given_up_until_somebody_starts_it() {
    if !requires::cgroups("one_that_crashes_too_often_is_given_up_until_somebody_starts_it") {
        return;
    }
    let scene = Scene::new(
        &[
            ("agent", "echo x >> starts; test -e good && sleep 1000; exit 7"),
            ("once", "echo x >> once.starts; exit 0"),
        ],
        "[agents.bad]\nbulkhead = \"b\"\ncommand = [\"HOME/agent\"]\nrestart_delay = \"20ms\"\n\
         max_restart_delay = \"20ms\"\nstart_limit = 3\n\
         [agents.once]\nbulkhead = \"b\"\ncommand = [\"HOME/once\"]\n\
         [agents.none]\nbulkhead = \"b\"\ncommand = [\"/no/such/program\"]\nstart_limit = 0\n",
    );
    scene.until_state("bad", "failed");
    assert_eq!(scene.read("starts").lines().count(), 4, "one start and three restarts");
    assert_eq!(scene.agent("bad")["last_end"], "exit code 7");
    scene.until("its event", || !scene.events("agent_failed").is_empty());
    let labels = ["agent=\"bad\""];
    assert_eq!(scene.guardd.metric("guard_agent_failed", &labels).unwrap(), Some(1.0));
    scene.until_state("once", "ended");
    scene.until_state("none", "failed");
    assert_eq!(scene.agent("none")["last_end"], "exit code 127");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.read("starts").lines().count(), 4);
    assert_eq!(scene.read("once.starts").lines().count(), 1);
    fs::write(scene.path("good"), "").unwrap();
    scene.ctl(&["agent", "start", "bad"]);
    scene.until_state("bad", "running");
    scene.finish();
}

#[test]
fn health_that_hangs_is_a_failure_and_an_agent_that_ignores_the_end_is_killed() {
    if !requires::cgroups(
        "health_that_hangs_is_a_failure_and_an_agent_that_ignores_the_end_is_killed",
    ) {
        return;
    }
    let scene = Scene::new(
        &[
            ("agent", "trap '' TERM; echo $$ >> starts; while :; do sleep 1; done"),
            ("health", "test -e sick && sleep 1000; exit 0"),
        ],
        "[agents.b]\ncommand = [\"HOME/agent\"]\nrestart_delay = \"50ms\"\n\
         stop = { timeout = \"300ms\" }\n\
         health = { command = [\"HOME/health\"], every = \"100ms\", timeout = \"200ms\", failures = 2, start_grace = \"0s\" }\n",
    );
    scene.until_state("b", "running");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.agent("b")["restarts"], 0, "{}", scene.words());
    fs::write(scene.path("sick"), "").unwrap();
    scene.until("a restart", || scene.agent("b")["restarts"].as_u64() >= Some(1));
    fs::remove_file(scene.path("sick")).unwrap();
    scene.until("its event", || !scene.events("agent_unhealthy").is_empty());
    assert!(scene.events("agent_killed")[0].contains("did not end"));
    assert!(scene.agent("b")["last_end"].as_str().unwrap().contains("health"));
    scene.finish();
}

#[test]
fn agents_start_after_those_that_they_need_and_stop_before_them() {
    if !requires::cgroups("agents_start_after_those_that_they_need_and_stop_before_them") {
        return;
    }
    let one = |name: &str| {
        format!(
            "trap 'echo {name} stops >> order; exit 0' TERM; echo {name} >> order; while :; do sleep 0.05; done"
        )
    };
    let scene = Scene::new(
        &[("a", &one("a")), ("z", &one("z"))],
        "[agents.a]\nbulkhead = \"b\"\ncommand = [\"HOME/a\"]\nafter = [\"z\"]\n\
         [agents.z]\nbulkhead = \"b\"\ncommand = [\"HOME/z\"]\nuser = \"65534:65534\"\n",
    );
    scene.until("z cannot write, which is another user", || scene.agent("z")["pid"].is_u64());
    scene.until_state("a", "running");
    let uid = fs::metadata(format!("/proc/{}", scene.pid("z").unwrap())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&uid), 65_534);
    scene.ctl(&["agent", "stop", "--all"]);
    let stopped = |name: &str| {
        let at = scene.agent(name)["since"].as_str().unwrap().to_owned();
        at.parse::<String>().unwrap()
    };
    assert!(stopped("a") < stopped("z"), "{} {}", stopped("a"), stopped("z"));
    assert!(scene.read("order").starts_with("a\n"), "{}", scene.read("order"));
    scene.finish();
}

#[test]
fn a_guardd_that_is_killed_and_started_again_finds_its_agents_running() {
    if !requires::cgroups("a_guardd_that_is_killed_and_started_again_finds_its_agents_running") {
        return;
    }
    let mut scene = Scene::new(
        &[("agent", "echo $$ >> starts; sleep 1000")],
        "[agents.b]\ncommand = [\"HOME/agent\"]\nrestart_delay = \"50ms\"\n",
    );
    scene.until_state("b", "running");
    let (agent, supervisor) = (scene.pid("b"), scene.agent("b")["supervisor"].clone());
    scene.guardd.sigkill().unwrap();
    assert!(runs(agent.unwrap()));
    // Nobody is there when it crashes, but its supervisor.
    kill(agent.unwrap(), Signal::SIGKILL);
    scene.until("a restart without guardd", || scene.read("starts").lines().count() == 2);
    scene.guardd.restart().unwrap();
    scene.until_state("b", "running");
    assert_eq!(scene.agent("b")["supervisor"], supervisor);
    let again = scene.pid("b").unwrap();
    // Without its supervisor it goes on, under another one.
    kill(u32::try_from(supervisor.as_u64().unwrap()).unwrap(), Signal::SIGKILL);
    scene.until("another supervisor", || {
        let now = scene.agent("b");
        now["supervisor"].is_u64() && now["supervisor"] != supervisor && now["state"] == "running"
    });
    assert_eq!(scene.pid("b"), Some(again));
    assert_eq!(scene.read("starts").lines().count(), 2);
    kill(again, Signal::SIGKILL);
    scene.until("a restart of the adopted", || scene.read("starts").lines().count() == 3);
    assert!(scene.agent("b")["last_end"].as_str().unwrap().contains("adopted"));
    // Taken out of the configuration it is stopped and forgotten.
    let pid = scene.pid("b");
    let config = testbed::guardd::GuarddConfig::new("[bulkheads.b]\n");
    scene.guardd.set_config(config).unwrap();
    scene.ctl(&["reload"]);
    scene.until("its end", || pid.is_none_or(|pid| !runs(pid)));
    scene.until("its files gone", || !scene.guardd.state_dir().join("agents/b.report").exists());
    scene.guardd.finish().unwrap();
}
