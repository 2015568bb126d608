//! What opens a breaker and what does not, and what closes it again.

use std::time::Duration;

use testbed::server::{Behaviour, Server};
use testbed::{requires, wait};

use super::THRESHOLD;
use super::rig::{
    LIMIT, RESEARCH, WRITING, agent, breaker, breaker_when, calls_are, chain_is, events,
    good_calls, pair_when, start_breakers, state_when, url,
};

fn threshold(more: &str) -> String {
    format!("failure_threshold = {THRESHOLD}\nopen_timeout = \"10m\"\n{more}")
}

/// Makes calls that end with this, then one that guard refuses.
fn trips(sick: &mut testbed::agent::AgentProcess, outcome: &str) {
    for _ in 0..THRESHOLD {
        let record = sick.call(LIMIT).unwrap();
        assert_eq!(record.outcome, outcome, "{record:?}");
    }
    let refused = sick.call(LIMIT).unwrap();
    assert_eq!((refused.outcome.as_str(), refused.phase.as_str()), ("ECONNREFUSED", "connect"));
}

#[test]
fn a_stopped_server_opens_it_and_the_reset_lets_it_back() {
    let name = "a_stopped_server_opens_it_and_the_reset_lets_it_back";
    if !requires::cgroups(name) {
        return;
    }
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", &threshold(""), "");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    server.refuse();
    trips(&mut sick, "ECONNREFUSED");
    let calls = [("refused", THRESHOLD), ("rejected", 1)];
    calls_are(&guardd, RESEARCH, "api", &calls);
    let open = state_when(&guardd, RESEARCH, "open");
    assert_eq!(open["last_outcomes"][0], "refused", "{open}");
    assert_eq!(breaker(&guardd, WRITING)["state"], "closed");
    server.listen().unwrap();
    guardd.ctl_json(&["breaker", "reset", &format!("{RESEARCH}/api")]).unwrap();
    good_calls(&mut sick, 2);
    chain_is(&guardd, RESEARCH, &["open", "closed"]);
    drop(sick);
    guardd.finish().unwrap();
}

#[test]
fn a_server_that_hangs_opens_it_although_the_agent_gives_up_first() {
    let name = "a_server_that_hangs_opens_it_although_the_agent_gives_up_first";
    if !requires::cgroups(name) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", &threshold("abandoned_after = \"200ms\""), "");
    server.set(Behaviour::Hang);
    let mut hasty = agent(&guardd, WRITING, &url(address), &["--timeout", "50ms"]);
    let mut sick = agent(&guardd, RESEARCH, &url(address), &["--timeout", "300ms"]);
    trips(&mut sick, "timeout");
    calls_are(&guardd, RESEARCH, "api", &[("response_timeout", THRESHOLD), ("rejected", 1)]);
    // Whoever changes its mind at once says nothing of the service.
    for _ in 0..=THRESHOLD {
        assert_eq!(hasty.call(LIMIT).unwrap().outcome, "timeout");
    }
    let calls = pair_when(&guardd, WRITING, "api", "calls", |p| p.all_calls() > THRESHOLD);
    // In a slow guest 50 ms can become 200.
    let patient = calls.call("response_timeout");
    assert_eq!(calls.call("aborted") + patient, THRESHOLD + 1, "{calls:?}");
    assert!(patient >= THRESHOLD || breaker(&guardd, WRITING)["state"] == "closed");
    drop((hasty, sick));
    guardd.finish().unwrap();
}

#[test]
fn status_503_opens_it_404_and_429_do_not() {
    if !requires::cgroups("status_503_opens_it_404_and_429_do_not") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", &threshold(""), "");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    for status in [404, 429] {
        server.set(Behaviour::answer(status, 10));
        for _ in 0..2 * THRESHOLD {
            assert_eq!(sick.call(LIMIT).unwrap().outcome, format!("http_{status}"));
        }
    }
    let calls = [("client_error", 2 * THRESHOLD), ("throttled", 2 * THRESHOLD)];
    calls_are(&guardd, RESEARCH, "api", &calls);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    // On a connection that is kept: the calls after the last go on, but count for nothing.
    server.set(Behaviour::answer(503, 10));
    for _ in 0..THRESHOLD {
        assert_eq!(sick.call(LIMIT).unwrap().outcome, "http_503");
    }
    let open = state_when(&guardd, RESEARCH, "open");
    assert_eq!(open["last_outcomes"][0], "server_error", "{open}");
    sick.close().unwrap();
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    let named =
        || events(&guardd, "call_failed").iter().filter(|e| e["message"] == "HTTP 503").count();
    wait::until("its events", LIMIT, || named() as u64 == THRESHOLD).unwrap();
    drop(sick);
    guardd.finish().unwrap();
}

