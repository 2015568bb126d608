//! TLS: handshakes and their ends are no calls; what is asked inside is, and so is a handshake that an
//! alert ends.

use std::process::Command;

use testbed::guardd::Guardd;
use testbed::process::Process;
use testbed::{cgroup, requires};

use crate::rig::{
    LIMIT, RESEARCH, WRITING, breaker, calls_are, events, pair, pair_when, services, start,
    start_breakers,
};

/// Turns each line around and sends it back.
struct TlsServer {
    process: Process,
    port: u16,
}

fn server(directory: &std::path::Path, more: &[&str]) -> TlsServer {
    let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=test",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-rev", "-accept", "127.0.0.1:0", "-key"]).arg(&key);
    command.arg("-cert").arg(&certificate).args(more);
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
    let mut server = server(directory.path(), &[]);
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

/// Calls once with these arguments; the client gives up by itself.
fn refused_client(guardd: &Guardd, port: u16, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(arguments);
    let mut client =
        Process::spawn(&mut cgroup::wrap(&guardd.bulkhead(RESEARCH), &command)).unwrap();
    assert_ne!(client.wait(LIMIT).unwrap().code(), Some(0), "{arguments:?}");
}

/// Each side refuses the other, in each version, before and after the keys are there.
#[test]
fn alerts_end_handshakes_and_open_no_breaker() {
    let test = "alerts_end_handshakes_and_open_no_breaker";
    if !requires::cgroups(test) || !requires::program(test, "openssl") {
        return;
    }
    let distrust: &[&str] = &["-verify_return_error"];
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("the agent distrusts, sealed", &[], &["-tls1_3"]),
        ("the agent distrusts, in clear text", &[], &["-tls1_2"]),
        ("no version in common", &["-tls1_2"], &["-tls1_3"]),
        ("no cipher in common", &["-cipher", "ECDHE+AES128"], &["-cipher", "ECDHE+AES256"]),
        ("the server wants a certificate, sealed", &["-Verify", "1"], &["-tls1_3"]),
        ("the server wants a certificate, in clear text", &["-Verify", "1"], &["-tls1_2"]),
    ];
    for (what, of_server, of_client) in cases {
        let directory = tempfile::tempdir().unwrap();
        let versions: &[&str] = if what.contains("cipher") { &["-tls1_2"] } else { &[] };
        let mut server = server(directory.path(), &[of_server, versions].concat());
        let address = format!("127.0.0.1:{}", server.port).parse().unwrap();
        let guardd = start_breakers(address, "", "failure_threshold = 2", "");
        let trust = if what.contains("distrusts") { distrust } else { &[] };
        for round in 1..=3 {
            refused_client(&guardd, server.port, &[of_client, versions, trust].concat());
            pair_when(&guardd, RESEARCH, "api", what, |p| {
                p.connects_established == round && p.connections == 0
            });
            calls_are(&guardd, RESEARCH, "api", &[("tls_alert", round)]);
        }
        let failed = events(&guardd, "call_failed");
        assert_eq!(failed.len(), 3, "{what}: {failed:?}");
        assert!(failed.iter().all(|event| event["outcome"] == "tls_alert"), "{what}: {failed:?}");
        let breaker = breaker(&guardd, RESEARCH);
        assert_eq!(breaker["state"], "closed", "{what}: {breaker}");
        server.process.kill().unwrap();
    }
}
