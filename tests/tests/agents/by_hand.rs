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
