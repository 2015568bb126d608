//! Clients that nobody here wrote, against real servers: each is refused in its own words when a
//! breaker is open, waits without an error when it is held, and is healed when a call hangs; and
//! Chaos Toolkit, which runs a drill on many hosts.
//!
//! `cargo xtask clients` installs them and runs this; `GUARD_CLIENTS_DIR` says where they are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may die of what it did not expect"
)]

use std::net::SocketAddr;
use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::{requires, wait};

mod client;
mod fleet;
mod half_dead;
mod servers;

use client::Client;
use servers::{Api, Database};

/// Longest wait for anything that must come; some clients take seconds to start.
const LIMIT: Duration = Duration::from_mins(1);
/// A refused call takes at most this long inside the client, milliseconds.
const REFUSED_MS: f64 = 5.0;
const BULKHEAD: &str = "agent";

/// HTTP clients, as (program, kind).
const HTTP: [(&str, &str); 8] = [
    ("curl", "curl"),
    ("python", "requests"),
    ("python", "httpx"),
    ("python", "openai"),
    ("python", "anthropic"),
    ("node", "fetch"),
    ("node", "openai"),
    ("node", "anthropic"),
];
/// Those of them that try again by themselves.
const SDKS: [(&str, &str); 4] =
    [("python", "openai"), ("python", "anthropic"), ("node", "openai"), ("node", "anthropic")];

fn start(address: SocketAddr, breaker: &str, bulkhead: &str) -> Guardd {
    Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[defaults.breaker]\n{breaker}\n\
         [bulkheads.{BULKHEAD}]\n{bulkhead}\n"
    )))
    .unwrap()
}

fn breaker(guardd: &Guardd, verb: &str) {
    guardd.ctl_json(&["breaker", verb, &format!("{BULKHEAD}/api")]).unwrap();
}

/// Closed, it works; open, it gets its ordinary error at once; closed again, it works.
fn refused_and_back(guardd: &Guardd, mut client: Client) {
    client.good();
    breaker(guardd, "trip");
    // The first call may still find the connection that the open breaker cut.
    let mut answers: Vec<_> = (0..6).map(|_| client.call()).collect();
    assert!(answers.iter().all(|answer| !answer.ok), "{client}: {answers:?}");
    let first = answers.remove(0);
    assert!(
        ["ECONNREFUSED", "ECONNABORTED"].contains(&first.errno.as_str()),
        "{client}: {first:?}"
    );
    for answer in &answers {
        assert_eq!(answer.errno, "ECONNREFUSED", "{client}: {answer:?}");
    }
    let fastest = answers.iter().map(|answer| answer.ms).fold(f64::INFINITY, f64::min);
    println!("{client}: {} in {fastest:.2} ms", answers[0].error);
    assert!(fastest <= REFUSED_MS, "{client}: {answers:?}");
    breaker(guardd, "reset");
    client.good();
}

#[test]
fn http_clients_are_refused_in_their_own_words_and_come_back() {
    if !requires::cgroups("http_clients_are_refused_in_their_own_words_and_come_back") {
        return;
    }
    let api = Api::start();
    let settings = "open_timeout = \"24h\"\nopen_pool = \"cut_idle\"";
    let guardd = start(api.address, settings, "");
    for (program, kind) in HTTP {
        let url = format!("http://{}/", api.address);
        refused_and_back(&guardd, Client::start(&guardd, program, kind, &url, 0));
    }
    guardd.finish().unwrap();
}

#[test]
fn database_clients_are_refused_in_their_own_words_and_come_back() {
    if !requires::cgroups("database_clients_are_refused_in_their_own_words_and_come_back") {
        return;
    }
    for (kind, database) in [("postgres", Database::postgres()), ("redis", Database::redis())] {
        let settings = "open_timeout = \"24h\"\nopen_pool = \"cut_idle\"";
        let guardd = start(database.address, settings, "");
        refused_and_back(&guardd, Client::start(&guardd, "python", kind, &database.url, 0));
        guardd.finish().unwrap();
    }
}

#[test]
fn held_clients_see_no_error_when_the_service_is_back_within_3_s() {
    if !requires::cgroups("held_clients_see_no_error_when_the_service_is_back_within_3_s") {
        return;
    }
    let mut api = Api::start();
    // Opened by one refusal, so that what follows is held.
    let settings = "failure_threshold = 1\nopen_timeout = \"1s\"\nopen_action = \"hold\"\n\
                    abandoned_after = \"0s\"\nopen_pool = \"cut_all\"";
    let guardd = start(api.address, settings, "");
    let url = format!("http://{}/", api.address);
    // It keeps no connection, so that it meets the closed port.
    let mut scout = Client::start(&guardd, "curl", "curl", &url, 0);
    let cut = || {
        let labels = ["reason=\"open_pool\""];
        guardd.metric("guard_connections_ended_total", &labels).unwrap().unwrap_or_default()
    };
    for (program, kind) in HTTP {
        let mut client = Client::start(&guardd, program, kind, &url, 0);
        client.good();
        scout.good();
        // A call that is under way when guard cuts its pool fails; curl alone has none.
        let pools = cut() + if kind == "curl" { 0.0 } else { 1.0 };
        api.stop();
        wait::until("the breaker to open", LIMIT, || {
            scout.call();
            let list = guardd.ctl_json(&["breaker", "list"]).unwrap();
            list["breakers"][0]["state"] == "open"
        })
        .unwrap();
        wait::until("the cut", LIMIT, || cut() >= pools).unwrap();
        client.begin();
        std::thread::sleep(Duration::from_millis(500));
        api.restart();
        let answer = client.end();
        assert!(answer.ok, "{client}: {answer:?}");
        println!("{client}: held, answered after {:.0} ms", answer.ms);
    }
    drop(scout);
    guardd.finish().unwrap();
}

#[test]
fn sdks_heal_a_hanging_call_that_guard_ends() {
    if !requires::cgroups("sdks_heal_a_hanging_call_that_guard_ends") {
        return;
    }
    let mut api = Api::start();
    let guardd = start(api.address, "mode = \"off\"", "call_timeout = \"1s\"");
    for (program, kind) in SDKS {
        let url = format!("http://{}/", api.address);
        let mut client = Client::start(&guardd, program, kind, &url, 2);
        client.good();
        api.hang(1);
        let answer = client.call();
        assert!(answer.ok, "{client}: {answer:?}");
        assert!((1_000.0..10_000.0).contains(&answer.ms), "{client}: {answer:?}");
        println!("{client}: ended after 1 s, answered after {:.0} ms", answer.ms);
    }
    guardd.finish().unwrap();
}
