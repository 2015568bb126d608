//! Faults in tests: how they are asked for, what they did, and that nothing stays of them.

use std::process::Command;

use serde_json::Value;
use testbed::guardd::{Ctl, Guardd};
use testbed::wait;

use super::{LIMIT, services};

/// `fault inject --bulkhead B … WORDS`; the fault's record.
pub fn inject(guardd: &Guardd, bulkhead: &str, words: &str) -> Value {
    guardd.ctl_json(&arguments(bulkhead, words)).unwrap()
}

/// The same, whatever its exit code.
pub fn inject_code(guardd: &Guardd, bulkhead: &str, words: &str) -> Ctl {
    guardd.ctl(&arguments(bulkhead, words)).unwrap()
}

fn arguments<'a>(bulkhead: &'a str, words: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["fault", "inject", "--bulkhead", bulkhead];
    arguments.extend(words.split_whitespace());
    arguments
}

/// Ends a fault and returns its record.
pub fn clear(guardd: &Guardd, fault: &Value) -> Value {
    let answer = guardd.ctl_json(&["fault", "clear", &fault["id"].to_string()]).unwrap();
    answer["faults"][0].clone()
}

/// A fault as `fault list` shows it now.
pub fn listed(guardd: &Guardd, id: &Value) -> Value {
    let answer = guardd.ctl_json(&["fault", "list"]).unwrap();
    let faults = answer["faults"].as_array().unwrap();
    faults.iter().find(|fault| fault["id"] == *id).unwrap().clone()
}

/// One counter of a fault as `fault list` shows it, active or ended.
pub fn counters(guardd: &Guardd, fault: &Value, counter: &str) -> u64 {
    listed(guardd, &fault["id"])["counters"][counter].as_u64().unwrap()
}

/// Asserts that no fault has ever touched anything of a bulkhead.
pub fn untouched(guardd: &Guardd, bulkhead: &str) {
    for (service, pair) in services(guardd, bulkhead) {
        assert_eq!(pair.faulted, 0, "{bulkhead}/{service}: {pair:?}");
        assert!(pair.calls_injected.is_empty(), "{bulkhead}/{service}: {pair:?}");
    }
    let label = format!("bulkhead=\"{bulkhead}\"");
    assert_eq!(super::metric(guardd, "guard_faulted_total", &[&label]), 0.0);
    let injected = [label.as_str(), "origin=\"injected\""];
    assert_eq!(super::metric(guardd, "guard_calls_total", &injected), 0.0);
}

/// The netfilter rules of one guardd's faults. Other guardds of the host have theirs.
pub struct Rules {
    unique: String,
}

impl Rules {
    pub fn of(guardd: &Guardd) -> Self {
        let name = guardd.cgroup().path().file_name().unwrap();
        Self { unique: name.to_string_lossy().into_owned() }
    }

    /// Names of the chains that this guardd's bulkheads are sent to, with their program.
    pub fn chains(&self) -> Vec<String> {
        let mut chains = Vec::new();
        for program in ["iptables-save", "ip6tables-save"] {
            let rules = saved(program);
            let ours = rules.lines().filter(|line| line.contains(&self.unique));
            let target = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
            chains.extend(ours.map(|line| format!("{program} {}", target(line))));
        }
        chains
    }

    /// Asserts that nothing is left, neither jumps nor the chains they went to.
    pub fn gone(&self, chains: &[String]) {
        assert_eq!(self.chains(), [""; 0]);
        for chain in chains {
            let (program, name) = chain.split_once(' ').unwrap();
            let mut rules = String::new();
            let gone = wait::until("a chain to be gone", LIMIT, || {
                rules = saved(program);
                let exists = rules.lines().any(|line| line.starts_with(&format!(":{name} ")));
                // Another guardd of the host may have been given the queue number meanwhile, and
                // may just be making or removing its rules.
                let of_another = rules.lines().any(|line| line.ends_with(&format!("-j {name}")));
                !exists || of_another
            });
            assert!(gone.is_ok(), "{chain} is left:\n{rules}");
        }
    }
}

fn saved(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
