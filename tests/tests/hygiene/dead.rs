//! Connections whose peer, or the way to it, is gone without a word.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::process::binary;
use testbed::server::{Behaviour, ServerProcess};
use testbed::{requires, wait};

use crate::rig::{LIMIT, Probe, RESEARCH, breaker, events, metric, pair_when};
use crate::stale;

/// Dead after 3 s without a word.
const HYGIENE: &str = "keepalive = \"1s\", keepalive_interval = \"1s\", keepalive_probes = 2, \
                       user_timeout = \"3s\"";
/// More than the kernel needs for that.
const SOON: Duration = Duration::from_secs(8);

struct Scene {
    network: Network,
    server: ServerProcess,
    guardd: Guardd,
}

fn scene(test: &str, hygiene: &str) -> Option<Scene> {
    if !requires::cgroups(test)
        || !requires::program(test, "ip")
        || !requires::program(test, "nsenter")
    {
        return None;
    }
    let network = match Network::new() {
        Ok(network) => network,
        Err(error) => {
            requires::skip(test, &format!("no namespaces here: {error:#}"));
            return None;
        }
    };
    let at = SocketAddr::from((Network::SERVER, 0));
    let server = ServerProcess::start(&[at], &[], |command| network.server.wrap(&command)).unwrap();
    let guardd = Guardd::start(config(server.address().unwrap(), hygiene)).unwrap();
    Some(Scene { network, server, guardd })
}

fn config(api: SocketAddr, hygiene: &str) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{api}\"]\nhygiene = {{ {hygiene} }}\n\
         [defaults.breaker]\nfailure_threshold = 1\n[bulkheads.{RESEARCH}]\n"
    ))
}

impl Scene {
    fn probe(&self) -> Probe {
        Probe::within(&self.guardd.bulkhead(RESEARCH), |command| self.network.client.wrap(&command))
    }
}

#[test]
fn a_way_that_is_lost_is_found_out() {
    let Some(scene) = scene("dead::a_way_that_is_lost_is_found_out", HYGIENE) else { return };
    let api = scene.server.address().unwrap();
    let guardd = &scene.guardd;
    let mut probe = scene.probe();
    for name in ["idle", "busy"] {
        probe.must(&format!("tcp {name} {api}"));
        probe.must(&format!("http {name}"));
    }
    scene.network.set_up(false).unwrap();
    // The request of a pooled connection goes into the void.
    let begin = Instant::now();
    assert_eq!(probe.ask("http busy")["error"], "ETIMEDOUT");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let came = wait::until("both", LIMIT, || {
        stale(guardd, "keepalive") + stale(guardd, "unacknowledged") == 2.0
    });
    assert!(came.is_ok(), "{}", guardd.ctl(&["events"]).unwrap().stdout);
    assert_eq!((stale(guardd, "keepalive"), stale(guardd, "unacknowledged")), (1.0, 1.0));
    let seen = pair_when(guardd, RESEARCH, "api", "the call", |p| p.all_calls() == 3);
    assert_eq!((seen.call("success"), seen.call("stale_connection")), (2, 1), "{seen:?}");
    assert_eq!(breaker(guardd, RESEARCH)["state"], "closed");
    let told = events(guardd, "stale_connection");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["outcome"], "stale_connection", "{told:?}");
    // The next call connects anew, and the way is back.
    scene.network.set_up(true).unwrap();
    wait::until("a new connection", LIMIT, || {
        let reply = probe.ask(&format!("tcp new {api}"));
        reply["error"].is_null()
    })
    .unwrap();
    probe.must("http new");
    drop(probe);
    let Scene { guardd, .. } = scene;
    guardd.finish().unwrap();
}

#[test]
fn without_hygiene_nobody_finds_out() {
    let Some(scene) = scene("dead::without_hygiene_nobody_finds_out", "mode = \"off\"") else {
        return;
    };
    let api = scene.server.address().unwrap();
    let mut probe = scene.probe();
    probe.must(&format!("tcp c {api}"));
    probe.must("http c");
    scene.network.set_up(false).unwrap();
    // The probe's own patience of 10 s ends first.
    assert_eq!(probe.ask("http c")["error"], "timeout");
    assert_eq!(stale(&scene.guardd, "unacknowledged"), 0.0);
    drop(probe);
    let Scene { guardd, .. } = scene;
    guardd.finish().unwrap();
}

/// Says to the run inside the client's namespace which one the server's is.
const INSIDE: &str = "GUARD_TEST_SERVER";

