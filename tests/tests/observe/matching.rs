//! Which service a destination is: the longest prefix wins, an exact port beats any port, what
//! nothing matches is `other`, and host names are resolved.

use std::collections::BTreeMap;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::requires;

use crate::rig::{LIMIT, Metered, RESEARCH, WRITING, agent, events_when, pair_when, services, url};

#[test]
fn longest_prefix_then_port() {
    let test = "longest_prefix_then_port";
    if !requires::cgroups(test) {
        return;
    }
    let v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let mut listen = vec![
        "127.8.0.1:0",
        "127.8.0.1:0",
        "127.8.7.1:0",
        "127.8.7.1:0",
        "127.8.7.9:0",
        "127.8.7.9:0",
        "127.9.0.1:0",
    ];
    if v6 {
        listen.push("[::1]:0");
    } else {
        requires::skip(&format!("{test}/ipv6"), "there is no ::1");
    }
    let server = Metered::start(&listen);
    let port = |index: usize| server.addresses[index].port();
    let endpoints = [
        ("wide", "127.8.0.0/16".to_owned()),
        ("wide_port", format!("127.8.0.0/16:{}", port(1))),
        ("middle", "127.8.7.0/24".to_owned()),
        ("host_port", format!("127.8.7.9:{}", port(4))),
        // An exact port, but of a shorter prefix than `middle`.
        ("short_port", format!("127.8.0.0/17:{}", port(3))),
        ("six", format!("[::/64]:{}", if v6 { port(7) } else { 1 })),
    ];
    let expected: Vec<(usize, &str)> = vec![
        (0, "wide"),
        (1, "wide_port"),
        (2, "middle"),
        (3, "middle"),
        (4, "host_port"),
        (5, "middle"),
        (6, "other"),
        (7, "six"),
    ];
    let body: String = endpoints
        .iter()
        .map(|(name, endpoint)| format!("[services.{name}]\nendpoints = [\"{endpoint}\"]\n"))
        .chain([RESEARCH, WRITING].map(|b| format!("[bulkheads.{b}]\ncgroup = \"{b}\"\n")))
        .collect();
    let guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    let mut wanted = BTreeMap::<&str, u64>::new();
    for (index, service) in expected.into_iter().filter(|(index, _)| *index < listen.len()) {
        let record = agent.call_to(&url(server.addresses[index]), LIMIT).unwrap();
        assert!(record.is_ok(), "{record:?}");
        let count = wanted.entry(service).or_default();
        *count += 1;
        let seen =
            pair_when(&guardd, RESEARCH, service, &format!("{} in it", listen[index]), |p| {
                p.call("success") == *count
            });
        assert_eq!(seen.connects, *count);
    }
    let seen = services(&guardd, RESEARCH);
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), {
        wanted.keys().copied().collect::<Vec<_>>()
    });
    assert!(services(&guardd, WRITING).is_empty());
}

#[test]
fn a_host_name_is_resolved() {
    if !requires::cgroups("a_host_name_is_resolved") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let address = server.addresses[0];
    let body = format!(
        "[services.local]\nendpoints = [\"localhost:{}\"]\n[bulkheads.{RESEARCH}]\ncgroup = \
         \"{RESEARCH}\"\n",
        address.port()
    );
    let guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
    // Names are resolved while guardd serves already.
    events_when(&guardd, "resolved", 1);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    assert!(agent.call(LIMIT).unwrap().is_ok());
    let seen = pair_when(&guardd, RESEARCH, "local", "a call", |p| p.call("success") == 1);
    assert_eq!(seen.connects, 1);
    assert_eq!(services(&guardd, RESEARCH).len(), 1, "nothing is `other`");
}
