//! Answers that were kept, while the service fails: good for the agent, and no proof of health.

use super::*;

#[test]
fn kept_answers_stand_in_and_the_breaker_still_opens_and_closes() {
    if !requires::cgroups("kept_answers_stand_in_and_the_breaker_still_opens_and_closes") {
        return;
    }
    let service = server();
    let address = service.address().unwrap();
    let open = timing::at_most(Duration::from_millis(1_500));
    let breaker_keys = format!("failure_threshold = 3\nopen_timeout = \"{}ms\"", open.as_millis());
    let keys = "stale_if_error = \"1h\"";
    let guardd = start(address, keys, &breaker_keys);
    let mut research = agent(&guardd, RESEARCH, &url(address), &[]);
    let mut writing = agent(&guardd, WRITING, &url(address), &[]);
    assert_eq!(outcome(&mut research), "ok");
    service.set(Behaviour::answer(SICK, 5));
    for _ in 0..3 {
        assert_eq!(outcome(&mut research), "ok", "kept");
    }
    // For the service those were failures.
    state_when(&guardd, RESEARCH, "open");
    let opened = Instant::now();
    assert_eq!(requests(&guardd, "stale"), 3.0);
    let asked = service.counts().requests;
    for _ in 0..3 {
        assert_eq!(outcome(&mut research), "ok", "kept, and nobody was asked");
    }
    if opened.elapsed() < open {
        assert_eq!(service.counts().requests, asked);
        assert_eq!(requests(&guardd, "stale"), 6.0);
    }
    // Another agent has asked for nothing yet, and gets nothing of it.
    assert_eq!(outcome(&mut writing), format!("http_{SICK}"));
    service.set(Behaviour::answer(200, 10));
    wait::until("closed", LIMIT, || {
        assert_eq!(outcome(&mut research), "ok");
        breaker(&guardd, RESEARCH)["state"] == "closed"
    })
    .unwrap();
    let before = requests(&guardd, "stale");
    assert_eq!(outcome(&mut research), "ok");
    assert_eq!(requests(&guardd, "stale"), before, "fresh again");
    drop((research, writing));
    guardd.finish().unwrap();
}
