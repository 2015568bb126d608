//! TLS: handshakes and their ends are no calls; what is asked inside is.

use std::process::Command;

use testbed::guardd::Guardd;
use testbed::process::Process;
use testbed::{cgroup, requires};

use crate::rig::{LIMIT, RESEARCH, WRITING, calls_are, pair, pair_when, services, start};

/// Turns each line around and sends it back.
struct TlsServer {
    process: Process,
    port: u16,
}

fn server(directory: &std::path::Path) -> TlsServer {
    let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-rev", "-accept", "127.0.0.1:0", "-key"]).arg(&key);
    command.arg("-cert").arg(&certificate);
    let mut process = Process::spawn(&mut command).unwrap();
    let line = process.wait_for_line(LIMIT, |line| line.starts_with("ACCEPT ")).unwrap();
    let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    TlsServer { process, port }
}

fn client(guardd: &Guardd, port: u16, version: &str) -> Process {
    let mut command = Command::new("openssl");
    command.args(["s_client", version, "-connect", &format!("127.0.0.1:{port}")]);
    let mut client =
        Process::spawn(&mut cgroup::wrap(&guardd.bulkhead(RESEARCH), &command)).unwrap();
    client.wait_for_line(LIMIT, |line| line.contains("Verify return code")).unwrap();
    client
}

#[test]
fn handshakes_are_no_calls() {
    let test = "handshakes_are_no_calls";
    if !requires::cgroups(test) || !requires::program(test, "openssl") {
        return;
    }
    // TCP may send a Finished again together with the request behind it: then the segment begins as a
    // handshake does, and the call is not seen. Only a very busy host does that on loopback.
    let undisturbed = (0..5).any(|_| rounds());
    assert!(undisturbed, "segments were sent again in each of five attempts");
}

/// False if TCP sent anything again meanwhile.
fn rounds() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(directory.path());
    let address = format!("127.0.0.1:{}", server.port).parse().unwrap();
    let guardd = start(&[("api", &[address])]);
    let mut calls = 0;
    for (round, version) in (1..).zip(["-tls1_3", "-tls1_2"]) {
        // Shaken hands, and gone.
        let mut greeter = client(&guardd, server.port, version);
        greeter.close_stdin();
        greeter.wait(LIMIT).unwrap();
        let what = format!("{version}: a connection that ended");
        let seen = pair_when(&guardd, RESEARCH, "api", &what, |p| {
            p.connects_established == 2 * round - 1 && p.connections == 0
        });
        assert_eq!(seen.all_calls(), calls, "{version}: {seen:?}");

        // Two questions over one connection.
        let mut asker = client(&guardd, server.port, version);
        for (question, answer) in [("abc", "cba"), ("12345", "54321")] {
            asker.send_line(question).unwrap();
            asker.wait_for_line(LIMIT, |line| line == answer).unwrap();
            calls += 1;
            if pair(&guardd, RESEARCH, "api").retransmits > 0 {
                return false;
            }
            calls_are(&guardd, RESEARCH, "api", &[("success", calls)]);
        }
        asker.close_stdin();
        asker.wait(LIMIT).unwrap();
        pair_when(&guardd, RESEARCH, "api", "the end", |p| p.connections == 0);
        calls_are(&guardd, RESEARCH, "api", &[("success", calls)]);
    }
    assert!(services(&guardd, WRITING).is_empty());
    server.process.kill().unwrap();
    true
}
