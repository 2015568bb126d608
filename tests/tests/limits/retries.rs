//! `retries`: attempts after a failure, and the host's budget of them.

use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};
use testbed::{requires, timing};

use super::limit;
use super::rig::{LIMIT, RESEARCH, WRITING, agent, good_calls, metric, start_breakers, url};

#[test]
fn retries_above_the_limit_are_refused_until_the_window_is_over() {
    if !requires::cgroups("retries_above_the_limit_are_refused_until_the_window_is_over") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let window = timing::at_most(Duration::from_secs(2));
    let research = format!("retries = {{ max = 3, window = \"{}ms\" }}", window.as_millis());
    let guardd = start_breakers(address, "", "mode = \"off\"", &research);
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut other = agent(&guardd, WRITING, &url(address), &[]);
    server.set(Behaviour::ResetAfterRequest);
    // One call, three retries; the rest never reaches the server.
    let outcomes: Vec<_> = (0..8).map(|_| caller.call(LIMIT).unwrap().outcome).collect();
    assert_eq!(outcomes[..4], ["ECONNRESET"; 4], "{outcomes:?}");
    assert_eq!(outcomes[4..], ["ECONNREFUSED"; 4], "{outcomes:?}");
    for _ in 0..8 {
        assert_eq!(other.call(LIMIT).unwrap().outcome, "ECONNRESET", "the neighbour has no limit");
    }
    assert_eq!(server.counts().connections, 12);
    let now = limit(&guardd, RESEARCH, Some("api"));
    assert_eq!((&now["retries"], &now["max_retries"]), (&3.into(), &3.into()), "{now}");
    assert_eq!(now["rejected"], serde_json::json!({"retries": 4}), "{now}");
    assert_eq!(
        metric(&guardd, "guard_retries_total", &["bulkhead=\"research\"", "destination=\"api\""]),
        3.0
    );
    // In a new window they may try again, and a success ends it all.
    std::thread::sleep(window + Duration::from_millis(50));
    server.set(Behaviour::answer(200, 10));
    good_calls(&mut caller, 20);
    drop((caller, other));
    guardd.finish().unwrap();
}

#[test]
fn a_success_makes_the_next_attempts_calls_again() {
    if !requires::cgroups("a_success_makes_the_next_attempts_calls_again") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let research = "retries = { max = 2, window = \"10m\" }";
    let guardd = start_breakers(address, "", "mode = \"off\"", research);
    let mut caller = agent(&guardd, RESEARCH, &url(address), &[]);
    for throttled in [false, true] {
        server.set(if throttled { Behaviour::answer(429, 10) } else { Behaviour::CloseOnAccept });
        let failed = caller.call(LIMIT).unwrap();
        server.set(Behaviour::answer(200, 10));
        // This one is a retry; those after it are not.
        good_calls(&mut caller, 10);
        let now = limit(&guardd, RESEARCH, Some("api"));
        assert_eq!(now["retries_total"], 1 + u64::from(throttled), "{now} after {failed:?}");
    }
    server.set(Behaviour::CloseOnAccept);
    let outcomes: Vec<_> = (0..2).map(|_| caller.call(LIMIT).unwrap().outcome).collect();
    assert!(!outcomes[0].contains("REFUSED") && outcomes[1] == "ECONNREFUSED", "{outcomes:?}");
    drop(caller);
    guardd.finish().unwrap();
}

#[test]
fn the_hosts_budget_bounds_the_retries_of_all() {
    if !requires::cgroups("the_hosts_budget_bounds_the_retries_of_all") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let many = "retries = { max = 1000, window = \"10m\" }";
    let config = |budget: &str| {
        GuarddConfig::new(format!(
            "[services.api]\nendpoints = [\"{address}\"]\n[defaults.breaker]\nmode = \"off\"\n\
             {budget}\n[bulkheads.{RESEARCH}]\n{many}\n[bulkheads.{WRITING}]\n{many}\n"
        ))
    };
    let none = "[defaults.retry_budget]\npercent = \"0%\"\nmin_per_second = 0";
    let mut guardd = Guardd::start(config(none)).unwrap();
    let mut callers = [RESEARCH, WRITING].map(|name| agent(&guardd, name, &url(address), &[]));
    // The budget counts from the first tick on.
    std::thread::sleep(timing::at_most(Duration::from_secs(1)));
    server.set(Behaviour::ResetAfterRequest);
    for caller in &mut callers {
        assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    let mut refused = 0;
    for caller in &mut callers {
        for _ in 0..5 {
            refused += u64::from(caller.call(LIMIT).unwrap().outcome == "ECONNREFUSED");
        }
    }
    // One retry there may always be.
    assert!((9..=10).contains(&refused), "{refused}");
    let why = |guardd: &Guardd, name| {
        limit(guardd, name, Some("api"))["rejected"]["retry_budget"].as_u64().unwrap_or(0)
    };
    assert_eq!(why(&guardd, RESEARCH) + why(&guardd, WRITING), refused);
    guardd.set_config(config("")).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    // The default: ten a second, whatever is called.
    std::thread::sleep(timing::at_most(Duration::from_secs(2)));
    for caller in &mut callers {
        assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNRESET");
    }
    // Nobody fills it any more: it is not believed for long.
    guardd.sigkill().unwrap();
    std::thread::sleep(timing::at_most(Duration::from_secs(6)));
    for caller in &mut callers {
        for _ in 0..20 {
            assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNRESET");
        }
    }
    drop(callers);
    guardd.finish().unwrap();
}
