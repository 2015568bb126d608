//! Latency: one delay per exchange on an open connection, two with the connect, for one service
//! of one bulkhead.

use testbed::agent::Record;
use testbed::{requires, stats};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, agent, calls_are, clear, counters, good_calls, inject, metric, pair,
    pair_when, start, url,
};

fn total_ms(records: &[Record]) -> Vec<f64> {
    records.iter().map(|record| record.total_us / 1000.0).collect()
}

/// All at least so long, and at least one of them (noise only ever adds) less than so long.
fn within(what: &str, took_ms: &[f64], least: f64, below: f64) {
    let fastest = stats::quantile(took_ms, 0.0).unwrap();
    assert!(fastest >= least && fastest < below, "{what}: {took_ms:?}");
}

fn one_service_of_one_bulkhead(address: &str) {
    let api = Metered::start(&[address]);
    let calm = Metered::start(&[address]);
    let guardd = start(&[("api", &api.addresses), ("calm", &calm.addresses)]);
    let mut bystander = Bystander::new(&guardd, api.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &url(api.addresses[0]), &["--keep-alive"]);
    let mut fresh = agent(&guardd, RESEARCH, &url(api.addresses[0]), &[]);
    let mut spared = agent(&guardd, RESEARCH, &url(calm.addresses[0]), &["--keep-alive"]);
    good_calls(&mut kept, 2);
    good_calls(&mut spared, 2);
    bystander.calls();
    let before = pair(&guardd, RESEARCH, "api");
    assert_eq!(before.faulted, 0);

    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --latency 300ms");
    assert_eq!(fault["state"], "active", "{fault}");
    within("open connection", &total_ms(&good_calls(&mut kept, 4)), 295.0, 600.0);
    let connects = good_calls(&mut fresh, 3);
    within("connect and exchange", &total_ms(&connects), 595.0, 900.0);
    assert!(connects.iter().all(|record| record.connect_us.unwrap() >= 295_000.0));
    let spared_ms = stats::median(&total_ms(&good_calls(&mut spared, 10))).unwrap();
    let bystander_ms = bystander.calls();
    assert!(spared_ms < 100.0 && bystander_ms < 100.0, "{spared_ms} {bystander_ms}");
    if fault["engine"] == "nfqueue" {
        assert!(!bystander.chains().is_empty(), "so that their end below says something");
    }

    // A packet is counted in the fault when it is held, and in the pair when it goes.
    pair_when(&guardd, RESEARCH, "api", "the last held packet", |p| {
        p.faulted == counters(&guardd, &fault, "delayed")
    });
    // Counted where it happened: in the fault, in the pair, as injected; and nowhere else.
    let ended = clear(&guardd, &fault);
    let seen = pair(&guardd, RESEARCH, "api");
    let delayed = ended["counters"]["delayed"].as_u64().unwrap();
    assert!(delayed >= 4 + 3 * 2, "{ended}");
    assert_eq!(seen.faulted, delayed);
    assert_eq!((seen.call("success"), seen.calls_injected["success"]), (9, 7), "{seen:?}");
    assert_eq!(pair(&guardd, RESEARCH, "calm").faulted, 0);
    let labels = [r#"effect="delayed""#];
    assert_eq!(metric(&guardd, "guard_fault_packets_total", &labels), delayed as f64);
    assert!(seen.rtt_seconds > before.rtt_seconds, "{before:?} {seen:?}");

    within("afterwards", &total_ms(&good_calls(&mut kept, 5)), 0.0, 295.0);
    assert_eq!(counters(&guardd, &fault, "delayed"), delayed);
    bystander.end(&guardd, "api");
}

#[test]
fn over_ipv4() {
    if requires::cgroups("latency::over_ipv4") {
        one_service_of_one_bulkhead("127.0.0.1:0");
    }
}

#[test]
fn over_ipv6() {
    let test = "latency::over_ipv6";
    if !requires::cgroups(test) {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return requires::skip(test, "there is no ::1");
    }
    one_service_of_one_bulkhead("[::1]:0");
}

#[test]
fn jitter_stays_within_its_bounds() {
    if !requires::cgroups("jitter_stays_within_its_bounds") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut kept = agent(&guardd, RESEARCH, &url(server.addresses[0]), &["--keep-alive"]);
    good_calls(&mut kept, 1);
    let words = "--service api --for 120s --latency 200ms --jitter 150ms --seed 3";
    let fault = inject(&guardd, RESEARCH, words);
    assert!(fault["effect"].as_str().unwrap().contains("200ms"), "{fault}");
    assert_eq!(fault["seed"], 3);
    bystander.calls();
    let took = total_ms(&good_calls(&mut kept, 15));
    let at = |q| stats::quantile(&took, q).unwrap();
    assert!(at(0.0) >= 49.0, "never below 200 - 150 ms: {took:?}");
    // Even: the middle of 15 lies between the outer thirds, and the ends are far apart.
    assert!((100.0..350.0).contains(&at(0.5)), "{took:?}");
    assert!(at(0.9) - at(0.1) > 50.0, "{took:?}");
    clear(&guardd, &fault);

    let words = "--service api --for 120s --latency 200ms --jitter 40ms --distribution pareto";
    let fault = inject(&guardd, RESEARCH, words);
    assert_eq!(fault["effect"], "latency 200ms +-40ms pareto", "{fault}");
    let took = total_ms(&good_calls(&mut kept, 15));
    let at = |q| stats::quantile(&took, q).unwrap();
    // It begins at 200 - 0.58 x 40 ms, half of it is below 200 - 0.28 x 40 ms.
    assert!(at(0.0) >= 176.0 && at(0.0) < 230.0, "{took:?}");
    assert!(at(0.5) < 260.0, "{took:?}");
    clear(&guardd, &fault);
    bystander.end(&guardd, "api");
}

/// The packet hooks stand behind the queue: they do not see such a call begin.
#[test]
fn a_call_that_is_given_up_while_it_is_held_has_failed() {
    if !requires::cgroups("a_call_that_is_given_up_while_it_is_held") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let words = ["--keep-alive", "--timeout", "300ms"];
    let mut kept = agent(&guardd, RESEARCH, &url(server.addresses[0]), &words);
    good_calls(&mut kept, 2);
    let fault = inject(&guardd, RESEARCH, "--service api --for 120s --latency 2s --per first_byte");
    for _ in 0..2 {
        assert_eq!(kept.call(LIMIT).unwrap().outcome, "timeout");
    }
    let seen = calls_are(&guardd, RESEARCH, "api", &[("success", 2), ("aborted", 2)]);
    assert_eq!(seen.calls_injected["aborted"], 2);
    clear(&guardd, &fault);
    good_calls(&mut kept, 1);
    calls_are(&guardd, RESEARCH, "api", &[("success", 3), ("aborted", 2)]);
}
