//! What the suites `observe`, `fault` and `breaker` share: looks at counters, agents and probes in
//! bulkheads, faults. It never waits for a count without saying what it saw instead.
#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]
#![allow(unreachable_pub, reason = "a module of two test binaries, not of a library")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use testbed::agent::{AgentProcess, Record};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};
use testbed::{cgroup, wait};

mod breakers;
mod faults;
mod hog;
mod metered;

pub use breakers::{
    breaker, breaker_config, breaker_when, chain, chain_is, start_breakers, state_when,
};
pub use faults::{Rules, clear, counters, inject, inject_code, untouched};
pub use hog::Hog;
pub use metered::Metered;

/// Longest wait for anything that must come.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The bulkhead that tests aim at.
pub const RESEARCH: &str = "research";
/// The bulkhead that must never notice.
pub const WRITING: &str = "writing";

/// The counters of one (bulkhead, service), from `status --json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Pair {
    pub connections: u64,
    pub connects: u64,
    pub connects_established: u64,
    pub calls: BTreeMap<String, u64>,
    pub calls_injected: BTreeMap<String, u64>,
    pub p50_seconds: Option<f64>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub rtt_seconds: Option<f64>,
    pub retransmits: u64,
    pub faulted: u64,
}

impl Pair {
    /// Calls with this outcome.
    pub fn call(&self, outcome: &str) -> u64 {
        self.calls.get(outcome).copied().unwrap_or(0)
    }

    /// Calls of any outcome.
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// The services with traffic of one bulkhead.
pub fn services(guardd: &Guardd, bulkhead: &str) -> BTreeMap<String, Pair> {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    let found = bulkheads.iter().find(|b| b["name"] == bulkhead).unwrap();
    let services = found["services"].as_array().unwrap().iter();
    services
        .map(|s| (s["name"].as_str().unwrap().to_owned(), Pair::deserialize(s).unwrap()))
        .collect()
}

/// One (bulkhead, service); zeros without traffic.
pub fn pair(guardd: &Guardd, bulkhead: &str, service: &str) -> Pair {
    services(guardd, bulkhead).remove(service).unwrap_or_default()
}

/// Waits until the counters are as wanted (ends are counted a moment after the agent saw them).
pub fn pair_when(
    guardd: &Guardd,
    bulkhead: &str,
    service: &str,
    what: &str,
    wanted: impl Fn(&Pair) -> bool,
) -> Pair {
    let mut last = Pair::default();
    let came = wait::until(what, LIMIT, || {
        last = pair(guardd, bulkhead, service);
        wanted(&last)
    });
    if let Err(error) = came {
        panic!("{error:#}; {bulkhead}/{service} is {last:?}");
    }
    last
}

/// Waits until the calls are exactly these, and no others come in the next moment.
pub fn calls_are(guardd: &Guardd, bulkhead: &str, service: &str, calls: &[(&str, u64)]) -> Pair {
    let wanted: BTreeMap<String, u64> =
        calls.iter().map(|(outcome, n)| ((*outcome).to_owned(), *n)).collect();
    let what = format!("calls {wanted:?}");
    pair_when(guardd, bulkhead, service, &what, |p| p.calls == wanted);
    std::thread::sleep(Duration::from_millis(20));
    let settled = pair(guardd, bulkhead, service);
    assert_eq!(settled.calls, wanted, "{bulkhead}/{service}");
    settled
}

/// A guardd with the bulkheads `research` and `writing`.
pub fn start(services: &[(&str, &[SocketAddr])]) -> Guardd {
    Guardd::start(GuarddConfig::simple(services, &[RESEARCH, WRITING])).unwrap()
}

/// A stepped agent inside a bulkhead, with patience for a busy machine.
pub fn agent(guardd: &Guardd, bulkhead: &str, target: &str, args: &[&str]) -> AgentProcess {
    let path = guardd.bulkhead(bulkhead);
    AgentProcess::stepped(target, args, |command| cgroup::wrap(&path, &command)).unwrap()
}

/// Makes calls one after the other; each must succeed.
pub fn good_calls(agent: &mut AgentProcess, count: u32) -> Vec<Record> {
    (0..count)
        .map(|_| {
            let record = agent.call(LIMIT).unwrap();
            assert!(record.is_ok(), "{record:?}");
            record
        })
        .collect()
}

/// Events of a kind, oldest first.
pub fn events(guardd: &Guardd, kind: &str) -> Vec<Value> {
    let answer = guardd.ctl_json(&["events", "--kind", kind]).unwrap();
    answer["events"].as_array().unwrap().clone()
}

/// Waits for events of a kind and returns them.
pub fn events_when(guardd: &Guardd, kind: &str, count: usize) -> Vec<Value> {
    let mut last = Vec::new();
    let came = wait::until("events", LIMIT, || {
        last = events(guardd, kind);
        last.len() >= count
    });
    assert!(came.is_ok(), "{count} events {kind} were to come: {last:?}");
    last
}

/// Hanging calls, longest first.
pub fn waits(guardd: &Guardd) -> Vec<Value> {
    let answer = guardd.ctl_json(&["waits"]).unwrap();
    assert_eq!(answer["problems"], serde_json::json!([]), "{answer}");
    answer["waits"].as_array().unwrap().clone()
}

/// A metric's sum over the series with these labels; 0 if there is none.
pub fn metric(guardd: &Guardd, name: &str, labels: &[&str]) -> f64 {
    guardd.metric(name, labels).unwrap().unwrap_or(0.0)
}

/// `http://ADDRESS/`.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

/// A `testbed-probe` inside a bulkhead.
pub struct Probe(Process);

impl Probe {
    pub fn start(guardd: &Guardd, bulkhead: &str) -> Self {
        Self::at(&guardd.bulkhead(bulkhead))
    }

    /// In a cgroup, guarded or not yet.
    pub fn at(path: &Path) -> Self {
        Self::within(path, |command| command)
    }

    /// In a cgroup, and in whatever `wrap` puts the command into.
    pub fn within(path: &Path, wrap: impl FnOnce(Command) -> Command) -> Self {
        let command = wrap(Command::new(binary("testbed-probe").unwrap()));
        Self(Process::spawn(&mut cgroup::wrap(path, &command)).unwrap())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// The reply to a command, failures included (`error` is then the errno's name).
    pub fn ask(&mut self, command: &str) -> Value {
        self.0.send_line(command).unwrap();
        let line = self.0.next_line(LIMIT).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{command}: {line}: {e}"))
    }

    /// The reply to a command that must succeed.
    pub fn must(&mut self, command: &str) -> Value {
        let reply = self.ask(command);
        assert_eq!(reply["error"], Value::Null, "{command}: {reply}");
        reply
    }

    /// A new datagram socket; its address.
    pub fn udp(&mut self, name: &str, at: &str) -> SocketAddr {
        self.must(&format!("udp {name} {at}"))["local"].as_str().unwrap().parse().unwrap()
    }

    /// Numbers of the datagrams that have come, in order.
    pub fn drain(&mut self, name: &str, count: usize, quiet_ms: u32) -> Vec<u32> {
        let reply = self.must(&format!("drain {name} {count} {quiet_ms}"));
        Vec::deserialize(&reply["numbers"]).unwrap()
    }
}
