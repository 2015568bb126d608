//! Where a shipped drill plays: a guardd with the services and bulkheads of the shipped
//! configuration, a server for each service, and agents at work in both bulkheads. Loopback only.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::binary;
use testbed::server::{Behaviour, Server};
use testbed::{cgroup, requires};
use toml::Table;

use super::agents;
use super::shorten::{Shipped, shorten, targets};
use crate::rig::{RESEARCH, Rules, WRITING, pair_when, untouched, url};

/// Breakers that come back in the time of a test. `abandoned_after` is how long an agent must have
/// waited before its giving up counts against the service.
pub const BREAKERS: &str = "[defaults.breaker]\nopen_timeout = \"300ms\"\n\
                            max_open_timeout = \"600ms\"\nabandoned_after = \"500ms\"\n";

/// Who is called, and who calls, in one drill.
pub struct Row {
    pub drill: Shipped,
    /// The agent in `research` that calls a service of the faults, by its URL.
    pub agent: fn(&str) -> Command,
    /// How the servers answer.
    pub server: &'static str,
    /// `[defaults.breaker]`.
    pub breakers: &'static str,
    /// Instead of the file's `after`, where nothing will be well again.
    pub after: Option<&'static str>,
    /// What the drill must say, and the exit code.
    pub verdict: (&'static str, i32),
}

/// A drill that an agent passes.
pub const fn held(drill: Shipped, agent: fn(&str) -> Command) -> Row {
    Row { drill, agent, server: "answer", breakers: BREAKERS, after: None, verdict: ("held", 0) }
}

/// Runs these drills beside each other, each with a guardd of its own.
pub fn play(test: &str, rows: &[Row]) {
    if !requires::cgroups(test) {
        return;
    }
    std::thread::scope(|scope| {
        for row in rows {
            scope.spawn(|| play_one(row));
        }
    });
}

fn play_one(row: &Row) {
    let drill: Table = row.drill.text.parse().unwrap();
    let stage = Stage::new(row, &drill);
    let (record, code) = stage.run(&shorten(drill, row.after));
    let said = (record["verdict"].as_str().unwrap(), code);
    assert_eq!(said, row.verdict, "{}: {}", row.drill.name, why(&record));
    assert_eq!(record["cleanup"]["complete"], true, "{}: {record:#}", row.drill.name);
    assert_eq!(record["collateral"][0]["touched"], 0, "{}: {record:#}", row.drill.name);
    stage.end();
}

/// What a record says of its verdict, for whoever reads a failed test.
fn why(record: &Value) -> String {
    let of = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    let missed = of("checks").into_iter().filter(|check| check["met"] != true);
    let unproven = of("proof").into_iter().filter(|proof| proof["met"] != true);
    let found: Vec<String> = missed.chain(unproven).map(|value| format!("{value:#}")).collect();
    format!("{} {}\n{}", record["status"], record["why"], found.join("\n"))
}

struct Stage {
    // Dropped in this order.
    agents: Vec<AgentProcess>,
    guardd: Guardd,
    _servers: Vec<Server>,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new(row: &Row, drill: &Table) -> Self {
        // One after the other: a port that is free now must not be given to another guardd too.
        static STARTS: Mutex<()> = Mutex::new(());
        let _one = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
        let behaviour: Behaviour = row.server.parse().unwrap();
        let (mut servers, mut addresses) = (Vec::new(), Vec::new());
        let services = services();
        for _ in &services {
            let server = Server::start_with(&[([127, 0, 0, 1], 0).into()], &[], behaviour.clone());
            let server = server.unwrap();
            addresses.push(server.address().unwrap());
            servers.push(server);
        }
        let named: Vec<_> = services.iter().zip(addresses).map(|((n, c), a)| (n, c, a)).collect();
        let guardd = Guardd::start(config(&named, row.breakers)).unwrap();
        let address = |name: &str| named.iter().find(|(n, _, _)| *n == name).unwrap().2;
        let mut called: Vec<String> = targets(drill).into_iter().flatten().collect();
        called.sort();
        called.dedup();
        let names = called.is_empty().then(name_server);
        let names_url = names.as_ref().map(|server| format!("udp://{}", server.udp_addresses()[0]));
        servers.extend(names);
        let mut stage = Self {
            agents: Vec::new(),
            guardd,
            _servers: servers,
            directory: tempfile::tempdir().unwrap(),
        };
        for service in &called {
            stage.agent(RESEARCH, service, &(row.agent)(&url(address(service))));
        }
        // What both bulkheads do besides, whatever becomes of that.
        let other =
            if called.iter().any(|name| name == "anthropic") { "github" } else { "anthropic" };
        stage.agent(RESEARCH, other, &agents::patient(&url(address(other))));
        let shared = called.first().map_or(other, String::as_str);
        stage.agent(WRITING, shared, &agents::patient(&url(address(shared))));
        if let Some(url) = names_url {
            stage.start(RESEARCH, &(row.agent)(&url));
        }
        stage
    }

