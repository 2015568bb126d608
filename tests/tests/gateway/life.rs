//! Without guardd, with the next one, and with another configuration.

use super::*;
use testbed::netns::Network;

#[test]
fn without_guardd_calls_go_straight_to_the_service_and_through_the_next_one() {
    if !requires::cgroups(
        "without_guardd_calls_go_straight_to_the_service_and_through_the_next_one",
    ) {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let mut guardd = start(address, "", "failure_threshold = 50");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    assert_eq!(outcome(&mut agent), "ok");
    assert_eq!(requests(&guardd, "answered"), 1.0);
    guardd.sigkill().unwrap();
    // At the latest when the lease is over.
    std::thread::sleep(timing::at_most(Duration::from_millis(2_500)));
    for _ in 0..3 {
        assert_eq!(outcome(&mut agent), "ok");
    }
    guardd.launch().unwrap();
    let begin = Instant::now();
    while begin.elapsed() < timing::at_most(Duration::from_secs(2)) {
        assert_eq!(outcome(&mut agent), "ok", "no gap while the next one starts");
    }
    guardd.wait_ready().unwrap();
    ready(&guardd);
    let before = requests(&guardd, "answered");
    assert_eq!(outcome(&mut agent), "ok");
    assert_eq!(requests(&guardd, "answered"), before + 1.0);
    // A restart in good order leaves no gap either.
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| guardd.stop().and_then(|_| guardd.restart()));
        while !restart.is_finished() {
            assert_eq!(outcome(&mut agent), "ok");
        }
        restart.join().unwrap().unwrap();
    });
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_reload_changes_it_and_breaks_no_call() {
    if !requires::cgroups("a_reload_changes_it_and_breaks_no_call") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let mut guardd = start(address, "", "");
    let mut slow = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut quick = agent(&guardd, WRITING, &url(address), &[]);
    service.set("answer body=40 chunks=4 chunk-delay=1500ms".parse().unwrap());
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| outcome(&mut slow));
        wait::until("it streams", LIMIT, || {
            metric(&guardd, "guard_gateway_connections", &[DESTINATION]) == 1.0
        })
        .unwrap();
        service.set(Behaviour::answer(200, 10));
        // Another gateway, and then none.
        for (keys, through) in [("stale_if_error = \"1m\"", 1.0), ("gateway", 0.0)] {
            let config = match keys {
                "gateway" => breaker_config(address, "", "", ""),
                keys => config(address, keys, ""),
            };
            guardd.set_config(config).unwrap();
            guardd.ctl_json(&["reload"]).unwrap();
            let changed = || metric(&guardd, "guard_gateway_usable", &[DESTINATION]) == through;
            wait::until("changed", LIMIT, changed).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            let before = requests(&guardd, "answered");
            assert_eq!(outcome(&mut quick), "ok");
            assert_eq!(requests(&guardd, "answered"), before + through);
        }
        assert_eq!(streaming.join().unwrap(), "ok");
    });
    drop((slow, quick));
    guardd.finish().unwrap();
}

#[test]
fn agents_of_other_network_namespaces_go_straight_to_their_service() {
    if !requires::cgroups("agents_of_other_network_namespaces_go_straight_to_their_service") {
        return;
    }
    let network = Network::new().unwrap();
    // The same address is another server there, and so would be the gateway's.
    let port_of_nobody = "127.0.0.1:0".parse().unwrap();
    let there =
        ServerProcess::start(&[port_of_nobody], &[], |command| network.client.wrap(&command))
            .unwrap();
    let address = there.address().unwrap();
    let guardd = start(address, "", "");
    let mut probe =
        Probe::within(&guardd.bulkhead(RESEARCH), |command| network.client.wrap(&command));
    probe.must(&format!("tcp c {address}"));
    probe.must("http c");
    assert_eq!(metric(&guardd, "guard_gateway_connections", &[DESTINATION]), 0.0);
    assert_eq!(requests(&guardd, "answered"), 0.0);
    drop((probe, there));
    guardd.finish().unwrap();
}
