//! What the commands print and how they exit, with a daemon.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rig::{Answer, Rig, until};

#[test]
fn status_is_plain_text_in_a_pipe() {
    let rig = Rig::start();
    let answer = rig.run(&["status"]);
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
    assert!(answer.out.starts_with("guardd 9.9.9  ok "), "{}", answer.out);
    assert!(answer.out.contains("research      1  github   1 204  100.0"), "{}", answer.out);
    assert!(answer.out.is_ascii() && !answer.out.contains('\u{1b}'), "{}", answer.out);
    assert!(answer.out.contains("! caf?\\u{1b}[2J"), "{}", answer.out);
    assert!(answer.out.lines().all(|line| line.len() <= 96), "{}", answer.out);
    assert!(rig.run(&["status", "--color", "always"]).out.contains("\u{1b}[32mok"));
}

#[test]
fn json_is_one_ascii_document_of_the_contract() {
    let rig = Rig::start();
    let json = rig.run(&["--json", "status"]).json();
    assert_eq!(json["schema"], "guard.status/1");
    assert_eq!(json["problems"][0], "caf\u{e9}\u{1b}[2J");
    assert_eq!(rig.run(&["waits", "--json"]).json()["waits"][0]["pid"], 4711);
    assert_eq!(rig.run(&["version", "--json"]).json()["guardd"], "9.9.9");
    assert_eq!(rig.run(&["fault", "list", "--json"]).json()["schema"], "guard.faults/1");
    let error = rig.run(&["move", "nowhere", "1", "--json"]);
    assert_eq!((error.code, error.err.as_str()), (Some(2), ""));
    assert_eq!(error.json()["error"], "no bulkhead is called nowhere");
    assert_eq!(error.json()["help"], "the cure");
}

#[test]
fn waits_say_who_waits_for_what_since_when_in_one_line() {
    let out = Rig::start().run(&["waits"]).out;
    let line = "research  pid 4711 python  -> github 127.0.0.1:443  waiting for first byte  38s\n";
    assert!(out.starts_with(line), "{out}");
}

