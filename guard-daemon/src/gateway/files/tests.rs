//! Files over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as Plain};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::kernel::Asked;

const LIMIT: Duration = Duration::from_secs(10);

struct Running {
    at: SocketAddr,
    stop: watch::Sender<Stop>,
    task: tokio::task::JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
}

fn start(directory: &Path, known: bool) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let asked = Asked {
        destination: "127.0.0.1:1".parse().unwrap(),
        bulkhead: 1,
        service: 2,
        refused: true,
    };
    let files = Arc::new(Files {
        service: "docs".to_owned(),
        directory: directory.to_owned(),
        lookup: Arc::new(move |_| known.then_some(asked)),
    });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    let task = runtime.spawn(serve(listener, files, stopped));
    Running { at, stop, task, runtime }
}

/// All that comes back for these bytes, until the server closes.
fn exchange(at: SocketAddr, bytes: &[u8]) -> String {
    let mut client = Plain::connect(at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask(at: SocketAddr, line: &str) -> String {
    let text = format!("{line} HTTP/1.1\r\nHost: docs.example\r\nConnection: close\r\n\r\n");
    exchange(at, text.as_bytes())
}

fn directory() -> tempfile::TempDir {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("served");
    std::fs::create_dir_all(inner.join("v1/models")).unwrap();
    std::fs::write(outer.path().join("secret"), "SECRET").unwrap();
    std::fs::write(inner.join("plain.txt"), "PLAIN").unwrap();
    std::fs::write(inner.join("v1/models/index.json"), "[1]").unwrap();
    std::fs::write(inner.join("v1/usage.json"), "{\"a\":1}").unwrap();
    symlink(outer.path().join("secret"), inner.join("absolute")).unwrap();
    symlink("../secret", inner.join("relative")).unwrap();
    symlink("plain.txt", inner.join("inside")).unwrap();
    nix::unistd::mkfifo(&inner.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    outer
}

#[test]
fn files_are_found_by_the_paths_of_an_api_and_say_what_they_are() {
    let directory = directory();
    let running = start(&directory.path().join("served"), true);
    for (path, body) in [
        ("/plain.txt", "PLAIN"),
        ("/inside", "PLAIN"),
        ("/v1/models", "[1]"),
        ("/v1/models/", "[1]"),
        ("/v1/usage?since=1", "{\"a\":1}"),
    ] {
        let answer = ask(running.at, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{path}: {answer}");
        assert!(answer.contains("x-guard-fallback: static\r\n"), "{path}: {answer}");
        assert!(answer.contains("last-modified: "), "{path}: {answer}");
        assert!(answer.contains("age: "), "{path}: {answer}");
    }
    assert!(ask(running.at, "GET /v1/usage").contains("content-type: application/json"));
    let head = ask(running.at, "HEAD /plain.txt");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let range =
        "GET /plain.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n";
    let range = exchange(running.at, range.as_bytes());
    assert!(range.starts_with("HTTP/1.1 206") && range.ends_with("LA"), "{range}");
}

#[test]
fn nothing_leaves_the_directory_and_what_is_not_there_is_unavailable() {
    let directory = directory();
    let running = start(&directory.path().join("served"), true);
    for path in [
        "/absolute",
        "/relative",
        "/../secret",
        "/%2e%2e/secret",
        "/v1/..%2f..%2f..%2fsecret",
        "//../secret",
        "/..%5csecret",
        "/%00",
        "/pipe",
        "/missing",
        "/v1",
        "/",
        "/plain.txt/more",
    ] {
        let answer = ask(running.at, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        assert!(answer.contains("\"from\":\"guard\""), "{path}: {answer}");
        assert!(!answer.contains("SECRET"), "{path}: {answer}");
    }
    let post = ask(running.at, "POST /plain.txt");
    assert!(post.starts_with("HTTP/1.1 503 ") && post.contains("GET and HEAD alone"), "{post}");
}

#[test]
fn a_directory_that_goes_and_comes_back_is_found_again() {
    let directory = directory();
    let (served, away) = (directory.path().join("served"), directory.path().join("away"));
    let running = start(&served, true);
    std::fs::rename(&served, &away).unwrap();
    assert!(ask(running.at, "GET /plain.txt").starts_with("HTTP/1.1 503 "));
    std::fs::rename(&away, &served).unwrap();
    assert!(ask(running.at, "GET /plain.txt").ends_with("PLAIN"));
}

#[test]
fn garbage_and_silence_harm_nobody() {
    let directory = directory();
    let running = start(&directory.path().join("served"), true);
    let silent: Vec<Plain> = (0..50).map(|_| Plain::connect(running.at).unwrap()).collect();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert!(!exchange(running.at, &[&tls[..], &[0; 600]].concat()).contains("200"));
    let big = format!("GET / HTTP/1.1\r\nX-Big: {}\r\n\r\n", "a".repeat(200_000));
    let mut client = Plain::connect(running.at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    // The server may well close before it has read everything.
    drop(client.write_all(big.as_bytes()));
    let mut answer = Vec::new();
    drop(client.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert!(ask(running.at, "GET /plain.txt").ends_with("PLAIN"));
    drop(silent);
}

#[test]
fn whoever_was_not_redirected_gets_nothing() {
    let directory = directory();
    let running = start(&directory.path().join("served"), false);
    let mut client = Plain::connect(running.at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    drop(client.write_all(b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut answer = Vec::new();
    drop(client.read_to_end(&mut answer));
    assert!(answer.is_empty(), "{answer:?}");
}

#[test]
fn a_stop_ends_it_in_time() {
    let directory = directory();
    let running = start(&directory.path().join("served"), true);
    let idle = Plain::connect(running.at).unwrap();
    assert!(ask(running.at, "GET /plain.txt").ends_with("PLAIN"));
    running.stop.send_replace(Stop::End);
    let ended = running.runtime.block_on(async { tokio::time::timeout(LIMIT, running.task).await });
    assert!(ended.is_ok());
    assert!(Plain::connect(running.at).is_err());
    drop(idle);
}
