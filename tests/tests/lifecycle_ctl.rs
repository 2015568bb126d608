//! `guardctl` against a running guardd: into bulkheads, what happened, what works here.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use safety_support::{LIMIT, agent, config, connects, guardctl, inject, run, url};
use testbed::agent::AgentProcess;
use testbed::guardd::Guardd;
use testbed::process::{Process, binary};
use testbed::server::Server;
use testbed::{requires, timing, wait};

fn rig() -> (Server, Guardd, String) {
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    (server, guardd, url(address))
}

fn ctl(guardd: &Guardd, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("guardctl").unwrap());
    command.arg("--socket").arg(guardd.socket()).args(arguments);
    command
}

fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

fn wait_empty(guardd: &Guardd) {
    wait::until("the bulkheads to be empty", LIMIT, || guardd.cgroup().processes().is_empty())
        .unwrap();
}

#[test]
fn exec_runs_the_command_inside_and_stands_aside() {
    if !requires::cgroups("exec_runs_the_command_inside_and_stands_aside") {
        return;
    }
    let (_server, guardd, target) = rig();
    // Inside from its first instruction: its one call is counted.
    let agent = binary("testbed-agent").unwrap().display().to_string();
    let once = ["exec", "a", "--", &agent, "--target", &target, "--count", "1"];
    let (code, out, said) = run(&mut ctl(&guardd, &once));
    assert!(code == 0 && out.contains("\"outcome\":\"ok\""), "{code} {out} {said}");
    assert_eq!((connects(&guardd, "a", "api"), connects(&guardd, "b", "api")), (1, 0));
    // Exit code, and its own words only.
    let (code, out, said) =
        run(&mut ctl(&guardd, &["exec", "a", "--", "sh", "-c", "echo hi; exit 7"]));
    assert_eq!((code, out.as_str(), said.as_str()), (7, "hi\n", ""));
    let (code, ..) = run(&mut ctl(&guardd, &["exec", "a", "--", "no-such-command-at-all"]));
    assert_eq!(code, 127);
    let (code, _, said) = run(&mut ctl(&guardd, &["exec", "nowhere", "--", "echo", "ran"]));
    assert!(code == 125 && said.contains("nowhere") && said.contains("a, b"), "{code} {said}");
    // Children are inside too, and it works without a terminal and without standard input.
    let show = ["exec", "b", "--", "sh", "-c", "cat /proc/self/cgroup"];
    let (code, out, _) = run(ctl(&guardd, &show).stdin(Stdio::null()));
    let ours = guardd.cgroup().path().file_name().unwrap().to_string_lossy().into_owned();
    assert!(code == 0 && out.lines().any(|l| l == format!("0::/{ours}/b")), "{code} {out}");

    // A signal ends the command itself: there is nothing in between.
    let mut sleeping =
        Process::spawn(&mut ctl(&guardd, &["exec", "a", "--", "sleep", "600"])).unwrap();
    let comm = format!("/proc/{}/comm", sleeping.pid());
    wait::until("it to be sleep", LIMIT, || fs::read_to_string(&comm).unwrap() == "sleep\n")
        .unwrap();
    assert_eq!(guardd.cgroup().processes(), [sleeping.pid()]);
    sleeping.signal(Signal::SIGTERM).unwrap();
    let status = sleeping.wait(LIMIT).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}");
    wait_empty(&guardd);
    guardd.finish().unwrap();
}

#[test]
fn move_takes_a_running_process_in() {
    if !requires::cgroups("move_takes_a_running_process_in") {
        return;
    }
    let (_server, guardd, target) = rig();
    let mut outside = AgentProcess::stepped(&target, &["--timeout", "8s"], |c| c).unwrap();
    assert!(outside.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 0);
    let pid = outside.pid().to_string();
    let moved = guardd.ctl(&["move", "a", &pid]).unwrap();
    assert!(moved.code == 0 && moved.stdout.starts_with("moved 1 process into a"), "{moved:?}");
    assert!(outside.call(LIMIT).unwrap().is_ok());
    assert_eq!(connects(&guardd, "a", "api"), 1);
    // From one bulkhead to the other.
    assert_eq!(guardd.ctl(&["move", "b", &pid]).unwrap().code, 0);
    assert!(outside.call(LIMIT).unwrap().is_ok());
    assert_eq!((connects(&guardd, "a", "api"), connects(&guardd, "b", "api")), (1, 1));

    // What cannot be moved, and is not.
    let mut gone = Process::run("true", &[""; 0]).unwrap();
    gone.wait(LIMIT).unwrap();
    let init = cgroup_of(1);
    let own = guardd.pid().unwrap().to_string();
    let gone = gone.pid().to_string();
    for (pid, why) in [("1", "init"), (&gone, "no such process"), (&own, "guardd itself")] {
        let no = guardd.ctl(&["move", "a", pid]).unwrap();
        assert_eq!(no.code, 1, "{no:?}");
        let names = no.stderr.contains(why) && no.stderr.contains(&format!("process {pid}"));
        assert!(names, "{}", no.stderr);
    }
    assert_eq!(cgroup_of(1), init);
    for bad in [&["move", "a", "0"][..], &["move", "a", "x"], &["move", "a"], &["move", "zz", &pid]]
    {
        assert_eq!(guardd.ctl(bad).unwrap().code, 2, "{bad:?}");
    }
    drop(outside);
    wait_empty(&guardd);
    guardd.finish().unwrap();
}

