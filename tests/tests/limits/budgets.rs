//! `budgets`: what a bulkhead may use up in a period.

use std::time::Duration;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{requires, timing, wait};

use super::rig::{
    LIMIT, RESEARCH, WRITING, agent, events, good_calls, metric, start_breakers, url,
};

/// A period that no test sees the end of.
const LONG: &str = "8760h";

fn budget(guardd: &Guardd) -> Value {
    let answer = guardd.ctl_json(&["budget", "list"]).unwrap();
    answer["budgets"][0].clone()
}

fn state_when(guardd: &Guardd, state: &str) -> Value {
    let mut last = Value::Null;
    let came = wait::until("the budget", LIMIT, || {
        last = budget(guardd);
        last["state"] == state
    });
    assert!(came.is_ok(), "the budget was to be {state}: {last}");
    last
}

#[test]
fn a_budget_of_calls_warns_blocks_and_is_released() {
    if !requires::cgroups("a_budget_of_calls_warns_blocks_and_is_released") {
        return;
    }
    let (api, free) = (Server::loopback().unwrap(), Server::loopback().unwrap());
    let (address, free_at) = (api.address().unwrap(), free.address().unwrap());
    let research = format!("budgets = [{{ calls = 10, per = \"{LONG}\", services = [\"api\"] }}]");
    let guardd = start_breakers(address, "", "", &research);
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut pooled = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let mut elsewhere = agent(&guardd, RESEARCH, &url(free_at), &[]);
    let mut other = agent(&guardd, WRITING, &url(address), &[]);
    good_calls(&mut caller, 4);
    good_calls(&mut pooled, 4);
    wait::until("the warning", LIMIT, || events(&guardd, "budget_warning").len() == 1).unwrap();
    good_calls(&mut caller, 2);
    let exhausted = state_when(&guardd, "exhausted");
    assert_eq!(exhausted["amounts"][0]["used"], 10, "{exhausted}");
    let told = events(&guardd, "budget_exhausted");
    assert!(told[0]["message"].as_str().unwrap().contains("10 of 10 calls"), "{told:?}");
    // New connections are refused; idle ones are gone, so that nobody calls on them.
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    wait::until("the end of the pooled connection", LIMIT, || {
        pooled.call(LIMIT).is_ok_and(|record| record.outcome == "ECONNREFUSED")
    })
    .unwrap();
    let labels = ["bulkhead=\"research\"", "reason=\"budget\""];
    assert!(metric(&guardd, "guard_bulkhead_rejected_total", &labels) >= 2.0);
    // Other services, and other bulkheads, know nothing of it.
    good_calls(&mut elsewhere, 5);
    good_calls(&mut other, 20);
    // What was refused is not used.
    let used = budget(&guardd)["amounts"][0]["used"].as_u64().unwrap();
    assert!((10..=11).contains(&used), "{used}");
    assert_eq!(guardd.ctl(&["budget", "release", WRITING]).unwrap().code, 2);
    let answer = guardd.ctl_json(&["budget", "release", RESEARCH]).unwrap();
    assert_eq!(answer["budgets"][0]["state"], "released", "{answer}");
    good_calls(&mut caller, 5);
    good_calls(&mut pooled, 5);
    assert_eq!(guardd.ctl(&["budget", "release", RESEARCH]).unwrap().code, 2, "it is released");
    drop((caller, pooled, elsewhere, other));
    guardd.finish().unwrap();
}