/// guardd follows the links of the network namespace that it is in: this test runs once more in one.
#[test]
fn idle_connections_go_with_their_link() {
    let test = "dead::idle_connections_go_with_their_link";
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let Some(scene) = scene(test, HYGIENE) else { return };
    let api = scene.server.address().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test]);
    let server = format!("{} {api}", scene.network.server.name());
    again.env(INSIDE, server).env("GUARD_BIN_DIR", binary("guardd").unwrap().parent().unwrap());
    // Its words would be taken for those of this run.
    let inner = scene.network.client.wrap(&again).output().unwrap();
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success(), "inside the namespace: {said}");
    assert!(said.contains("1 passed"), "nothing ran inside the namespace: {said}");
    let Scene { guardd, .. } = scene;
    guardd.finish().unwrap();
}

fn inside() {
    let text = std::env::var(INSIDE).unwrap();
    let (server, api) = text.split_once(' ').unwrap();
    // Hours of patience: nothing but the sweep ends them.
    let patient = "keepalive = \"2h\", user_timeout = \"3h\"";
    let guardd = Guardd::start(config(api.parse().unwrap(), patient)).unwrap();
    let mut probe = Probe::start(&guardd, RESEARCH);
    probe.must(&format!("tcp pooled {api}"));
    probe.must("http pooled");
    probe.must("listen l 127.0.0.1:0");
    let local = probe.must("listen l 127.0.0.1:0")["local"].as_str().unwrap().to_owned();
    probe.must(&format!("tcp here {local}"));
    let link = |state| {
        let ip = ["-n", server, "link", "set", "wire", state];
        assert!(Command::new("ip").args(ip).status().unwrap().success());
    };
    // A short flap is no loss.
    link("down");
    std::thread::sleep(Duration::from_millis(500));
    link("up");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(stale(&guardd, "link_change"), 0.0, "it flapped");
    probe.must("http pooled");
    link("down");
    let came = wait::until("the sweep", LIMIT, || stale(&guardd, "link_change") == 1.0);
    assert!(came.is_ok(), "{}", guardd.ctl(&["events"]).unwrap().stdout);
    assert_eq!(probe.ask("send pooled 10")["error"], "ECONNABORTED");
    probe.must("send here 10");
    assert_eq!(metric(&guardd, "guard_stale_connections_total", &[r#"cause="link_change""#]), 1.0);
    drop(probe);
    guardd.finish().unwrap();
}

/// An agent with less patience than the kernel: nobody had its request, so it was the connection
/// that was dead, and the service is not blamed. Where the service is gone, the next connect says so.
#[test]
fn a_dead_connection_that_the_agent_gives_up_first_does_not_blame_the_service() {
    let test = "dead::a_dead_connection_that_the_agent_gives_up_first_does_not_blame_the_service";
    let Some(mut scene) = scene(test, "keepalive = \"2h\", user_timeout = \"3h\"") else { return };
    let api = scene.server.address().unwrap();
    let guardd = &scene.guardd;
    let mut probe = scene.probe();
    for name in ["pooled", "slow", "fresh"] {
        probe.must(&format!("tcp {name} {api}"));
    }
    probe.must("http pooled");
    probe.must("http slow");

    // The way is well and the server has the request: silence, and the service's failure.
    scene.server.set(&Behaviour::Hang).unwrap();
    assert_eq!(probe.ask("http slow")["error"], "timeout");
    probe.must("close slow");
    let seen = pair_when(guardd, RESEARCH, "api", "silence", |p| p.all_calls() == 3);
    assert_eq!(seen.call("response_timeout"), 1, "{seen:?}");
    assert_eq!(breaker(guardd, RESEARCH)["state"], "open");
    assert_eq!(guardd.ctl(&["breaker", "reset", "research/api"]).unwrap().code, 0);

    // The way is lost: the probe's patience of 10 s ends before the kernel's.
    scene.network.set_up(false).unwrap();
    assert_eq!(probe.ask("http pooled")["error"], "timeout");
    probe.must("close pooled");
    let seen = pair_when(guardd, RESEARCH, "api", "the dead one", |p| p.all_calls() == 4);
    assert_eq!(seen.call("stale_connection"), 1, "{seen:?}");
    assert_eq!(stale(guardd, "unacknowledged"), 1.0);
    assert_eq!(breaker(guardd, RESEARCH)["state"], "closed");

    // On a connection that never served, nothing says that the service was ever there: it counts (for
    // the breaker's generation in which it was made, which is over).
    assert_eq!(probe.ask("http fresh")["error"], "timeout");
    probe.must("close fresh");
    let seen = pair_when(guardd, RESEARCH, "api", "the fresh one", |p| p.all_calls() == 5);
    assert_eq!(seen.call("response_timeout"), 2, "{seen:?}");
    drop(probe);
    let Scene { guardd, .. } = scene;
    guardd.finish().unwrap();
}