#[test]
fn throttling_lowers_the_success_rate() {
    if !requires::cgroups("throttling_lowers_the_success_rate") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let rate = "success_rate_below = 0.5\nmin_calls = 6\nwindow = \"10m\"";
    let guardd = start_breakers(address, "", &threshold(rate), "");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut sick, 3);
    server.set(Behaviour::answer(429, 10));
    // 3 of 5 and 3 of 6 are not below a half; 3 of 7 is.
    for _ in 0..3 {
        assert_eq!(sick.call(LIMIT).unwrap().outcome, "http_429");
    }
    let before = breaker_when(&guardd, RESEARCH, "6 calls", |b| b["window"]["calls"] == 6);
    assert_eq!((&before["state"], &before["window"]["failed"]), (&"closed".into(), &3.into()));
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "http_429");
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    chain_is(&guardd, RESEARCH, &["open"]);
    let told = events(&guardd, "breaker");
    assert!(told[0]["message"].as_str().unwrap().contains("success_rate"), "{told:?}");
    drop(sick);
    guardd.finish().unwrap();
}

#[test]
fn slow_answers_open_it() {
    if !requires::cgroups("slow_answers_open_it") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let slow = "slow_after = \"100ms\"\nslow_share = 0.9\nmin_calls = 4\nwindow = \"10m\"";
    let guardd = start_breakers(address, "", &threshold(slow), "");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    server.set(Behaviour::slow(Duration::from_millis(150)));
    good_calls(&mut sick, 4);
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    let told = events(&guardd, "breaker");
    assert!(told[0]["message"].as_str().unwrap().contains("slow_calls"), "{told:?}");
    drop(sick);
    guardd.finish().unwrap();
}

#[test]
fn a_connection_alone_closes_only_the_breaker_of_a_tcp_service() {
    if !requires::cgroups("a_connection_alone_closes_only_the_breaker_of_a_tcp_service") {
        return;
    }
    for (protocol, state) in [("http", "half_open"), ("auto", "half_open"), ("tcp", "closed")] {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let service = format!("protocol = \"{protocol}\"");
        let guardd = start_breakers(address, &service, "open_timeout = \"100ms\"", "");
        guardd.ctl_json(&["breaker", "trip", &format!("{RESEARCH}/api")]).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        let mut probe = agent(&guardd, RESEARCH, &format!("connect://{address}"), &[]);
        assert!(probe.call(LIMIT).unwrap().is_ok());
        let after = breaker_when(&guardd, RESEARCH, "a probe's end", |breaker| {
            breaker["probes_succeeded"] == 1 || breaker["probes_given_back"] == 1
        });
        assert_eq!(after["state"], state, "{protocol}: {after}");
        // The lease that was given back goes to the next call, whose answer closes it.
        let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
        good_calls(&mut caller, 1);
        state_when(&guardd, RESEARCH, "closed");
        drop((probe, caller));
        guardd.finish().unwrap();
    }
}

/// `Retry-After` makes OPEN longer, never shorter, and never longer than the configuration lets it.
#[test]
fn a_service_that_asks_to_be_left_alone_is_left_alone() {
    let name = "a_service_that_asks_to_be_left_alone_is_left_alone";
    if !requires::cgroups(name) {
        return;
    }
    let cases = [
        ("answer status=503 retry-after=40", "10s", "", 35.0..40.1),
        ("answer status=503 retry-after=2", "10s", "", 8.0..10.1),
        ("answer status=503", "10s", "", 8.0..10.1),
        ("answer status=503 retry-after=86400", "10s", "", 290.0..300.1),
        ("answer status=503 retry-after=40", "10s", "max_retry_after = \"0s\"", 8.0..10.1),
    ];
    for (behaviour, open_timeout, more, remaining) in cases {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let breakers =
            format!("failure_threshold = {THRESHOLD}\nopen_timeout = \"{open_timeout}\"\n{more}");
        let guardd = start_breakers(address, "", &breakers, "");
        let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
        server.set(behaviour.parse().unwrap());
        for _ in 0..THRESHOLD {
            assert_eq!(sick.call(LIMIT).unwrap().outcome, "http_503");
        }
        let open = state_when(&guardd, RESEARCH, "open");
        assert!(remaining.contains(&open["remaining_seconds"].as_f64().unwrap()), "{more} {open}");
        let asked = behaviour.contains("retry-after") && more.is_empty();
        let why = open["why"].as_str().unwrap();
        assert_eq!(why.contains("Retry-After"), asked, "{open}");
        assert_eq!(open["asked_seconds"].is_f64(), asked, "{open}");
        drop(sick);
        guardd.finish().unwrap();
    }
}

/// A probe that is told 429 opens the breaker again, for as long as the service says.
#[test]
fn a_throttled_probe_waits_as_long_as_it_is_told() {
    let name = "a_throttled_probe_waits_as_long_as_it_is_told";
    if !requires::cgroups(name) {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = start_breakers(address, "", "failure_threshold = 1\nopen_timeout = \"200ms\"", "");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    server.set(Behaviour::ResetAfterRequest);
    assert_eq!(sick.call(LIMIT).unwrap().outcome, "ECONNRESET");
    server.set("answer status=429 retry-after=60".parse().unwrap());
    wait::until("the probe", LIMIT, || sick.call(LIMIT).unwrap().outcome == "http_429").unwrap();
    let open = state_when(&guardd, RESEARCH, "open");
    assert!(open["remaining_seconds"].as_f64().unwrap() > 50.0, "{open}");
    drop(sick);
    guardd.finish().unwrap();
}