#[test]
fn doctor_exits_1_when_something_fails() {
    let rig = Rig::start();
    let answer = rig.run(&["doctor"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.out.ends_with("1 check: 0 ok, 0 warnings, 1 failure   exit 1\n"),
        "{}",
        answer.out
    );
    assert_eq!(rig.run(&["doctor", "--json"]).json()["checks"][0]["result"], "failure");
}

#[test]
fn events_are_filtered_and_limited() {
    let rig = Rig::start();
    let seqs = |arguments: &[&str]| -> Vec<u64> {
        let json = rig.run(arguments).json();
        json["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&["events", "--json"]), [1, 2, 3]);
    assert_eq!(seqs(&["events", "--json", "--bulkhead", "research", "--limit", "1"]), [3]);
    assert_eq!(rig.run(&["events", "--kind", "no/such&kind=x"]).out, "no events\n");
}

#[test]
fn a_breaker_is_tripped_and_reset() {
    let rig = Rig::start();
    let closed = rig.run(&["breaker", "list"]);
    assert_eq!(closed.code, Some(0), "{closed:?}");
    assert!(closed.out.contains("research/github"), "{}", closed.out);
    let open = rig.run(&["breaker", "trip", "research/github", "--json"]).json();
    assert_eq!(
        (&open["schema"], &open["breakers"][0]["state"]),
        (&"guard.breakers/1".into(), &"open".into())
    );
    let reset = rig.run(&["breaker", "reset", "research/github", "--json"]).json();
    assert_eq!(reset["breakers"][0]["state"], "closed");
    let mode = rig.run(&["breaker", "mode", "research/github", "force_open", "--json"]).json();
    assert_eq!(mode["breakers"][0]["mode"], "force_open");
    for wrong in [
        &["trip", "research"][..],
        &["mode", "research/github", "loud"],
        &["trip", "research/nothing"],
    ] {
        let answer = rig.run(&[&["breaker"], wrong].concat());
        assert_eq!(answer.code, Some(2), "{wrong:?}: {answer:?}");
    }
}

#[test]
fn a_fault_from_beginning_to_end() {
    let rig = Rig::start();
    let inject =
        ["fault", "inject", "--bulkhead", "research", "--service", "github", "--loss", "2%"];
    let started = rig.run(&[&inject[..], &["--for", "30s"]].concat());
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(started.out.contains("fault 1  loss 2%  on research/github"), "{}", started.out);
    assert!(started.out.contains("guardctl fault clear 1"), "{}", started.out);
    assert!(rig.run(&["fault", "list"]).out.contains("active"));
    assert!(rig.run(&["fault", "clear", "1"]).out.contains("cleared 1"));
    let again = rig.run(&["fault", "clear", "1"]);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.err, "error: no fault 1 is active\n  help: the cure\n");
    assert_eq!(rig.run(&["fault", "clear", "--all"]).out, "no faults to clear\n");
    let nowhere = ["fault", "inject", "--bulkhead", "nowhere", "--service", "s", "--for", "1s"];
    assert_eq!(rig.run(&[&nowhere[..], &["--loss", "1%"]].concat()).code, Some(2));
}

#[test]
fn waiting_for_a_fault_tells_whether_it_proved_anything() {
    let rig = Rig::start();
    let wait = |service| {
        let inject = ["fault", "inject", "--bulkhead", "b", "--service", service, "--loss", "2%"];
        rig.run(&[&inject[..], &["--for", "600ms", "--wait"]].concat())
    };
    let done = wait("github");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("fault 1  done   matched 3\nexit 0\n"), "{}", done.out);
    let idle = wait("idle");
    assert_eq!(idle.code, Some(5), "{idle:?}");
    assert!(idle.out.contains("inconclusive"), "{}", idle.out);
}

#[test]
fn ctrl_c_ends_the_fault_that_is_waited_for() {
    let rig = Rig::start();
    let inject = ["fault", "inject", "--bulkhead", "b", "--service", "s", "--loss", "2%"];
    let arguments = [&inject[..], &["--for", "10m", "--wait", "--json"]].concat();
    let child = rig.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    until("the fault is there", || rig.run(&["fault", "list"]).out.contains("active"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let answer = Answer::from(child.wait_with_output().unwrap());
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.json()["ended"], "cleared");
    assert!(rig.run(&["fault", "list"]).out.contains("cleared"));
}

#[test]
fn halt_resume_reload_and_move() {
    let rig = Rig::start();
    let halted = rig.run(&["halt", "real", "incident"]);
    assert_eq!(
        halted.out,
        "halted, 0 faults ended\nnew faults are refused until: guardctl resume\n"
    );
    assert_eq!(rig.handler.halts.lock().unwrap()[0].0, "real incident");
    assert_eq!(rig.run(&["resume"]).out, "faults are allowed again\n");
    let reloaded = rig.run(&["reload"]);
    assert_eq!(reloaded.code, Some(0));
    assert!(reloaded.out.starts_with("* dry_run is false\n"), "{}", reloaded.out);
    let dry_run = rig.run(&["reload", "--dry-run"]);
    assert_eq!(dry_run.code, Some(1));
    assert!(dry_run.out.starts_with("* dry_run is true\n"), "{}", dry_run.out);
    let moved = rig.run(&["move", "a b/\u{e9}?", "17", "18"]);
    assert_eq!(moved.out, "moved 2 processes into a b/?? (/x)\n");
    let joined = rig.handler.joined.lock().unwrap();
    assert_eq!((joined[0].0.as_str(), &joined[0].1.pids[..]), ("a b/\u{e9}?", &[17, 18][..]));
}

#[test]
fn an_argument_that_is_too_large_is_said_to_be() {
    let answer = Rig::start().run(&["halt", &"x".repeat(70_000)]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.err.contains("larger than 65536 bytes"), "{}", answer.err);
}

#[test]
fn cleanup_is_refused_while_a_daemon_answers() {
    let answer = Rig::start().run(&["cleanup"]);
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.err.contains("guardd 9.9.9") && answer.err.contains("nothing was removed"),
        "{}",
        answer.err
    );
}

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    let rig = Rig::start();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = rig.command(&["status"]);
    let answer = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let answer = Answer::from(answer.unwrap());
    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("cannot write to standard output"), "{}", answer.err);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = rig.command(&["status"]);
    let answer = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let answer = Answer::from(answer.unwrap());
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
}