/// A new event is printed while it is news, one JSON document per line.
#[test]
fn events_are_followed_as_they_happen() {
    if !requires::cgroups("events_are_followed_as_they_happen") {
        return;
    }
    let (server, guardd, target) = rig();
    let mut caller = agent(&guardd, "a", &target, &[]);
    assert!(caller.call(LIMIT).unwrap().is_ok());
    let follow = ["events", "--follow", "--json", "--bulkhead", "a", "--kind", "fault_refused"];
    let mut following = Process::spawn(&mut ctl(&guardd, &follow)).unwrap();
    // It may still be connecting; what happens before that is printed all the same.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(following.stdout(), [""; 0], "nothing has been refused yet");
    let id = inject(&guardd, &["--refuse", "100%"]);
    let mut last = 0;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
        let line = following.next_line(LIMIT).unwrap();
        let took = start.elapsed();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(event["bulkhead"] == "a" && event["service"] == "api", "{event}");
        assert_eq!((&event["origin"], &event["fault"]), (&"injected".into(), &id.into()));
        assert_eq!(event["peer"], server.address().unwrap().to_string());
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > last, "{event}");
        last = seq;
        assert!(took < timing::at_most(Duration::from_secs(1)), "{took:?}");
    }
    assert_eq!(guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);

    // The past, selected; a number too many is no error.
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let all = guardd.ctl_json(&[&["events"], arguments].concat()).unwrap();
        let kind = |event: &serde_json::Value| event["kind"].as_str().unwrap().to_owned();
        all["events"].as_array().unwrap().iter().map(kind).collect()
    };
    assert_eq!(kinds(&["--kind", "fault_refused"]).len(), 3);
    assert_eq!(kinds(&["--kind", "fault_injected", "--bulkhead", "a"]).len(), 1);
    assert_eq!(kinds(&["--kind", "fault_injected", "--bulkhead", "b"]).len(), 0);
    assert_eq!(kinds(&["--limit", "1"]), ["fault_ended"]);
    let text = guardd.ctl(&["events", "--kind", "fault_refused", "--limit", "100000"]).unwrap();
    assert!(text.code == 0 && text.stdout.matches("fault_refused").count() == 3, "{text:?}");
    // A stop of guardd ends the stream in good order.
    drop(caller);
    wait_empty(&guardd);
    guardd.finish().unwrap();
    let status = following.wait(LIMIT).unwrap();
    println!("the follower ended with {status}");
    assert!(status.code().is_some_and(|code| code == 0 || code == 4), "{status}");
}

#[test]
fn doctor_says_what_works_and_what_does_not() {
    if !requires::cgroups("doctor_says_what_works_and_what_does_not") {
        return;
    }
    let (_server, guardd, _) = rig();
    let results = |answer: &serde_json::Value, result: &str| -> Vec<String> {
        let checks = answer["checks"].as_array().unwrap();
        let of = checks.iter().filter(|check| check["result"] == result);
        of.map(|check| format!("{}: {}", check["name"], check["found"])).collect()
    };
    let well = guardd.ctl(&["--json", "doctor"]).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&well.stdout).unwrap();
    assert_eq!((well.code, results(&answer, "failure").len()), (0, 0), "{answer}");
    assert!(results(&answer, "ok").iter().any(|l| l.contains("2 of 2 attached")), "{answer}");

    fs::remove_dir(guardd.bulkhead("b")).unwrap();
    let ill = guardd.ctl(&["doctor"]).unwrap();
    assert_eq!(ill.code, 1, "{ill:?}");
    let first = ill.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("b is detached"), "failures come first: {}", ill.stdout);
    assert!(ill.stdout.contains("guardctl reload"), "the cure: {}", ill.stdout);
    fs::create_dir(guardd.bulkhead("b")).unwrap();
    let well_again = || guardd.ctl(&["doctor"]).unwrap().code == 0;
    wait::until("the repair", Duration::from_secs(20), well_again).unwrap();

    // Without a daemon: what can be seen is, and that it is missing is a warning.
    let nowhere = guardd.directory().join("none").display().to_string();
    let (code, out, said) = guardctl(&["--socket", &nowhere, "doctor", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, i32::from(!results(&answer, "failure").is_empty()), "{answer} {said}");
    assert!(results(&answer, "warning").iter().any(|l| l.contains("daemon")), "{answer}");
    assert!(results(&answer, "ok").iter().any(|l| l.contains("verifier")), "{answer}");
    guardd.finish().unwrap();
}

