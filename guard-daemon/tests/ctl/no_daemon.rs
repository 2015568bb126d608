//! No guardd, a hanging one, something else, and what works all the same.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use guard_daemon::control::{BindError, bind};

use crate::rig::{Answer, Rig, guardctl};

fn run(socket: &Path, arguments: &[&str]) -> Answer {
    Answer::of(guardctl(socket).args(arguments))
}

#[test]
fn no_daemon_is_exit_4_with_the_cure() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("guardd.sock");
    for command in ["status", "waits", "events", "resume", "reload"] {
        let answer = run(&socket, &[command]);
        assert_eq!((answer.code, answer.out.as_str()), (Some(4), ""), "{command}");
        assert!(answer.err.contains("no daemon answers at"), "{}", answer.err);
        assert!(answer.err.contains("systemctl start guardd"), "{}", answer.err);
        assert!(answer.err.contains("guardd --config"), "{}", answer.err);
    }
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(run(&socket, &["status"]).code, Some(4), "a stale socket");
    let json = run(&socket, &["status", "--json"]);
    assert_eq!((json.code, json.err.as_str()), (Some(4), ""));
    assert_eq!(json.json()["exit_code"], 4);
}

#[test]
fn a_daemon_that_hangs_is_given_up_after_10_s() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("guardd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    // It could be a guardd: nothing may be taken from under it.
    let cleanup = guardctl(&socket).arg("cleanup").stderr(Stdio::piped()).spawn().unwrap();
    let answer = run(&socket, &["status"]);
    assert_eq!(answer.code, Some(4));
    assert!(answer.err.contains("did not answer within 10 s"), "{}", answer.err);
    assert!(start.elapsed() < Duration::from_secs(14));
    let cleanup = Answer::from(cleanup.wait_with_output().unwrap());
    assert_eq!(cleanup.code, Some(2));
    assert!(cleanup.err.contains("nothing was removed"), "{}", cleanup.err);
}

#[test]
fn something_else_on_the_socket_is_not_believed() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("guardd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers: [&[u8]; 3] = [
        b"220 mail.example.test ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            stream.write_all(answer).unwrap();
        }
    });
    for part in ["not a guardd", "not a guardd", "broke off"] {
        let answer = run(&socket, &["status"]);
        assert_eq!(answer.code, Some(4), "{answer:?}");
        assert!(answer.err.contains(part), "{}", answer.err);
    }
    server.join().unwrap();
}

#[test]
fn a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not() {
    let rig = Rig::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let second = runtime.block_on(async { bind(&rig.socket).err() });
    let Some(error @ BindError::InUse { .. }) = second else { panic!("{second:?}") };
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!(rig.run(&["status"]).code, Some(0), "it still answers");
    drop(rig);
}

#[test]
fn usage_errors_are_exit_2_and_suggest() {
    let socket = Path::new("/nonexistent");
    let answer = run(socket, &["stauts"]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""));
    assert!(answer.err.contains("'status'"), "{}", answer.err);
    let json = run(socket, &["fault", "inject", "--json"]);
    assert_eq!((json.code, json.err.as_str()), (Some(2), ""));
    assert_eq!(json.json()["exit_code"], 2);
    assert!(json.json()["error"].as_str().unwrap().contains("--bulkhead"));
    assert_eq!(run(socket, &[]).code, Some(2));
    let help = run(socket, &["fault", "inject", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("Examples:"), "{}", help.out);
}

#[test]
fn what_needs_no_daemon_works_without() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("none.sock");
    let doctor = run(&socket, &["doctor", "--json"]);
    let checks = doctor.json()["checks"].as_array().unwrap().clone();
    assert!(checks.iter().any(|check| check["name"] == "daemon" && check["result"] == "warning"));
    let version = run(&socket, &["version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.out.contains("no daemon answers"), "{}", version.out);
    let explained = run(&socket, &["explain", "response_timeout"]);
    assert_eq!(explained.code, Some(0));
    assert!(explained.out.contains("response_timeout"), "{}", explained.out);
    let unknown = run(&socket, &["explain", "respons_timeout"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("response_timeout"), "{}", unknown.err);
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&socket, &["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.out.contains("guardctl") && script.out.contains("inject"), "{shell}");
    }
}

#[test]
fn check_says_which_file_is_wrong() {
    let scratch = tempfile::tempdir().unwrap();
    let (good, bad) = (scratch.path().join("good.toml"), scratch.path().join("bad.toml"));
    std::fs::write(&good, "[bulkheads.research]\ncgroup = \"agents/research\"\n").unwrap();
    std::fs::write(&bad, "[bulkheads.research\n").unwrap();
    let socket = scratch.path().join("none.sock");
    assert_eq!(run(&socket, &["check", good.to_str().unwrap()]).code, Some(0));
    let both = run(&socket, &["check", good.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_eq!(both.code, Some(2));
    assert!(both.err.contains("bad.toml"), "{}", both.err);
    let json = run(&socket, &["check", "--json", bad.to_str().unwrap()]);
    assert_eq!((json.code, json.json()["files"][0]["valid"].as_bool()), (Some(2), Some(false)));
    assert_eq!(run(&socket, &["check", "/nonexistent.toml"]).code, Some(2));
}
