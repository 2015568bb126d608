//! Which socket options connections get, and which keep their own.

use std::net::{SocketAddr, TcpListener};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::sockopts::Options;
use testbed::{requires, wait};

use crate::rig::{LIMIT, Probe, RESEARCH, WRITING};

/// What a connection gets by default.
const DEFAULT: Options =
    Options { keepalive: true, idle: 20, interval: 10, probes: 3, user_timeout: 50_000 };

fn json(options: &Options) -> String {
    serde_json::to_string(options).unwrap()
}

fn options(probe: &mut Probe, name: &str) -> Options {
    let mut reply = probe.must(&format!("options {name}"));
    reply.as_object_mut().unwrap().remove("us");
    serde_json::from_value(reply).unwrap()
}

/// Options of a connection just made, and after its first exchange.
fn before_and_after(probe: &mut Probe, to: SocketAddr) -> (Options, Options) {
    probe.must(&format!("tcp c {to}"));
    let before = options(probe, "c");
    probe.must("http c");
    let after = options(probe, "c");
    probe.must("close c");
    (before, after)
}

fn config(api: SocketAddr, more: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{api}\"]\n{more}\n[bulkheads.{RESEARCH}]\n\
         [bulkheads.{WRITING}]\n"
    ))
}

#[test]
fn a_connection_gets_them_unless_somebody_says_otherwise() {
    if !requires::cgroups("a_connection_gets_them_unless_somebody_says_otherwise") {
        return;
    }
    let addresses = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"].map(|at| at.parse().unwrap());
    let server = Server::start(&addresses).unwrap();
    let [api, protected, v6] = server.addresses()[..] else { panic!("three addresses") };
    let own = Options { idle: 5, interval: 2, probes: 2, user_timeout: 9_500, ..DEFAULT };
    let guarded = "[services.own]\nendpoints = [\"127.0.0.3:1\"]";
    for (more, mode, wanted) in [
        ("", "enforce", DEFAULT),
        (
            "hygiene = { keepalive = \"5s\", keepalive_interval = \"1500ms\", keepalive_probes = 2, \
             user_timeout = \"9500ms\" }",
            "enforce",
            own,
        ),
        ("hygiene.mode = \"off\"", "enforce", Options::FRESH),
        ("[defaults.hygiene]\nmode = \"off\"", "enforce", Options::FRESH),
        ("", "monitor", Options::FRESH),
    ] {
        let config = config(api, &format!("{more}\n{guarded}"))
            .daemon("mode", &format!("\"{mode}\""))
            .daemon("protected", "[\"127.0.0.2/32\"]");
        let guardd = Guardd::start(config).unwrap();
        let mut probe = Probe::start(&guardd, RESEARCH);
        assert_eq!(before_and_after(&mut probe, api), (wanted, wanted), "{more} {mode}");
        let fresh = (Options::FRESH, Options::FRESH);
        assert_eq!(before_and_after(&mut probe, protected), fresh, "it is protected");
        // The service `other`.
        let other =
            if more.contains("defaults") || mode == "monitor" { fresh } else { (DEFAULT, DEFAULT) };
        assert_eq!(before_and_after(&mut probe, v6), other, "{more} {mode}");
        drop(probe);
        guardd.finish().unwrap();
    }
}

#[test]
fn an_agents_own_options_stay_if_they_are_stricter() {
    if !requires::cgroups("an_agents_own_options_stay_if_they_are_stricter") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(config(address, "")).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    let strict = Options { keepalive: true, idle: 10, interval: 5, probes: 4, ..Options::FRESH };
    let hasty = Options { user_timeout: 5_000, ..Options::FRESH };
    // As Node sets them.
    let node = Options { keepalive: true, idle: 60, interval: 1, probes: 10, ..Options::FRESH };
    for (own, wanted) in [
        // The user timeout follows the keepalive: a longer one would loosen it.
        (strict, Options { user_timeout: 30_000, ..strict }),
        (hasty, Options { user_timeout: 5_000, ..DEFAULT }),
        (node, DEFAULT),
        (Options { user_timeout: 20_000, ..strict }, Options { user_timeout: 20_000, ..strict }),
    ] {
        // Before connect().
        probe.must(&format!("tcp early {address} {}", json(&own)));
        assert_eq!(options(&mut probe, "early"), wanted, "{own:?}");
        probe.must("http early");
        assert_eq!(options(&mut probe, "early"), wanted, "{own:?}");
        // When the connection stands: looked at with the first answer.
        probe.must(&format!("tcp late {address}"));
        probe.must(&format!("options late {}", json(&own)));
        probe.must("http late");
        assert_eq!(options(&mut probe, "late"), wanted, "{own:?}");
    }
    drop(probe);
    guardd.finish().unwrap();
}

#[test]
fn an_accepted_connection_is_left_alone() {
    if !requires::cgroups("an_accepted_connection_is_left_alone") {
        return;
    }
    let guardd = Guardd::start(config("127.0.0.3:1".parse().unwrap(), "")).unwrap();
    let mut server = Probe::start(&guardd, RESEARCH);
    let at = server.must("listen l 127.0.0.1:0")["local"].as_str().unwrap().to_owned();
    let mut client = Probe::start(&guardd, WRITING);
    client.must(&format!("tcp c {at}"));
    assert_eq!(options(&mut client, "c"), DEFAULT, "who connects is an agent");
    server.must("accept a l");
    for _ in 0..3 {
        client.must("send c 100");
        server.must("read a");
        server.must("send a 100");
        client.must("read c");
    }
    assert_eq!(options(&mut server, "a"), Options::FRESH);
    drop((client, server));
    guardd.finish().unwrap();
}

#[test]
fn a_connection_older_than_guardd_gets_them_too() {
    if !requires::cgroups("a_connection_older_than_guardd_gets_them_too") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = config(address, "hygiene.peer_closed = \"1s\"");
    let mut guardd = Guardd::prepare(config).unwrap();
    let path = guardd.cgroup().child(RESEARCH).unwrap();
    let mut probe = Probe::at(&path);
    probe.must(&format!("tcp old {address}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    probe.must(&format!("tcp idle {}", listener.local_addr().unwrap()));
    guardd.restart().unwrap();
    assert_eq!(options(&mut probe, "old"), Options::FRESH);
    probe.must("http old");
    let came = wait::until("the options", LIMIT, || options(&mut probe, "old") == DEFAULT);
    assert!(came.is_ok(), "{:?}", options(&mut probe, "old"));
    assert_eq!(options(&mut probe, "idle"), Options::FRESH, "not a packet since: unseen");
    drop(probe);
    guardd.stop().unwrap();
    std::fs::remove_dir(&path).unwrap();
}
