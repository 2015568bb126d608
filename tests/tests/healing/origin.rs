//! Whose fault an incident is: what guard injects is no failure of the service.

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::wait;

use crate::{LIMIT, caller, incident_when, is_closed};

#[test]
fn an_incident_of_a_fault_is_counted_by_itself_and_a_real_one_is_real() {
    let mut server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.research]\n"
    )))
    .unwrap();
    let agent = caller(&guardd, &format!("http://{address}/"), &[]);
    wait::until("good calls", LIMIT, || agent.records().len() > 5).unwrap();
    let count = |name: &str, origin: &str| {
        let origin = format!("origin=\"{origin}\"");
        guardd.metric(name, &[r#"destination="api""#, &origin]).unwrap().unwrap_or(0.0) as u64
    };
    let inject = ["--bulkhead", "research", "--service", "api", "--refuse", "100%", "--for", "5m"];
    guardd.ctl_json(&[&["fault", "inject"][..], &inject].concat()).unwrap();
    let open = incident_when(&guardd, "an incident", |incident| !is_closed(incident));
    assert_eq!(open["situation"]["injected"], true, "{open:#}");
    guardd.ctl_json(&["fault", "clear", "--all"]).unwrap();
    incident_when(&guardd, "its end", is_closed);
    let incidents =
        [count("guard_incidents_total", "injected"), count("guard_incidents_total", "real")];
    assert_eq!(incidents, [1, 0]);
    let mtbf = || guardd.metric("guard_mtbf_seconds", &[r#"destination="api""#]).unwrap();
    assert_eq!(mtbf(), None, "nothing has failed");
    assert!(count("guard_incident_seconds_total", "real") == 0);

    server.refuse();
    let real = |incident: &serde_json::Value| incident["situation"]["injected"] == false;
    incident_when(&guardd, "a real incident", real);
    server.listen().unwrap();
    incident_when(&guardd, "its end", |incident| real(incident) && is_closed(incident));
    let incidents =
        [count("guard_incidents_total", "injected"), count("guard_incidents_total", "real")];
    assert_eq!(incidents, [1, 1]);
    assert!(mtbf().is_some());
    drop(agent);
    guardd.finish().unwrap();
}
