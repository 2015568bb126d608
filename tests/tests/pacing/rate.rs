//! `max_calls_per_second` of a bulkhead and of one of its services.

use testbed::guardd::Guardd;
use testbed::server::Server;
use testbed::{requires, stats};

use super::rig::{
    LIMIT, Probe, RESEARCH, WRITING, agent, breaker, breaker_config, good_calls, metric, pair,
    start_breakers, url,
};
use super::{all_good, burst, eager, ends, limit};

/// Above the rate by no more than this share: what is measured here is when answers came, and the
/// first of them may have been late.
const TOO_FAST: f64 = 1.15;

fn paced_on_one_connection(address: &str) {
    let server = Server::start(&[address.parse().unwrap()]).unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(
        address,
        "",
        "slow_after = \"150ms\"\nslow_share = 0.2\nmin_calls = 3",
        "max_calls_per_second = 5\nmax_calls_burst = 2",
    );
    let mut neighbour = agent(&guardd, WRITING, &url(address), &["--keep-alive"]);
    let records = burst(&guardd, RESEARCH, address, 12);
    // Two at once; the other ten one every 200 ms.
    let came = ends(&records);
    println!("answers after {came:.3?} s");
    assert!(came[1] < 0.2, "a burst of two does not wait: {came:?}");
    let rate = 10.0 / (came[11] - came[1]);
    assert!((2.5..5.0 * TOO_FAST).contains(&rate), "{rate} calls a second: {came:?}");
    assert!(records.iter().skip(1).all(|record| record.reused), "one connection");
    let counts = server.counts();
    assert_eq!((counts.requests, counts.connections), (12, 1), "none was lost or sent twice");

    let quick: Vec<f64> = good_calls(&mut neighbour, 20).iter().map(|r| r.total_us).collect();
    let median_ms = stats::median(&quick).unwrap() / 1000.0;
    assert!(median_ms < 60.0, "the neighbour has no limit: {median_ms} ms");

    let of = limit(&guardd, RESEARCH, Some("api"));
    // An answer that a busy machine brings late leaves less to wait for.
    let paced = of["paced"].as_u64().unwrap();
    assert!((4..=10).contains(&paced) && of["pacing_over"] == 0, "{of}");
    let whole = limit(&guardd, RESEARCH, None);
    assert_eq!(whole["max_calls_per_second"], 5.0, "{whole}");
    let labels = ["bulkhead=\"research\"", "destination=\"api\""];
    assert_eq!(metric(&guardd, "guard_paced_calls_total", &labels), paced as f64);
    let waited = metric(&guardd, "guard_pacing_delay_seconds_total", &labels);
    assert!((0.3..4.0).contains(&waited), "{waited} s");
    // To the breaker and to the counters the service was as fast as ever.
    let seen = pair(&guardd, RESEARCH, "api");
    assert_eq!((seen.call("success"), seen.all_calls()), (12, 12), "{seen:?}");
    assert!(seen.p50_seconds.unwrap() < 0.1, "{seen:?}");
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    let text = guardd.ctl(&["status"]).unwrap().stdout;
    assert!(text.contains("CALLS/S") && text.contains(&format!("{paced}, ")), "{text}");
    drop(neighbour);
    guardd.finish().unwrap();
}

#[test]
fn a_burst_on_one_connection_is_paced() {
    if requires::cgroups("a_burst_on_one_connection_is_paced") {
        paced_on_one_connection("127.0.0.1:0");
    }
}

#[test]
fn over_ipv6_too() {
    if requires::cgroups("rate::over_ipv6_too") {
        paced_on_one_connection("[::1]:0");
    }
}

#[test]
fn the_first_calls_of_new_connections_are_paced_as_well() {
    if !requires::cgroups("the_first_calls_of_new_connections_are_paced_as_well") {
        return;
    }
    let (api, rest) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (address, rest_at) = (api.address().unwrap(), rest.address().unwrap());
    let research = "[bulkheads.research.limits]\n\
                    services.api = { max_calls_per_second = 4, max_calls_burst = 1 }";
    let guardd = start_breakers(address, "", "", research);
    let agent = eager(&guardd, RESEARCH, address, &["--count", "9", "--concurrency", "3"]);
    let (records, _) = agent.finish(LIMIT).unwrap();
    all_good(&records, 9);
    let came = ends(&records);
    let rate = 8.0 / (came[8] - came[0]);
    assert!((2.0..4.0 * TOO_FAST).contains(&rate), "{rate} calls a second: {came:?}");
    // Connections do not wait, only calls do.
    assert!(records.iter().all(|r| r.connect_us.unwrap() < 200_000.0), "{records:?}");
    // Another service of the bulkhead has no limit.
    let came = ends(&burst(&guardd, RESEARCH, rest_at, 20));
    assert!(came[19] < 3.0, "{came:?}");
    guardd.finish().unwrap();
}

