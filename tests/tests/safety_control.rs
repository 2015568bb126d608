//! The control socket under bad clients: strangers, nonsense, crowds. guardd stays well, and the
//! next honest client is served.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use safety_support::{LIMIT, PublicBinary, raw, request, run, status_of};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::{requires, wait};

fn start() -> Guardd {
    Guardd::start(GuarddConfig::new(
        "[services.api]\nendpoints = [\"127.0.0.1:1\"]\n[bulkheads.a]\n",
    ))
    .unwrap()
}

/// Answers, has no problem, and the answer is quick.
fn assert_well(guardd: &mut Guardd) {
    assert!(guardd.is_running());
    let status = guardd.ctl_json(&["status"]).unwrap();
    assert_eq!((&status["health"], &status["faults"]), (&"ok".into(), &serde_json::json!([])));
    assert!(guardd.metrics().unwrap().ends_with("# EOF\n"));
    assert_eq!(guardd.pid().unwrap(), status["pid"].as_u64().unwrap() as u32);
}

fn descriptors(guardd: &Guardd) -> usize {
    fs::read_dir(format!("/proc/{}/fd", guardd.pid().unwrap())).unwrap().count()
}

fn refused_count(guardd: &Guardd) -> f64 {
    guardd.metric("guard_control_refused_total", &[]).unwrap().unwrap()
}

#[test]
fn a_stranger_may_nothing() {
    let test = "a_stranger_may_nothing";
    if !requires::cgroups(test) || !requires::program(test, "setpriv") {
        return;
    }
    let mut guardd = start();
    let mode = fs::metadata(guardd.socket()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o660);
    let public = PublicBinary::new("guardctl");
    let ask = |arguments: &[&str]| {
        run(public.as_nobody().arg("--socket").arg(guardd.socket()).args(arguments))
    };
    // The kernel stands before guardd as long as the modes are as guardd made them.
    let (code, _, said) = ask(&["status"]);
    assert!(code == 2 && said.contains("permission"), "{code} {said}");
    assert!(refused_count(&guardd) < 0.5, "it never got to guardd");

    // Somebody has opened the door: guardd still looks who comes in.
    for path in [guardd.socket(), guardd.directory().to_owned()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let halt = ["halt", "mischief"];
    let inject = ["fault", "inject", "--bulkhead", "a", "--service", "api", "--for", "60s"];
    let inject = [&inject[..], &["--refuse", "100%"]].concat();
    let tries: [&[&str]; 5] = [&["status"], &halt, &inject, &["reload"], &["move", "a", "1"]];
    for (number, arguments) in (1..).zip(tries) {
        let (code, out, said) = ask(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {said}");
        assert!(said.contains("uid 65534") && said.contains("help: "), "{said}");
        assert!((refused_count(&guardd) - f64::from(number)).abs() < 0.5, "{arguments:?}");
    }
    let (code, out, _) = ask(&["--json", "waits"]);
    let body: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &body["exit_code"]), (2, &2.into()), "{body}");
    let (code, _, said) = ask(&["exec", "a", "--", "true"]);
    assert!(code == 125 && said.contains("uid 65534"), "{code} {said}");
    let logged = guardd.process().unwrap().stderr().join("\n");
    assert!(logged.contains("control request refused") && logged.contains("uid=65534"), "{logged}");
    assert_well(&mut guardd);
    guardd.finish().unwrap();
}

