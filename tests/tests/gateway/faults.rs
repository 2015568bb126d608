//! Faults of a service act on calls that go through its gateway.

use super::*;

#[test]
fn faults_of_the_service_reach_calls_through_the_gateway() {
    if !requires::cgroups("faults_of_the_service_reach_calls_through_the_gateway") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let guardd = start(address, "", "mode = \"off\"");
    let mut sick = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut neighbour = agent(&guardd, WRITING, &url(address), &[]);
    assert_eq!(outcome(&mut sick), "ok");
    let fault = inject(&guardd, RESEARCH, "--service api --refuse 100% --for 60s");
    assert_eq!(outcome(&mut sick), "ECONNREFUSED");
    assert_eq!(outcome(&mut neighbour), "ok");
    rig::clear(&guardd, &fault);
    let fault = inject(&guardd, RESEARCH, "--service api --latency 300ms --for 60s");
    let begin = Instant::now();
    assert_eq!(outcome(&mut sick), "ok");
    // One for the connect, one for the request.
    assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}: {fault}", begin.elapsed());
    assert!(rig::counters(&guardd, &fault, "delayed") >= 2);
    let begin = Instant::now();
    assert_eq!(outcome(&mut neighbour), "ok");
    assert!(begin.elapsed() < timing::at_most(Duration::from_millis(300)));
    rig::clear(&guardd, &fault);
    drop((sick, neighbour));
    guardd.finish().unwrap();
}