#[test]
fn the_next_period_begins_by_itself() {
    if !requires::cgroups("the_next_period_begins_by_itself") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let period = timing::at_most(Duration::from_secs(4)).as_secs();
    let research = format!("budgets = [{{ bytes = \"1KiB\", per = \"{period}s\" }}]");
    let guardd = start_breakers(address, "", "", &research);
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let refused = wait::until("the block", LIMIT, || {
        caller.call(LIMIT).is_ok_and(|record| record.outcome == "ECONNREFUSED")
    });
    refused.unwrap();
    let again = wait::until("the next period", LIMIT, || {
        caller.call(LIMIT).is_ok_and(|record| record.is_ok())
    });
    again.unwrap();
    assert!(!events(&guardd, "budget_period").is_empty());
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn what_is_used_stays_used_over_restarts() {
    if !requires::cgroups("what_is_used_stays_used_over_restarts") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = |limit: u32| {
        GuarddConfig::new(format!(
            "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{RESEARCH}]\n\
             budgets = [{{ connects = {limit}, per = \"{LONG}\" }}]\n"
        ))
    };
    let mut guardd = Guardd::start(config(10)).unwrap();
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    good_calls(&mut caller, 6);
    let used = |guardd: &Guardd| budget(guardd)["amounts"][0]["used"].as_u64().unwrap();
    wait::until("the count", LIMIT, || used(&guardd) == 6).unwrap();
    // A clean stop, with counters that begin anew.
    guardd.stop().unwrap();
    guardd.restart().unwrap();
    assert_eq!(used(&guardd), 6);
    good_calls(&mut caller, 3);
    wait::until("the count", LIMIT, || used(&guardd) == 9).unwrap();
    good_calls(&mut caller, 1);
    state_when(&guardd, "exhausted");
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.stop().unwrap();
    guardd.restart().unwrap();
    state_when(&guardd, "exhausted");
    let refused = wait::until("the block after the restart", LIMIT, || {
        caller.call(LIMIT).is_ok_and(|record| record.outcome == "ECONNREFUSED")
    });
    refused.unwrap();
    // With a higher limit it goes on, and what was used is used.
    guardd.set_config(config(1000)).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    let more = state_when(&guardd, "ok");
    assert_eq!((&more["amounts"][0]["limit"], used(&guardd)), (&1000.into(), 10), "{more}");
    let passes = wait::until("the end of the block", LIMIT, || {
        caller.call(LIMIT).is_ok_and(|record| record.is_ok())
    });
    passes.unwrap();
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn a_budget_that_only_warns_and_monitor_mode_refuse_nothing() {
    if !requires::cgroups("a_budget_that_only_warns_and_monitor_mode_refuse_nothing") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    for (mode, action) in [("enforce", "warn"), ("monitor", "block")] {
        let config = GuarddConfig::new(format!(
            "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{RESEARCH}]\n\
             budgets = [{{ calls = 3, per = \"{LONG}\", on_exhausted = \"{action}\" }}]\n"
        ));
        let guardd = Guardd::start(config.daemon("mode", &format!("\"{mode}\""))).unwrap();
        let mut caller = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
        let mut fresh = agent(&guardd, RESEARCH, &url(address), &[]);
        good_calls(&mut caller, 3);
        state_when(&guardd, "exhausted");
        std::thread::sleep(timing::at_most(Duration::from_secs(1)));
        good_calls(&mut caller, 3);
        good_calls(&mut fresh, 3);
        let would = metric(&guardd, "guard_would_have_total", &["action=\"limit\""]);
        assert_eq!(would > 0.0, mode == "monitor", "{would}");
        drop((caller, fresh));
        guardd.finish().unwrap();
    }
}

#[test]
fn a_budget_may_freeze_until_it_is_released() {
    if !requires::cgroups("a_budget_may_freeze_until_it_is_released") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.{WRITING}]\n[bulkheads.{RESEARCH}]\n\
         budgets = [{{ calls = 3, per = \"{LONG}\", on_exhausted = \"freeze\" }}]\n"
    ));
    let guardd = Guardd::start(config).unwrap();
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut other = agent(&guardd, WRITING, &url(address), &[]);
    let events_file = guardd.bulkhead(RESEARCH).join("cgroup.events");
    let is = |state: &str| {
        wait::until(state, LIMIT, || {
            std::fs::read_to_string(&events_file).unwrap().contains(state)
        })
        .unwrap();
    };
    is("frozen 0");
    good_calls(&mut caller, 3);
    is("frozen 1");
    good_calls(&mut other, 10);
    guardd.ctl_json(&["budget", "release", RESEARCH]).unwrap();
    is("frozen 0");
    good_calls(&mut caller, 3);
    drop((caller, other));
    guardd.finish().unwrap();
}
