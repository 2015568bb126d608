//! A thin link: no more than its rate goes through, either way, for all connections together.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use testbed::{requires, stats};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, agent, clear, counters, inject, inject_code, start, url,
};

/// Of each upload and download.
const BYTES: usize = 100_000;
/// 2 Mbit/s.
const RATE_BYTES_PER_SECOND: f64 = 250_000.0;

/// Reads a number of bytes, and answers with as many; one connection after the other.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = vec![0; BYTES];
            while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
        }
    });
    address
}

#[test]
fn each_way_has_its_rate() {
    if !requires::cgroups("each_way_has_its_rate") {
        return;
    }
    let quiet = Metered::start(&["127.0.0.1:0"]);
    let thin = echo();
    let guardd = start(&[("api", &[thin]), ("calm", &quiet.addresses)]);
    let mut bystander = Bystander::new(&guardd, quiet.addresses[0]);
    let bytes = BYTES.to_string();
    let words = ["--keep-alive", "--payload-bytes", &bytes];
    let mut kept = agent(&guardd, RESEARCH, &format!("tcp://{thin}"), &words);
    let mut seconds = |calls: u32| -> Vec<f64> {
        let call = |_| {
            let record = kept.call(LIMIT).unwrap();
            assert!(record.is_ok(), "{record:?}");
            record.total_us / 1e6
        };
        (0..calls).map(call).collect()
    };
    let free = stats::median(&seconds(3)).unwrap();
    let least = BYTES as f64 / RATE_BYTES_PER_SECOND;
    for direction in ["egress", "ingress"] {
        let words = format!("--service api --for 120s --bandwidth 2Mbit --direction {direction}");
        let fault = inject(&guardd, RESEARCH, &words);
        assert_eq!(fault["effect"], format!("bandwidth 2Mbit {direction}"));
        let took = seconds(3);
        let total: f64 = took.iter().sum();
        let passed = counters(&guardd, &fault, "bytes") as f64;
        // What came in before it was too much is up to a large packet and a tenth of a second.
        let ahead = 65_536.0 + RATE_BYTES_PER_SECOND / 10.0;
        assert!(passed <= total * RATE_BYTES_PER_SECOND * 1.02 + ahead, "{passed} in {took:?}");
        assert!(total >= 3.0 * least - ahead / RATE_BYTES_PER_SECOND, "{direction}: {took:?}");
        assert!(total > 2.0 * 3.0 * free, "{direction}: {took:?}, {free} without");
        let did = if direction == "egress" { "delayed" } else { "dropped" };
        assert!(counters(&guardd, &fault, did) > 0, "{direction}");
        bystander.calls();
        clear(&guardd, &fault);
    }
    assert!(stats::quantile(&seconds(5), 0.0).unwrap() < least / 2.0, "as fast as before");
    bystander.end(&guardd, "calm");
}

#[test]
fn a_second_fault_that_would_hold_the_same_packets_is_refused() {
    if !requires::cgroups("a_second_fault_that_would_hold_the_same_packets") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --latency 10ms");
    let second = inject_code(&guardd, RESEARCH, "--service api --for 60s --bandwidth 1Mbit");
    if fault["engine"] == "nfqueue" {
        assert_eq!(second.code, 2, "{second:?}");
        assert!(second.stderr.contains("holds the same packets"), "{second:?}");
    } else {
        assert_eq!(second.code, 0, "{second:?}");
    }
    let later = inject_code(&guardd, RESEARCH, "--service api --after 1h --for 60s --latency 5ms");
    assert_eq!(later.code, 0, "they never meet: {later:?}");
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    assert!(agent.call(LIMIT).unwrap().is_ok());
}
