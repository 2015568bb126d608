//! Breakers as tests see them: through guardctl, its events and `/metrics`.

use std::net::SocketAddr;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::wait;

use super::{LIMIT, RESEARCH, WRITING, events};

/// A guardd with the service `api` (`service` = more of its keys), breakers with these settings,
/// and the two bulkheads (`research` = more keys of the first).
pub fn start_breakers(address: SocketAddr, service: &str, breaker: &str, research: &str) -> Guardd {
    Guardd::start(breaker_config(address, service, breaker, research)).unwrap()
}

/// The configuration of [`start_breakers`].
pub fn breaker_config(
    address: SocketAddr,
    service: &str,
    breaker: &str,
    research: &str,
) -> GuarddConfig {
    GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n{service}\n[defaults.breaker]\n{breaker}\n\
         [bulkheads.{RESEARCH}]\n{research}\n[bulkheads.{WRITING}]\n"
    ))
}

/// The breaker of a bulkhead for `api`, as `breaker list` shows it.
pub fn breaker(guardd: &Guardd, bulkhead: &str) -> Value {
    let answer = guardd.ctl_json(&["breaker", "list"]).unwrap();
    let all = answer["breakers"].as_array().unwrap();
    all.iter().find(|b| b["bulkhead"] == bulkhead && b["service"] == "api").unwrap().clone()
}

/// Waits until a breaker is as wanted.
pub fn breaker_when(
    guardd: &Guardd,
    bulkhead: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let came = wait::until(what, LIMIT, || {
        last = breaker(guardd, bulkhead);
        wanted(&last)
    });
    assert!(came.is_ok(), "{bulkhead}: {what}: {last}");
    last
}

/// Waits until a breaker is in this state.
pub fn state_when(guardd: &Guardd, bulkhead: &str, state: &str) -> Value {
    breaker_when(guardd, bulkhead, state, |breaker| breaker["state"] == state)
}

/// The states that a breaker went to, as its events tell. Fails unless they are one unbroken chain:
/// each begins where the one before ended, and the generation goes up by one.
pub fn chain(guardd: &Guardd, bulkhead: &str) -> Vec<String> {
    let told = events(guardd, "breaker");
    let own = told.iter().filter(|event| event["bulkhead"] == bulkhead);
    let messages: Vec<&str> = own.map(|event| event["message"].as_str().unwrap()).collect();
    let mut state = "closed".to_owned();
    let mut all = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let (from, rest) = message.split_once(" -> ").unwrap();
        let (to, rest) = rest.split_once(": ").unwrap();
        assert_eq!(from, state, "{messages:?}");
        // The first generation of a breaker is 1: it took the place of one that nobody used.
        assert!(rest.ends_with(&format!("(generation {})", number + 2)), "{messages:?}");
        to.clone_into(&mut state);
        all.push(to.to_owned());
    }
    all
}

/// Waits for the chain's last link and checks all of it.
pub fn chain_is(guardd: &Guardd, bulkhead: &str, path: &[&str]) {
    let mut last = Vec::new();
    let came = wait::until("the transitions", LIMIT, || {
        last = chain(guardd, bulkhead);
        last.len() >= path.len()
    });
    assert!(came.is_ok() && last == path, "{bulkhead} went {last:?}, not {path:?}");
}
