//! Calls that hang: ended where that is safe, left alone where it could repeat what they do.

use std::thread;
use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::{Behaviour, Server};

use crate::{LIMIT, caller, incident_when, results};

const WAIT: Duration = Duration::from_secs(4);

fn scene(class: &str, more: &str) -> (Server, Guardd, String) {
    let server = Server::loopback().unwrap();
    server.set(Behaviour::Hang);
    let address = server.address().unwrap();
    let config = GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\nclass = \"{class}\"\n[bulkheads.research]\n\
         [[recovery]]\nname = \"hang\"\n\
         when = {{ bulkhead = \"research\", service = \"api\", stalled_for = \"1s\" }}\n\
         steps = [ {{ end_call = {{}} }} ]\nverify = {{ within = \"2s\" }}\n{more}"
    ));
    (server, Guardd::start(config).unwrap(), format!("http://{address}/"))
}

#[test]
fn a_call_to_a_model_that_hangs_is_ended() {
    let (server, guardd, target) = scene("llm", "");
    let mut agent = caller(&guardd, &target, &["--count", "1"]);
    let record = agent.next(LIMIT).unwrap();
    assert!(!record.is_ok());
    assert!((900_000.0..10_000_000.0).contains(&record.total_us), "{record:?}");
    server.set(Behaviour::answer(200, 16));
    let incident = incident_when(&guardd, "its action", |i| !results(i, "end_call").is_empty());
    assert_eq!(results(&incident, "end_call"), ["done"], "{incident:#}");
    incident_when(&guardd, "its end", |i| !i["closed"].is_null());
    guardd.finish().unwrap();
}

#[test]
fn a_call_to_a_tool_is_left_alone() {
    let (_server, guardd, target) = scene("mcp", "");
    let agent = caller(&guardd, &target, &["--count", "1"]);
    let incident = incident_when(&guardd, "its action", |i| !results(i, "end_call").is_empty());
    assert_eq!(results(&incident, "end_call"), ["skipped"], "{incident:#}");
    thread::sleep(WAIT);
    assert!(agent.records().is_empty(), "{:?}", agent.records());
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn unless_the_rule_says_that_it_may_be_repeated() {
    let (_server, guardd, target) = scene("mcp", "allow_repeat = true\n");
    let mut agent = caller(&guardd, &target, &["--count", "1"]);
    assert!(!agent.next(LIMIT).unwrap().is_ok());
    guardd.finish().unwrap();
}
