//! Names that do not resolve: the C library asks a name server of ours, over UDP.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use testbed::guardd::Guardd;
use testbed::{cgroup, requires};

use crate::rig::{RESEARCH, WRITING, breaker, events, pair, pair_when, services, start_breakers};

const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
/// Asks, and hears nothing.
const SILENT: u8 = 255;
const QUESTION_BYTES: usize = 12;

/// A name server in a thread: every name has one address, or there is this error.
struct NameServer {
    address: SocketAddr,
    code: Arc<AtomicU8>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// On the port of name servers, which the C library knows no other than, at an address that no
    /// resolver of this host has.
    fn start() -> Option<Self> {
        let at = Ipv4Addr::new(127, 77, (std::process::id() % 250) as u8, 53);
        let socket = UdpSocket::bind((at, 53)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (code, ends) = (Arc::new(AtomicU8::new(NO_ERROR)), Arc::new(AtomicBool::new(false)));
        let address = socket.local_addr().unwrap();
        let (its_code, its_end) = (Arc::clone(&code), Arc::clone(&ends));
        let serve = move || {
            let mut question = [0; 512];
            while !its_end.load(Ordering::Relaxed) {
                let Ok((bytes, from)) = socket.recv_from(&mut question) else { continue };
                let code = its_code.load(Ordering::Relaxed);
                if code != SILENT && bytes > QUESTION_BYTES {
                    socket.send_to(&answer(&question[..bytes], code), from).unwrap();
                }
            }
        };
        Some(Self { address, code, ends, thread: Some(std::thread::spawn(serve)) })
    }

    fn answers(&self, code: u8) {
        self.code.store(code, Ordering::Relaxed);
    }

    /// Nobody listens on the port any more.
    fn stop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The question with the answer's header, and where it asks for an IPv4 address, 198.51.100.1.
fn answer(question: &[u8], code: u8) -> Vec<u8> {
    let end = QUESTION_BYTES
        + question[QUESTION_BYTES..].iter().position(|byte| *byte == 0).unwrap()
        + 1
        + 4;
    let mut answer = question[..end].to_vec();
    // An answer, recursion available; one question, nothing behind it.
    answer[2] |= 0x80;
    answer[3] = 0x80 | code;
    answer[6..12].fill(0);
    if code == NO_ERROR && answer[end - 3] == 1 {
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 1]);
    }
    answer
}

/// Has the C library look a name up inside the bulkhead, with this resolver configuration.
fn look_up(guardd: &Guardd, configuration: &Path) -> ExitStatus {
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec getent ahosts api.test";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(configuration);
    let output = cgroup::wrap(&guardd.bulkhead(RESEARCH), &command).output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).contains("198.51.100.1");
    assert_eq!(output.status.success(), found, "{output:?}");
    output.status
}

#[test]
fn names_that_do_not_resolve() {
    let test = "names_that_do_not_resolve";
    if !requires::cgroups(test)
        || !requires::program(test, "getent")
        || !requires::program(test, "unshare")
    {
        return;
    }
    let Some(mut server) = NameServer::start() else {
        return requires::skip(test, "port 53 of 127.77.0.0/16 is taken");
    };
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("resolv.conf");
    let text = format!("nameserver {}\noptions timeout:1 attempts:1\n", server.address.ip());
    std::fs::write(&configuration, text).unwrap();
    // Two failures in a row would open it.
    let guardd = start_breakers(server.address, "", "failure_threshold = 2", "");
    let failures = || pair(&guardd, RESEARCH, "api").call("dns_failure");

    for code in [NO_ERROR, NXDOMAIN, NO_ERROR] {
        server.answers(code);
        assert_eq!(look_up(&guardd, &configuration).success(), code == NO_ERROR);
    }
    let seen = pair_when(&guardd, RESEARCH, "api", "three answers", |p| p.call("success") >= 3);
    assert_eq!(seen.all_calls(), seen.call("success"), "a name that is not there is an answer");

    for code in [SERVFAIL, REFUSED, SILENT] {
        let before = failures();
        server.answers(code);
        let status = look_up(&guardd, &configuration);
        assert!(status.signal().is_none() && !status.success());
        pair_when(&guardd, RESEARCH, "api", "a name that did not resolve", |p| {
            p.call("dns_failure") > before
        });
    }
    let before = failures();
    server.stop();
    look_up(&guardd, &configuration);
    pair_when(&guardd, RESEARCH, "api", "a name server that is down", |p| {
        p.call("dns_failure") > before
    });

    let seen = pair(&guardd, RESEARCH, "api");
    let known = seen.call("success") + seen.call("dns_failure");
    assert_eq!(seen.all_calls(), known, "{seen:?}");
    let failed = events(&guardd, "call_failed");
    assert!(failed.iter().all(|event| event["outcome"] == "dns_failure"), "{failed:?}");
    assert_eq!(failed.len() as u64, seen.call("dns_failure"));
    let breaker = breaker(&guardd, RESEARCH);
    assert_eq!((&breaker["state"], &breaker["failures"]), (&"closed".into(), &0.into()));
    assert!(services(&guardd, WRITING).is_empty());
}
