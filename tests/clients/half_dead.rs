//! The half-dead pooled connection with clients that people use: a NAT forgets the connection while
//! it is idle, or the server closes it, or the client's link goes. How long until the agent's next call
//! is answered, with guard's default settings, and without guard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::server::ServerProcess;
use testbed::{cgroup, requires, wait};

use super::client::Client;
use super::{BULKHEAD, LIMIT};

const CLIENTS: [(&str, &str); 2] = [("python", "httpx-patient"), ("node", "fetch-pooled")];
/// With default settings the worst case is one TCP_USER_TIMEOUT of 50 s, and one more call: what is
/// promised leaves room for a slow host.
const HEALED: Duration = Duration::from_mins(1);
/// How long the clients without guard are watched; Linux itself gives up after about 15 minutes.
const WATCHED: Duration = Duration::from_secs(90);

/// Local ports of a process's connections to a port, as its namespace lists them.
fn ports(pid: u32, server: SocketAddr) -> Vec<u16> {
    const ESTABLISHED: &str = "01";
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let port = |field: &str| u16::from_str_radix(field.split(':').nth(1)?, 16).ok();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields[3] == ESTABLISHED && port(fields[2]) == Some(server.port()))
                .then(|| port(fields[1]))?
        })
        .collect()
}

/// A way that has forgotten the connections with these ports: nothing passes either way, without a
/// word, and new connections work.
fn forget(network: &Network, ports: &[u16]) {
    for port in ports {
        let port = port.to_string();
        for (chain, side) in [("INPUT", "--sport"), ("OUTPUT", "--dport")] {
            let rule = ["iptables", "-w", "-A", chain, "-p", "tcp", side, &port, "-j", "DROP"];
            network.server.run(&rule).unwrap();
        }
    }
}

struct Scene {
    network: Network,
    server: ServerProcess,
    guardd: Guardd,
}

fn scene(test: &str) -> Option<Scene> {
    if !requires::cgroups(test) || !requires::program(test, "iptables") {
        return None;
    }
    let network = Network::new().unwrap();
    let at = SocketAddr::from((Network::SERVER, 0));
    let server = ServerProcess::start(&[at], &[], |command| network.server.wrap(&command)).unwrap();
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{}\"]\n[defaults.breaker]\nfailure_threshold = 1\n\
         [bulkheads.{BULKHEAD}]\n",
        server.address().unwrap()
    )))
    .unwrap();
    Some(Scene { network, server, guardd })
}

impl Scene {
    /// The clients, each with a pooled connection that has served two calls; guarded or not.
    fn clients(&self, guarded: bool) -> Vec<Client> {
        let path = self.guardd.bulkhead(BULKHEAD);
        let url = format!("http://{}/", self.server.address().unwrap());
        let start = |(program, kind): (&str, &str)| {
            let wrap = |command| {
                let inside = self.network.client.wrap(&command);
                if guarded { cgroup::wrap(&path, &inside) } else { inside }
            };
            let mut client = Client::start_in(program, kind, &url, 0, wrap);
            client.good();
            client.good();
            client
        };
        CLIENTS.into_iter().map(start).collect()
    }

    fn ports(&self, clients: &[Client]) -> Vec<u16> {
        ports(clients[0].pid(), self.server.address().unwrap())
    }

    fn finish(self, wanted: &[(&str, f64)]) {
        for (cause, count) in wanted {
            let labels = [&*format!("cause=\"{cause}\"")];
            let found = self.guardd.metric("guard_stale_connections_total", &labels).unwrap();
            assert_eq!(found, Some(*count), "{cause}");
        }
        let list = self.guardd.ctl_json(&["breaker", "list"]).unwrap();
        assert_eq!(list["breakers"][0]["state"], "closed", "{list}");
        self.guardd.finish().unwrap();
    }
}

/// Calls until one is answered; how long that took.
fn until_answered(client: &mut Client, begin: Instant) -> (Duration, String) {
    let mut error = String::new();
    let mut answer = client.end_within(HEALED + LIMIT).unwrap();
    while !answer.ok {
        error = answer.error;
        assert!(begin.elapsed() < HEALED + LIMIT, "{client}: {error}");
        answer = client.call();
    }
    (begin.elapsed(), error)
}

#[test]
fn half_dead_when_the_call_comes() {
    let Some(scene) = scene("half_dead_when_the_call_comes") else { return };
    let (mut guarded, mut bare) = (scene.clients(true), scene.clients(false));
    let ports = scene.ports(&guarded);
    assert_eq!(ports.len(), 2 * CLIENTS.len(), "one connection each: {ports:?}");
    forget(&scene.network, &ports);
    let begin = Instant::now();
    for client in guarded.iter_mut().chain(&mut bare) {
        client.begin();
    }
    // One `httpx`, one Node: side by side, and both are bounded by the same timeout.
    for client in &mut guarded {
        let (took, error) = until_answered(client, begin);
        println!("{client}: guarded, answered after {:.1} s ({error})", took.as_secs_f64());
        assert!(took < HEALED, "{client}: {took:?}");
    }
    for client in &mut bare {
        let rest = WATCHED.saturating_sub(begin.elapsed());
        let answer = client.end_within(rest);
        println!(
            "{client}: without guard, after {:.0} s: {answer:?}",
            begin.elapsed().as_secs_f64()
        );
        assert!(answer.is_none(), "{client}: {answer:?}");
    }
    drop((guarded, bare));
    scene.finish(&[("unacknowledged", CLIENTS.len() as f64)]);
}

#[test]
fn half_dead_for_a_while_when_the_call_comes() {
    let Some(scene) = scene("half_dead_for_a_while_when_the_call_comes") else { return };
    let mut clients = scene.clients(true);
    forget(&scene.network, &scene.ports(&clients));
    let begin = Instant::now();
    let stale = || {
        let labels = [r#"cause="keepalive""#];
        scene.guardd.metric("guard_stale_connections_total", &labels).unwrap() == Some(2.0)
    };
    wait::until("both to be found dead", HEALED + LIMIT, stale).unwrap();
    println!("found dead after {:.1} s", begin.elapsed().as_secs_f64());
    assert!(begin.elapsed() < HEALED, "{:?}", begin.elapsed());
    for client in &mut clients {
        let start = Instant::now();
        client.begin();
        let (took, error) = until_answered(client, start);
        println!("{client}: answered after {:.0} ms ({error})", took.as_secs_f64() * 1e3);
        assert!(took < Duration::from_secs(5), "{client}: {took:?}");
    }
    drop(clients);
    scene.finish(&[("keepalive", CLIENTS.len() as f64)]);
}

#[test]
fn closed_by_the_server_while_idle() {
    let Some(mut scene) = scene("closed_by_the_server_while_idle") else { return };
    let mut clients = scene.clients(true);
    scene.server.close_all().unwrap();
    // And whatever the server's host would say to a late request is lost.
    forget(&scene.network, &scene.ports(&clients));
    for client in &mut clients {
        let start = Instant::now();
        client.begin();
        let (took, error) = until_answered(client, start);
        println!("{client}: answered after {:.0} ms ({error})", took.as_secs_f64() * 1e3);
        assert!(took < Duration::from_secs(5), "{client}: {took:?}");
    }
    drop(clients);
    scene.finish(&[]);
}
