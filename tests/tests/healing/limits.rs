//! Limits that are used up: detected by what they refuse, healed, verified.

use testbed::agent::AgentProcess;
use testbed::cgroup;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};

use crate::{LIMIT, incident_when, incidents, is_closed, results};

const REFUSED: &str = "ECONNREFUSED";

/// A guardd whose bulkhead `research` has this limit, and a rule about what limits refuse.
fn start(server: &Server, limit: &str, when: &str, step: &str) -> Guardd {
    let address = server.address().unwrap();
    Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[defaults.breaker]\nmode = \"off\"\n\
         [defaults.recovery]\ndefault_rule = \"off\"\n[bulkheads.research]\n{limit}\n\
         [[recovery]]\nname = \"used-up\"\nwhen = {{ bulkhead = \"research\", {when} }}\n\
         steps = [ {step} ]\nverify = {{ within = \"1s\" }}\ncooldown = \"0s\"\n"
    )))
    .unwrap()
}

fn stepped(guardd: &Guardd, server: &Server) -> AgentProcess {
    let target = format!("http://{}/", server.address().unwrap());
    let path = guardd.bulkhead("research");
    AgentProcess::stepped(&target, &[], |command| cgroup::wrap(&path, &command)).unwrap()
}

fn outcomes(agent: &mut AgentProcess, calls: usize) -> Vec<String> {
    (0..calls).map(|_| agent.call(LIMIT).unwrap().outcome).collect()
}

#[test]
fn retries_that_are_used_up_are_detected_and_reset() {
    let server = Server::loopback().unwrap();
    let when = "service = \"api\", limit_refusals_above = 3, window = \"1m\"";
    let retries = "retries = { max = 2, window = \"10m\" }";
    let guardd = start(&server, retries, when, "{ reset_limits = {} }");
    let mut agent = stepped(&guardd, &server);
    server.set(Behaviour::ResetAfterRequest);
    let tried = outcomes(&mut agent, 6);
    assert_eq!(tried[3..], [REFUSED; 3], "{tried:?}");
    // As many as the rule allows.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(incidents(&guardd).is_empty(), "{:#?}", incidents(&guardd));
    assert_eq!(outcomes(&mut agent, 1), [REFUSED]);
    server.set(Behaviour::answer(200, 10));
    let incident = incident_when(&guardd, "the end of an incident", is_closed);
    let reason = incident["situation"]["reason"].as_str().unwrap();
    assert_eq!(reason, "calls refused by limits in 60 s: 4 (4 retries)");
    assert_eq!(results(&incident, "reset_limits"), ["done"], "{incident:#}");
    assert_eq!(incident["closed"]["end"], "recovered", "{incident:#}");
    assert_eq!(incident["closed"]["helped"], "reset_limits", "{incident:#}");
    let labels = [r#"reason="retries""#, r#"bulkhead="research""#, r#"destination="api""#];
    assert_eq!(guardd.metric("guard_bulkhead_rejected_total", &labels).unwrap(), Some(4.0));
    assert!(!outcomes(&mut agent, 5).contains(&REFUSED.to_owned()));
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_budget_that_is_used_up_is_detected_for_the_bulkhead_as_a_whole() {
    let server = Server::loopback().unwrap();
    let budget = "budgets = [{ calls = 3, per = \"24h\", services = [\"api\"] }]";
    let when = "limit_refusals_above = 0";
    let guardd = start(&server, budget, when, "{ reset_limits = { which = \"budgets\" } }");
    let mut agent = stepped(&guardd, &server);
    // guardd looks at budgets now and then.
    let refused = || outcomes(&mut agent, 1) == [REFUSED];
    testbed::wait::until("the block", LIMIT, refused).unwrap();
    let incident = incident_when(&guardd, "the end of an incident", is_closed);
    assert!(incident["situation"]["service"].is_null(), "{incident:#}");
    let reason = incident["situation"]["reason"].as_str().unwrap();
    assert!(reason.contains(" budget)"), "{reason}");
    assert_eq!(incident["closed"]["helped"], "reset_limits", "{incident:#}");
    assert_ne!(outcomes(&mut agent, 1), [REFUSED]);
    drop(agent);
    guardd.finish().unwrap();
}