    /// Starts an agent, and waits until it is at work.
    fn agent(&mut self, bulkhead: &str, service: &str, command: &Command) {
        self.start(bulkhead, command);
        pair_when(&self.guardd, bulkhead, service, "the agent at work", |p| p.call("success") > 2);
    }

    fn start(&mut self, bulkhead: &str, command: &Command) {
        let path = self.guardd.bulkhead(bulkhead);
        let wrap = |_| cgroup::wrap(&path, command);
        self.agents.push(AgentProcess::start(&[], wrap).unwrap());
    }

    /// `drill run --json`: the record and the exit code. Its commands find guardctl and guardd.
    fn run(&self, text: &str) -> (Value, i32) {
        let file = self.directory.path().join("drill.toml");
        std::fs::write(&file, text).unwrap();
        let guardctl = binary("guardctl").unwrap();
        let mut path = guardctl.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(guardctl);
        command.args(["--json", "drill", "run"]).arg(&file);
        command.env("GUARD_SOCKET", self.guardd.socket()).env("PATH", path);
        let output = command.output().unwrap();
        let record = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr))
        });
        (record, output.status.code().unwrap())
    }

    /// Nothing is left, and the other bulkhead was never touched.
    fn end(mut self) {
        let status = self.guardd.ctl_json(&["status"]).unwrap();
        assert_eq!(status["faults"], serde_json::json!([]));
        assert_eq!(Rules::of(&self.guardd).chains(), [""; 0]);
        untouched(&self.guardd, WRITING);
        self.agents.clear();
        // Children that a careless agent left.
        std::fs::write(self.guardd.bulkhead(RESEARCH).join("cgroup.kill"), "1").unwrap();
        self.guardd.finish().unwrap();
    }
}

/// Sends back what is asked, on port 53 of a loopback address of its own.
fn name_server() -> Server {
    static NUMBER: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = [127, 53 + NUMBER.fetch_add(1, Ordering::Relaxed), high, low];
    Server::start_with(&[], &[(address, 53).into()], Behaviour::Echo).unwrap()
}

/// Services of the shipped configuration, with their class.
fn services() -> Vec<(String, String)> {
    let shipped = include_str!("../../../../configs/guard.toml");
    let shipped: Table = shipped.parse().unwrap();
    let services = shipped["services"].as_table().unwrap().iter();
    services.map(|(name, s)| (name.clone(), s["class"].as_str().unwrap().to_owned())).collect()
}

fn config(services: &[(&String, &String, SocketAddr)], breakers: &str) -> GuarddConfig {
    let service = |(name, class, address): &(&String, &String, SocketAddr)| {
        format!("[services.{name}]\nendpoints = [\"{address}\"]\nclass = \"{class}\"\n")
    };
    let bulkhead = |name: &str| format!("[bulkheads.{name}]\ncgroup = \"{name}\"\n");
    let services: String = services.iter().map(service).collect();
    let body = services + &bulkhead(RESEARCH) + &bulkhead(WRITING) + breakers;
    // Several guardds share a test's processors, and what a late one does is not the matter here.
    GuarddConfig::new(body).daemon("fault_lease", "\"10s\"")
}
