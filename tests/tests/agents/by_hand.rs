//! `guardctl exec --supervise`.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use testbed::process::{Process, binary};
use testbed::requires;

use crate::{LIMIT, Scene};

fn supervise(scene: &Scene, flags: &[&str], script: &str) -> Process {
    let mut command = Command::new(binary("guardctl").unwrap());
    command.arg("--socket").arg(scene.guardd.socket()).args(["exec", "--supervise"]).args(flags);
    command.args(["b", "--", "sh", "-c", script]).current_dir(scene.home.path());
    Process::spawn(&mut command).unwrap()
}

#[test]
fn it_restarts_passes_signals_on_and_ends_with_the_commands_code() {
    if !requires::cgroups("it_restarts_passes_signals_on_and_ends_with_the_commands_code") {
        return;
    }
    let scene = Scene::new(&[], "");
    let script = "echo x >> starts; test $(wc -l < starts) = 1 && kill -9 $$; \
                  trap 'echo got >> hup' HUP; trap 'exit 9' TERM; echo up > up; while :; do sleep 0.05; done";
    let mut process = supervise(&scene, &["--sub=one"], script);
    scene.until("the second start", || scene.read("up") == "up\n");
    assert_eq!(scene.read("starts").lines().count(), 2);
    let procs = scene.guardd.bulkhead("b").join("one/cgroup.procs");
    assert!(!fs::read_to_string(procs).unwrap().contains(&process.pid().to_string()));
    process.signal(Signal::SIGHUP).unwrap();
    scene.until("a signal", || scene.read("hup").starts_with("got"));
    process.signal(Signal::SIGTERM).unwrap();
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(9));
    // Ends that are no crashes end it.
    let mut process = supervise(&scene, &[], "exit 0");
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(0));
    let mut process = supervise(&scene, &["--restart", "never"], "exit 5");
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(5));
    let mut process = supervise(&scene, &["--start-limit", "1"], "kill -11 $$");
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(139));
    assert!(process.last_words().contains("agent_failed"), "{}", process.last_words());
    scene.finish();
}

/// What `guardctl policy --env` prints, an agent of either kind has in its environment.
#[test]
fn agents_are_told_the_retry_policies() {
    if !requires::cgroups("agents_are_told_the_retry_policies") {
        return;
    }
    let scene = Scene::new(
        &[("agent", "env | grep ^GUARD_RETRY_ | sort > told; sleep 1000")],
        "[retry_policies.network_error]\nmax_retries = 7\n\
         [agents.b]\ncommand = [\"HOME/agent\"]\n\
         environment = { GUARD_RETRY_RATE_LIMIT_429_MAX_RETRIES = \"9\" }\n",
    );
    scene.until("its environment", || scene.read("told").contains("VALIDATION_ERROR_MAX_RETRIES"));
    let printed = scene.ctl(&["policy", "--env"]);
    assert!(printed.contains("GUARD_RETRY_NETWORK_ERROR_MAX_RETRIES=7"), "{printed}");
    // Its own variables win.
    let own = |line: &str| match line.split_once('=') {
        Some(("GUARD_RETRY_RATE_LIMIT_429_MAX_RETRIES", _)) => {
            "GUARD_RETRY_RATE_LIMIT_429_MAX_RETRIES=9".to_owned()
        }
        _ => line.to_owned(),
    };
    let sorted = |text: &str, change: &dyn Fn(&str) -> String| {
        let mut lines: Vec<String> = text.lines().map(change).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&scene.read("told"), &str::to_owned), sorted(&printed, &own));
    let mut process = supervise(&scene, &[], "env | grep ^GUARD_RETRY_ > by-hand");
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(0));
    assert_eq!(sorted(&scene.read("by-hand"), &str::to_owned), sorted(&printed, &str::to_owned));
    scene.finish();
}
