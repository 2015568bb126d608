//! `max_calls_per_second` of a service: one bucket for all bulkheads.

use testbed::requires;
use testbed::server::Server;

use super::rig::{LIMIT, RESEARCH, WRITING, start_breakers};
use super::{all_good, eager, ends, limit};

#[test]
fn two_bulkheads_share_the_rate_of_a_service() {
    if !requires::cgroups("two_bulkheads_share_the_rate_of_a_service") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let service = "max_calls_per_second = 6\nmax_calls_burst = 1";
    let guardd = start_breakers(address, service, "", "");
    let agents = [RESEARCH, WRITING]
        .map(|name| eager(&guardd, name, address, &["--keep-alive", "--count", "10"]));
    let [of_research, of_writing] = agents.map(|agent| {
        let (records, _) = agent.finish(LIMIT).unwrap();
        all_good(&records, 10);
        records
    });
    let all = ends(&[of_research.clone(), of_writing.clone()].concat());
    let rate = 19.0 / (all[19] - all[0]);
    assert!((3.0..6.9).contains(&rate), "{rate} calls a second together: {all:?}");
    // Each gets its part.
    let slower = ends(&of_research)[9].min(ends(&of_writing)[9]);
    assert!(slower > all[19] * 0.5, "{slower} of {}", all[19]);
    for name in [RESEARCH, WRITING] {
        let of = limit(&guardd, name, Some("api"));
        assert!(of["paced"].as_u64().unwrap() >= 5, "{name}: {of}");
    }
    guardd.finish().unwrap();
}