/// Commands that need no daemon, and what every command does without one.
#[test]
fn what_works_without_a_daemon() {
    let none = ["--socket", "/nonexistent/guard-test.sock"];
    let ask = |arguments: &[&str]| guardctl(&[&none[..], arguments].concat());
    for topic in
        ["daemon.fault_lease", "llm", "response_timeout", "exit-codes", "bulkheads.NAME.cgroup"]
    {
        let (code, out, said) = ask(&["explain", topic]);
        assert!(code == 0 && out.len() > 40, "{topic}: {code} {out} {said}");
        let (code, out, _) = ask(&["--json", "explain", topic]);
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&out);
        assert!(code == 0 && parsed.is_ok(), "{topic}: {code} {out}");
    }
    let (code, out, said) = ask(&["explain", "daemon.fault_laese"]);
    assert!(code == 2 && out.is_empty() && said.contains("daemon.fault_lease"), "{code} {said}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = ask(&["completions", shell]);
        assert!(code == 0 && out.contains("guardctl") && out.contains("inject"), "{shell}: {code}");
        if shell == "bash" {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &out).unwrap();
            let (code, _, said) = run(Command::new("bash").arg("-n").arg(file.path()));
            assert_eq!((code, said.as_str()), (0, ""));
        }
    }
    assert_eq!(ask(&["completions", "tcsh"]).0, 2);
    let (code, out, _) = ask(&["version"]);
    assert!(code == 0 && out.contains("no daemon answers"), "{code} {out}");
    let commands: [&[&str]; 9] = [
        &["status"],
        &["waits"],
        &["events"],
        &["fault", "list"],
        &["fault", "clear", "--all"],
        &["halt", "why"],
        &["resume"],
        &["reload"],
        &["move", "a", "99"],
    ];
    for arguments in commands {
        let (code, out, said) = ask(arguments);
        assert_eq!((code, out.as_str()), (4, ""), "{arguments:?}: {said}");
        assert!(said.contains("no daemon answers") && said.contains("help: "), "{said}");
        let (code, out, _) = ask(&[&["--json"], arguments].concat());
        let body: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &body["exit_code"]), (4, &4.into()), "{arguments:?}");
    }
}

/// `fault inject --wait` belongs to its fault: an interrupt ends both.
#[test]
fn an_interrupted_wait_ends_the_fault() {
    if !requires::cgroups("an_interrupted_wait_ends_the_fault") {
        return;
    }
    let (_server, guardd, target) = rig();
    let mut caller = agent(&guardd, "a", &target, &[]);
    let wait_for = ["fault", "inject", "--bulkhead", "a", "--service", "api", "--for", "60s"];
    let wait_for = [&wait_for[..], &["--refuse", "100%", "--wait"]].concat();
    let mut waiting = Process::spawn(&mut ctl(&guardd, &wait_for)).unwrap();
    wait::until("the fault", LIMIT, || caller.call(LIMIT).unwrap().outcome == "ECONNREFUSED")
        .unwrap();
    kill(Pid::from_raw(waiting.pid() as i32), Signal::SIGINT).unwrap();
    let status = waiting.wait(LIMIT).unwrap();
    assert_eq!(status.code(), Some(1), "ended early: {}", waiting.last_words());
    assert!(caller.call(LIMIT).unwrap().is_ok());
    let list = guardd.ctl_json(&["fault", "list"]).unwrap();
    assert_eq!(list["faults"][0]["ended"], "cleared", "{list}");
    drop(caller);
    wait_empty(&guardd);
    guardd.finish().unwrap();
}
