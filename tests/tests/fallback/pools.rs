//! Connections that clients keep: the way back from the fallback, and what stays when a breaker opens
//! again.

use super::*;

#[test]
fn a_pooled_client_goes_back_when_the_breaker_closes() {
    if !requires::cgroups("a_pooled_client_goes_back_when_the_breaker_closes") {
        return;
    }
    let (service, other) = (server("127.0.0.1:0", OF_SERVICE), server("127.0.0.1:0", OF_FALLBACK));
    let address = service.address().unwrap();
    let line = format!("fallback = \"{}\"", other.address().unwrap());
    let open = "open_timeout = \"10m\"\nopen_pool = \"cut_all\"";
    let guardd = start_breakers(address, &line, open, "");
    ready(&guardd);
    let mut pooling = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    trip(&guardd);
    assert_eq!(status(&mut pooling), OF_FALLBACK);
    let mut busy = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    assert_eq!(status(&mut busy), OF_FALLBACK);
    // Opened once more: the service's pool goes, the fallback's does not.
    trip(&guardd);
    let connects = of_research(&guardd, "guard_fallback_connects_total");
    assert_eq!((status(&mut pooling), status(&mut busy)), (OF_FALLBACK, OF_FALLBACK));
    assert_eq!(of_research(&guardd, "guard_fallback_connects_total"), connects);
    // One waits for an answer while the breaker closes.
    let slow = timing::at_most(Duration::from_secs(2));
    other.set(format!("answer status={OF_FALLBACK} delay={}ms", slow.as_millis()).parse().unwrap());
    busy.start_call().unwrap();
    wait::until("a request", LIMIT, || other.counts().requests >= 5).unwrap();
    let waiting = super::rig::waits(&guardd);
    let shown = format!("{address}");
    assert!(
        waiting.len() == 1
            && waiting[0]["fallback"] == true
            && waiting[0]["peer"] == shown.as_str(),
        "{waiting:?}"
    );
    reset(&guardd);
    let ended = |n: f64| {
        move |guardd: &Guardd| {
            let reason = [r#"reason="fallback_over""#];
            metric(guardd, "guard_connections_ended_total", &reason) == n
        }
    };
    wait::until("the idle one to end", LIMIT, || ended(1.0)(&guardd)).unwrap();
    // What it finds is a connection that has ended, as after any server's restart.
    let first = pooling.call(LIMIT).unwrap();
    assert!([0, OF_SERVICE].contains(&status_of(&first)), "{first:?}");
    assert_eq!(status(&mut pooling), OF_SERVICE);
    let record = busy.next(LIMIT).unwrap();
    assert_eq!(status_of(&record), OF_FALLBACK, "{record:?}");
    wait::until("the busy one to end when it was done", LIMIT, || ended(2.0)(&guardd)).unwrap();
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    drop((pooling, busy));
    guardd.finish().unwrap();
}
