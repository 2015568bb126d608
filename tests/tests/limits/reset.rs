//! The recovery action `reset_limits`: what was used up may be used again, and no breaker is closed by it.

use std::time::Duration;

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;
use testbed::server::{Behaviour, Server};

use super::limit;
use super::rig::{LIMIT, RESEARCH, WRITING, agent, breaker, breaker_config, state_when, url};

/// The rule is never fired by itself: nobody calls often enough.
const RULE: &str = "[defaults.recovery]\ndefault_rule = \"off\"\n[[recovery]]\nname = \"again\"\n\
    when = { bulkhead = \"research\", service = \"api\", min_calls = 1000 }\n\
    verify = { within = \"1s\" }\nmax_per_hour = 100\n";

fn with_rule(mut config: GuarddConfig, step: &str) -> Guardd {
    config.append(&format!("{RULE}steps = [ {{ reset_limits = {step} }} ]\n"));
    Guardd::start(config).unwrap()
}

/// Runs the rule by hand; what its step says.
fn reset(guardd: &Guardd) -> String {
    let answer = guardd.ctl_json(&["recover", "again"]).unwrap();
    assert_eq!(answer["steps"][0]["result"], "done", "{answer:#}");
    answer["steps"][0]["message"].as_str().unwrap().to_owned()
}

fn outcomes(caller: &mut AgentProcess, calls: usize) -> Vec<String> {
    (0..calls).map(|_| caller.call(LIMIT).unwrap().outcome).collect()
}

#[test]
fn retries_that_are_used_up_may_be_made_again_at_once() {
    if !requires::cgroups("retries_that_are_used_up_may_be_made_again_at_once") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let limits = "retries = { max = 2, window = \"10m\" }";
    let config = breaker_config(address, "", "mode = \"off\"", limits);
    let guardd = with_rule(config, "{}");
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    server.set(Behaviour::ResetAfterRequest);
    let [again, refused] = ["ECONNRESET", "ECONNREFUSED"];
    assert_eq!(outcomes(&mut caller, 5), [again, again, again, refused, refused]);
    let said = reset(&guardd);
    assert!(said.contains("2 retries"), "{said}");
    assert_eq!(limit(&guardd, RESEARCH, Some("api"))["retries"], 0);
    // The limit holds as before, from 0 on.
    assert_eq!(outcomes(&mut caller, 3), [again, again, refused]);
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn a_closed_breaker_forgets_and_an_open_one_stays_open() {
    if !requires::cgroups("a_closed_breaker_forgets_and_an_open_one_stays_open") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let settings =
        "failure_threshold = 4\nsuccess_rate_below = 0.1\nwindow = \"10m\"\nmin_calls = 100";
    let guardd = with_rule(breaker_config(address, "", settings, ""), "{}");
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    server.set(Behaviour::ResetAfterRequest);
    outcomes(&mut caller, 3);
    let counts =
        |breaker: &Value| (breaker["failures"].as_u64(), breaker["window"]["calls"].as_u64());
    assert_eq!(counts(&breaker(&guardd, RESEARCH)), (Some(3), Some(3)));
    let said = reset(&guardd);
    assert!(said.contains("3 failures in a row, 3 calls in the breaker's window"), "{said}");
    assert_eq!(counts(&breaker(&guardd, RESEARCH)), (Some(0), Some(0)));
    // Four more trip it, not one.
    outcomes(&mut caller, 3);
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    outcomes(&mut caller, 1);
    let open = state_when(&guardd, RESEARCH, "open");
    reset(&guardd);
    let after = breaker(&guardd, RESEARCH);
    assert_eq!((&after["state"], &after["generation"]), (&open["state"], &open["generation"]));
    assert!(after["remaining_seconds"].as_f64().unwrap() > 40.0, "{after}");
    assert_eq!(outcomes(&mut caller, 1), ["ECONNREFUSED"]);
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn a_budget_is_released_only_where_the_step_says_so() {
    if !requires::cgroups("a_budget_is_released_only_where_the_step_says_so") {
        return;
    }
    for (step, goes_on) in [("{}", false), ("{ which = \"budgets\" }", true)] {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let budget = "budgets = [{ calls = 5, per = \"24h\", services = [\"api\"] }]";
        let guardd = with_rule(breaker_config(address, "", "mode = \"off\"", budget), step);
        let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
        outcomes(&mut caller, 6);
        let blocked = || limit(&guardd, RESEARCH, Some("api"))["blocked"] == true;
        testbed::wait::until("the block", LIMIT, blocked).unwrap();
        assert_eq!(outcomes(&mut caller, 1), ["ECONNREFUSED"]);
        let said = reset(&guardd);
        assert_eq!(said.contains("budgets released until their period ends: 1"), goes_on, "{said}");
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(outcomes(&mut caller, 1) != ["ECONNREFUSED"], goes_on, "{step}");
        let mut other = agent(&guardd, WRITING, &url(address), &[]);
        assert_ne!(outcomes(&mut other, 1), ["ECONNREFUSED"], "the neighbour has no budget");
        drop((caller, other));
        guardd.finish().unwrap();
    }
}
