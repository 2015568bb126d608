//! Without guardd, and with the next one.

use super::*;

#[test]
fn a_killed_guardd_leaves_the_fallback_at_work_and_the_next_one_keeps_it() {
    if !requires::cgroups("a_killed_guardd_leaves_the_fallback_at_work_and_the_next_one_keeps_it") {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let line = format!("fallback = \"{}\"", other.address().unwrap());
    let mut guardd = start_breakers(address, &line, "open_timeout = \"10m\"", "");
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&guardd);
    assert_eq!(status(&mut agent), OF_FALLBACK);
    guardd.sigkill().unwrap();
    for _ in 0..3 {
        assert_eq!(status(&mut agent), OF_FALLBACK);
    }
    // While the next one starts, no call meets a gap.
    guardd.launch().unwrap();
    let begin = Instant::now();
    let mut calls = 0;
    while begin.elapsed() < timing::at_most(Duration::from_secs(2)) {
        assert_eq!(status(&mut agent), OF_FALLBACK);
        calls += 1;
    }
    assert!(calls > 10, "{calls}");
    guardd.wait_ready().unwrap();
    assert_eq!(status(&mut agent), OF_FALLBACK);
    assert_eq!(breaker(&guardd, RESEARCH)["rejected"], 0);
    wait::until("it is told", LIMIT, || of_research(&guardd, "guard_fallback_active") == 1.0)
        .unwrap();
    reset(&guardd);
    assert_eq!(status(&mut agent), OF_SERVICE);
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_reload_changes_the_fallback_and_takes_it_away() {
    if !requires::cgroups("a_reload_changes_the_fallback_and_takes_it_away") {
        return;
    }
    let service = server("127.0.0.1:0", OF_SERVICE);
    let (first, second) = (server("127.0.0.1:0", OF_ANOTHER), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let config = |line: &str| breaker_config(address, line, "open_timeout = \"10m\"", "");
    let line = |server: &Server| format!("fallback = \"{}\"", server.address().unwrap());
    let mut guardd = Guardd::start(config(&line(&first))).unwrap();
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    trip(&guardd);
    assert_eq!(status(&mut agent), OF_ANOTHER);
    guardd.set_config(config(&line(&second))).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    wait::until("the new one", LIMIT, || status_of(&agent.call(LIMIT).unwrap()) == OF_FALLBACK)
        .unwrap();
    guardd.set_config(config("")).unwrap();
    guardd.ctl_json(&["reload"]).unwrap();
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    drop(agent);
    guardd.finish().unwrap();
}