#[test]
fn large_requests_arrive_whole_and_in_order() {
    if !requires::cgroups("large_requests_arrive_whole_and_in_order") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "", "max_calls_per_second = 5\nmax_calls_burst = 1");
    let args = ["--keep-alive", "--count", "6", "--payload-bytes", "300000"];
    let (records, _) = eager(&guardd, RESEARCH, address, &args).finish(LIMIT * 2).unwrap();
    all_good(&records, 6);
    assert_eq!(server.counts().requests, 6);
    assert!(ends(&records)[5] > 0.9, "{:?}", ends(&records));
    let of = limit(&guardd, RESEARCH, Some("api"));
    assert!((3..=5).contains(&of["paced"].as_u64().unwrap()), "{of}");
    // TCP finds what is held in its own host. When it goes, a piece may be sent twice, no more.
    let retransmits = pair(&guardd, RESEARCH, "api").retransmits;
    assert!(retransmits <= 5, "{retransmits} for five calls that were held");
    guardd.finish().unwrap();
}

#[test]
fn what_would_wait_too_long_passes_and_is_counted() {
    if !requires::cgroups("what_would_wait_too_long_passes_and_is_counted") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let research = "max_calls_per_second = 0.5\nmax_calls_burst = 1\npacing_max_delay = \"1s\"";
    let guardd = start_breakers(address, "", "", research);
    let came = ends(&burst(&guardd, RESEARCH, address, 20));
    assert!(came[19] < 5.0, "never an endless queue: {came:?}");
    let of = limit(&guardd, RESEARCH, Some("api"));
    assert!(of["pacing_over"].as_u64().unwrap() >= 17, "{of}");
    guardd.finish().unwrap();
}

#[test]
fn a_reload_changes_the_rate_of_open_connections() {
    if !requires::cgroups("a_reload_changes_the_rate_of_open_connections") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = start_breakers(address, "", "", "");
    let mut caller = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let mut took = |guardd: &mut Guardd, research: &str| {
        guardd.set_config(breaker_config(address, "", "", research)).unwrap();
        let answer = guardd.ctl_json(&["reload"]).unwrap();
        // The first call makes the connection known.
        let records = good_calls(&mut caller, 6);
        (answer["changes"].to_string(), ends(&records[1..])[4])
    };
    let (_, free) = took(&mut guardd, "");
    let slow = "max_calls_per_second = 4\nmax_calls_burst = 1";
    let (changes, paced) = took(&mut guardd, slow);
    let wanted = "bulkhead research: max_calls_per_second default -> 4 (burst 1)";
    assert!(changes.contains(wanted), "{changes}");
    let (_, again) = took(&mut guardd, "max_calls_per_second = 1000");
    assert!(free < 0.9 && again < 0.9 && paced > 0.9, "{free} {paced} {again}");
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["pacing_engine"], "nfqueue");
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn monitor_mode_holds_nothing_and_counts() {
    if !requires::cgroups("pacing::monitor_mode_holds_nothing_and_counts") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let research = "max_calls_per_second = 2\nmax_calls_burst = 1";
    let config = breaker_config(address, "", "", research).daemon("mode", "\"monitor\"");
    let guardd = Guardd::start(config).unwrap();
    let came = ends(&burst(&guardd, RESEARCH, address, 10));
    assert!(came[9] < 2.0, "{came:?}");
    let of = limit(&guardd, RESEARCH, Some("api"));
    let would = of["would_have"].as_u64().unwrap();
    assert!(of["paced"] == 0 && (5..=9).contains(&would), "{of}");
    let counted = metric(&guardd, "guard_would_have_total", &["action=\"limit\""]);
    assert_eq!(counted, would as f64);
    assert!(super::rig::Rules::of(&guardd).chains().is_empty(), "and puts no rule on the host");
    guardd.finish().unwrap();
}

#[test]
fn protected_destinations_are_not_paced() {
    if !requires::cgroups("protected_destinations_are_not_paced") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let research = "max_calls_per_second = 1\nmax_calls_burst = 1";
    let config = breaker_config(address, "", "", research).daemon("protected", "[\"127.0.0.0/8\"]");
    let guardd = Guardd::start(config).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp a {address}"));
    let began = std::time::Instant::now();
    for _ in 0..10 {
        probe.must("http a");
    }
    assert!(began.elapsed().as_secs_f64() < 3.0, "{:?}", began.elapsed());
    drop(probe);
    guardd.finish().unwrap();
}
