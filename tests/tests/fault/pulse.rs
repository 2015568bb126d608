//! Faults that come and go.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use testbed::{requires, timing, wait};

use crate::bystander::Bystander;
use crate::rig::{
    LIMIT, Metered, RESEARCH, agent, clear, counters, good_calls, inject, inject_code, start, url,
};

#[test]
fn a_pulse_acts_and_rests() {
    if !requires::cgroups("a_pulse_acts_and_rests") {
        return;
    }
    let server = Metered::start(&["127.0.0.1:0"]);
    let guardd = start(&[("api", &server.addresses)]);
    let mut bystander = Bystander::new(&guardd, server.addresses[0]);
    let mut agent = agent(&guardd, RESEARCH, &url(server.addresses[0]), &[]);
    // Long enough to be met, and then at rest for longer than this test lasts.
    let on = timing::at_most(Duration::from_millis(500));
    let words = format!("--service api --for 20m --refuse 100% --pulse {on:?}/10m");
    let fault = inject(&guardd, RESEARCH, &words);
    let effect = format!("refuse 100% ECONNREFUSED, {on:?} on 600s off");
    assert_eq!(fault["effect"], json!(effect));
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED", "it acts at once");
    wait::until("its rest", LIMIT, || agent.call(LIMIT).unwrap().is_ok()).unwrap();
    let refused = counters(&guardd, &fault, "refused");
    good_calls(&mut agent, 5);
    bystander.calls();
    let ended = clear(&guardd, &fault);
    let did = (&ended["counters"]["refused"], &ended["counters"]["matched"]);
    assert_eq!(did, (&json!(refused), &json!(refused)), "at rest it matches nothing");

    // And again: three times within its time.
    let words = format!("--service api --for 10m --refuse 100% --pulse {on:?}/{on:?}");
    let fault = inject(&guardd, RESEARCH, &words);
    for _ in 0..2 {
        wait::until("a pulse", LIMIT, || !agent.call(LIMIT).unwrap().is_ok()).unwrap();
        wait::until("a rest", LIMIT, || agent.call(LIMIT).unwrap().is_ok()).unwrap();
    }
    clear(&guardd, &fault);
    sleep(Duration::from_millis(10));
    good_calls(&mut agent, 3);
    for bad in ["1ms/5s", "5s/1ms"] {
        let words = format!("--service api --for 1m --loss 1% --pulse {bad}");
        let refused = inject_code(&guardd, RESEARCH, &words);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("at least"), "{refused:?}");
    }
    bystander.end(&guardd, "api");
}