#[test]
fn nonsense_is_answered_and_forgotten() {
    if !requires::cgroups("nonsense_is_answered_and_forgotten") {
        return;
    }
    let mut guardd = start();
    let socket = guardd.socket();
    let fault = br#"{"bulkhead":"a","service":"api","duration_seconds":60,"refuse_percent":100}"#;
    let huge = vec![b' '; 3 << 20];
    let endless = vec![b'['; 60_000];
    let cases: &[(&str, &str, &[u8], u16)] = &[
        ("POST", "/v1/faults", b"", 400),
        ("POST", "/v1/faults", b"{", 400),
        ("POST", "/v1/faults", b"\xff\xfe\x00", 400),
        ("POST", "/v1/faults", b"[1,2,3]", 400),
        ("POST", "/v1/faults", &endless, 400),
        ("POST", "/v1/faults", br#"{"bulkhead":"a","colour":1}"#, 400),
        ("POST", "/v1/faults", br#"{"bulkhead":7,"duration_seconds":1}"#, 400),
        ("POST", "/v1/faults", br#"{"bulkhead":"a","duration_seconds":1e999}"#, 400),
        (
            "POST",
            "/v1/faults",
            br#"{"bulkhead":"a","service":"api","duration_seconds":-5,"refuse_percent":1}"#,
            400,
        ),
        (
            "POST",
            "/v1/faults",
            br#"{"bulkhead":"zz","service":"api","duration_seconds":5,"refuse_percent":1}"#,
            400,
        ),
        ("POST", "/v1/faults", &huge, 413),
        ("POST", "/v1/halt", br#"{"reason":"  "}"#, 400),
        ("POST", "/v1/bulkheads/a/join", br#"{"pids":[0]}"#, 400),
        ("POST", "/v1/bulkheads/a/join", br#"{"pids":[-1]}"#, 400),
        ("POST", "/v1/bulkheads/nowhere/join", br#"{"pids":[2]}"#, 400),
        ("POST", "/v1/bulkheads/..%2f..%2fx/join", br#"{"pids":[2]}"#, 400),
        ("POST", "/v1/reload?dry_run=maybe", b"", 400),
        ("GET", "/v1/events?limit=-1", b"", 400),
        ("GET", "/v1/events?colour=red", b"", 400),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/", b"", 404),
        ("GET", "/v1/status/../../etc/passwd", b"", 404),
        ("DELETE", "/v1/status", b"", 405),
        ("DELETE", "/v1/faults/abc", b"", 400),
        ("DELETE", "/v1/faults/99", b"", 400),
    ];
    for (method, path, body, code) in cases {
        let answer = request(&socket, method, path, body);
        assert_eq!(status_of(&answer), *code, "{method} {path}: {answer}");
        let (_, json) = answer.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(!json["error"].as_str().unwrap().is_empty(), "{method} {path}: {json}");
        assert_eq!(json["exit_code"], 2, "{method} {path}: {json}");
    }
    // No HTTP at all: an answer or a closed connection, never silence.
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], b"\r\n\r\n\r\n", b"GET\r\n\r\n", &[0; 4096]]
    {
        let answer = raw(&socket, bytes);
        assert!(answer.is_empty() || status_of(&answer) == 400, "{answer}");
    }
    assert_well(&mut guardd);
    // The body that all of the above were near to is good.
    assert_eq!(status_of(&request(&socket, "POST", "/v1/faults", fault)), 200);
    assert_eq!(guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
    guardd.finish().unwrap();
}

#[test]
fn a_crowd_is_served_and_half_open_connections_do_not_block_it() {
    if !requires::cgroups("a_crowd_is_served_and_half_open_connections_do_not_block_it") {
        return;
    }
    let mut guardd = start();
    assert_well(&mut guardd);
    let before = descriptors(&guardd);
    let socket = guardd.socket();
    let half_open: Vec<_> = (0..100).map(|number| connect_half(&socket, number)).collect();
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let socket = socket.clone();
            thread::spawn(move || {
                let path = ["/v1/status", "/v1/faults", "/v1/waits", "/v1/events"][number % 4];
                status_of(&request(&socket, "GET", path, b""))
            })
        })
        .collect();
    let codes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    assert_well(&mut guardd);
    drop(half_open);
    wait::until("the descriptors to be closed", LIMIT, || descriptors(&guardd) <= before + 2)
        .unwrap();
    guardd.finish().unwrap();
}

/// Connected, with the first part of a request (or of its body), and then nothing.
fn connect_half(socket: &Path, number: usize) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head: &[u8] = match number % 3 {
        0 => b"",
        1 => b"GET /v1/sta",
        _ => b"POST /v1/faults HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{\"bulk",
    };
    stream.write_all(head).unwrap();
    stream
}

/// Whoever hangs on to a connection cannot keep guardd from stopping, on either side.
#[test]
fn clients_that_hang_do_not_hold_up_a_stop() {
    if !requires::cgroups("clients_that_hang_do_not_hold_up_a_stop") {
        return;
    }
    let mut guardd = start();
    let _control: Vec<_> = (0..9).map(|number| connect_half(&guardd.socket(), number)).collect();
    let mut follower = UnixStream::connect(guardd.socket()).unwrap();
    follower.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let metrics: Vec<_> = [&b""[..], b"GET /met", b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"]
        .into_iter()
        .map(|head| {
            let mut stream = TcpStream::connect(guardd.metrics_address()).unwrap();
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    guardd.signal(Signal::SIGTERM).unwrap();
    let status = guardd.process().unwrap().wait(Duration::from_secs(14)).unwrap();
    println!("stopped after {:?}", start.elapsed());
    assert!(status.success(), "{status}");
    drop(metrics);
    assert_eq!(guardd.leftovers(), [""; 0]);
}
