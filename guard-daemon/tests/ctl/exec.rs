//! `guardctl exec`: the command is what is left of guardctl.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rig::{Answer, Rig, guardctl, until};

#[test]
fn the_command_has_the_pid_that_joined() {
    let rig = Rig::start();
    let answer = rig.run(&["exec", "research", "--", "sh", "-c", "echo $$"]);
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
    let pid: u32 = answer.out.trim().parse().unwrap();
    let joined = rig.handler.joined.lock().unwrap();
    let (bulkhead, order, peer) = &joined[0];
    assert_eq!((bulkhead.as_str(), &order.pids[..], peer.pid), ("research", &[pid][..], pid));
    assert!(order.itself && !order.tree && !order.owner_only && order.sub.is_none(), "{order:?}");
}

#[test]
fn exit_code_input_environment_and_directory_pass_through() {
    let rig = Rig::start();
    let script = "read line; echo \"$line $WORD $PWD\"; echo oops >&2; exit 7";
    let mut command = rig.command(&["exec", "research", "sh", "-c", script, "--json"]);
    command.env("WORD", "there").current_dir("/proc");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let answer = Answer::from(child.wait_with_output().unwrap());
    assert_eq!(answer.code, Some(7));
    assert_eq!((answer.out.as_str(), answer.err.as_str()), ("hello there /proc\n", "oops\n"));
}

#[test]
fn signals_reach_the_command() {
    let rig = Rig::start();
    let mut child = rig.command(&["exec", "research", "--", "sleep", "60"]).spawn().unwrap();
    let name = format!("/proc/{}/comm", child.id());
    until("it is sleep", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "a shell shows it as 143: {status}");
    // The runtime ignores SIGPIPE; the command must not inherit that.
    let script = "kill -PIPE $$; echo survived";
    let mut command = rig.command(&["exec", "research", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
}

#[test]
fn the_terminal_is_the_commands() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED the_terminal_is_the_commands: no script(1) to make a terminal");
        return;
    }
    let rig = Rig::start();
    let line = format!(
        "{} exec research -- sh -c 'test -t 0 && test -t 1 && echo terminal; exit 9'",
        env!("CARGO_BIN_EXE_guardctl")
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("GUARD_SOCKET", &rig.socket);
    let answer = Answer::of(command.stdin(Stdio::null()));
    assert_eq!((answer.code, answer.out.trim()), (Some(9), "terminal"));
}

#[test]
fn no_descriptor_of_guardctl_is_left_open() {
    let rig = Rig::start();
    // What this test itself inherited is there in both.
    let direct = Answer::of(Command::new("ls").arg("/proc/self/fd"));
    let answer = rig.run(&["exec", "research", "--", "ls", "/proc/self/fd"]);
    assert_eq!(answer.out, direct.out);
}

#[test]
fn failures_of_guard_and_of_the_command_are_told_apart() {
    let rig = Rig::start();
    let mut command = rig.command(&["exec", "research", "--", "no-such-command-anywhere"]);
    // A directory on PATH that cannot be searched would make it 126, as with env(1).
    let absent = Answer::of(command.env("PATH", "/usr/bin:/bin"));
    assert_eq!(absent.code, Some(127), "{absent:?}");
    assert!(absent.err.contains("no-such-command-anywhere"), "{}", absent.err);
    let file = rig.directory.path().join("data");
    std::fs::write(&file, "data").unwrap();
    let cannot_run = rig.run(&["exec", "research", "--", file.to_str().unwrap()]);
    assert_eq!(cannot_run.code, Some(126), "{cannot_run:?}");
    let nowhere = rig.run(&["exec", "nowhere", "--", "echo", "ran"]);
    assert_eq!((nowhere.code, nowhere.out.as_str()), (Some(125), ""));
    assert!(nowhere.err.contains("no bulkhead is called nowhere"), "{}", nowhere.err);
    let socket = rig.directory.path().join("none.sock");
    let no_daemon = Answer::of(guardctl(&socket).args(["exec", "research", "--", "echo", "ran"]));
    assert_eq!((no_daemon.code, no_daemon.out.as_str()), (Some(125), ""));
    let json = Answer::of(guardctl(&socket).args(["--json", "exec", "research", "--", "true"]));
    assert_eq!(json.json()["exit_code"], 125);
}
