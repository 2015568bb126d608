//! Self-healing against the real kernel: a service that comes back, calls that hang, rules that do not
//! help, and rules that may not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "helpers of tests")]

mod bounds;
mod hangs;
mod held;
mod hooks;
mod limits;
mod origin;
mod returns;
mod tries;

use std::time::Duration;

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::cgroup;
use testbed::guardd::Guardd;
use testbed::wait;

pub const LIMIT: Duration = Duration::from_secs(30);

/// All incidents.
pub fn incidents(guardd: &Guardd) -> Vec<Value> {
    let answer = guardd.ctl_json(&["incidents"]).unwrap();
    answer["incidents"].as_array().unwrap().clone()
}

/// Waits until an incident is as it should be.
pub fn incident_when(guardd: &Guardd, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    let waited = wait::until(what, LIMIT, || {
        let all = incidents(guardd);
        let one = all.iter().find(|incident| is_so(incident)).cloned();
        found = one.unwrap_or(Value::Null);
        !found.is_null()
    });
    waited.unwrap_or_else(|error| panic!("{error:#}: {:#?}", incidents(guardd)));
    found
}

pub fn is_closed(incident: &Value) -> bool {
    !incident["closed"].is_null()
}

/// Results of the actions with this name, in order.
pub fn results(incident: &Value, action: &str) -> Vec<String> {
    let lines = incident["timeline"].as_array().unwrap();
    let of = lines.iter().filter(|line| line["kind"] == "action" && line["action"] == action);
    of.map(|line| line["result"].as_str().unwrap().to_owned()).collect()
}

/// An agent in bulkhead `research` that calls all the time.
pub fn caller(guardd: &Guardd, target: &str, more: &[&str]) -> AgentProcess {
    let mut args = vec!["--target", target, "--timeout", "600s"];
    if !more.contains(&"--interval") {
        args.extend(["--interval", "50ms"]);
    }
    args.extend(more);
    AgentProcess::start(&args, |command| cgroup::wrap(&guardd.bulkhead("research"), &command))
        .unwrap()
}
