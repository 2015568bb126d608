//! What no fault ever touches: protected addresses, port 22, guard's own metrics.

use std::time::Duration;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;

use crate::bystander::Bystander;
use crate::rig::{LIMIT, Metered, RESEARCH, WRITING, agent, clear, inject, inject_code, pair, url};

const EVERYTHING: [&str; 3] = ["--refuse 100% --errno EHOSTUNREACH", "--loss 100%", "--latency 2s"];

#[test]
fn protected_addresses() {
    if !requires::cgroups("protected_addresses") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0", "127.0.0.9:0"]);
    let (open, safe) = (server.addresses[0], server.addresses[1]);
    let services: [(&str, &[_]); 2] = [("api", &server.addresses), ("vault", &[safe])];
    let services = [(services[0].0, &server.addresses[..1]), (services[1].0, services[1].1)];
    // `api` has both addresses, by another port, so that the same endpoint is not in two services.
    let spare = Metered::start(&["127.0.0.9:0"]);
    let mut both = services[0].1.to_vec();
    both.push(spare.addresses[0]);
    let config = GuarddConfig::simple(&[("api", &both), services[1]], &[RESEARCH, WRITING])
        .daemon("protected", "[\"127.0.0.9/32\"]");
    let guardd = Guardd::start(config).unwrap();
    let mut bystander = Bystander::new(&guardd, open);
    let patience = ["--keep-alive", "--timeout", "700ms", "--connect-timeout", "700ms"];
    let mut kept = agent(&guardd, RESEARCH, &url(spare.addresses[0]), &patience);
    assert!(kept.call(LIMIT).unwrap().is_ok());
    for effect in EVERYTHING {
        for target in ["--service api", "--unsafe-all"] {
            let fault = inject(&guardd, RESEARCH, &format!("{target} --for 120s {effect}"));
            // New and open connections to the protected address.
            assert!(kept.call(LIMIT).unwrap().is_ok(), "{effect}");
            let mut fresh = agent(&guardd, RESEARCH, &url(spare.addresses[0]), &patience);
            assert!(fresh.call(LIMIT).unwrap().is_ok(), "{effect}");
            // The other address of the same service is hit.
            assert!(!fresh.call_to(&url(open), LIMIT).unwrap().is_ok(), "{effect}");
            bystander.calls();
            let ended = clear(&guardd, &fault);
            assert!(ended["counters"]["protected"].as_u64().unwrap() >= 1, "{ended}");
            let hit = ["delayed", "dropped", "refused"]
                .map(|counter| ended["counters"][counter].as_u64().unwrap());
            assert!(hit.iter().sum::<u64>() >= 1, "{ended}");
        }
    }
    // A service that is protected as a whole would never be hit: said at once.
    for effect in EVERYTHING {
        let refused = inject_code(&guardd, RESEARCH, &format!("--service vault --for 1s {effect}"));
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("protected"), "{refused:?}");
    }
    assert_eq!(pair(&guardd, RESEARCH, "vault").connects, 0);
    bystander.end(&guardd, "api");
}

#[test]
fn metrics_and_port_22() {
    if !requires::cgroups("metrics_and_port_22") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = crate::rig::start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let metrics = format!("http://{}/healthz", guardd.metrics_address());
    let patience = ["--timeout", "1500ms", "--connect-timeout", "1500ms"];
    let mut agent = agent(&guardd, RESEARCH, &metrics, &patience);
    for effect in EVERYTHING {
        let fault = inject(&guardd, RESEARCH, &format!("--unsafe-all --for 120s {effect}"));
        assert!(agent.call(LIMIT).unwrap().is_ok(), "{effect}");
        // Whether anybody listens there or not: it is the host that answers, and at once.
        let ssh = agent.call_to("connect://127.0.0.1:22", LIMIT).unwrap();
        assert!(["ok", "ECONNREFUSED"].contains(&ssh.outcome.as_str()), "{effect}: {ssh:?}");
        let hit = agent.call_to(&url(server.addresses[0]), LIMIT).unwrap();
        assert!(!hit.is_ok(), "{effect}: {hit:?}");
        bystander.calls();
        // The operator's own way in.
        assert!(guardd.metrics().is_ok());
        let ended = clear(&guardd, &fault);
        assert!(ended["counters"]["protected"].as_u64().unwrap() >= 2, "{ended}");
    }
    std::thread::sleep(Duration::from_millis(50));
    bystander.end(&guardd, "api");
}
