//! Kept answers: given while the service fails, and said to be old.

use super::*;

#[test]
fn an_old_answer_stands_in_for_a_service_that_fails_and_says_so() {
    let server = Server::answering(&[
        ("200 OK", "Cache-Control: max-age=60\r\nX-Of: docs\r\n", "kept"),
        ("500 Internal Server Error", "", "sick"),
    ]);
    let running = gateway(server.at, keeping());
    let fresh = ask(running.at, "GET /a", "").unwrap();
    assert!(fresh.starts_with("HTTP/1.1 200") && !fresh.contains("stale"), "{fresh}");
    let stale = ask(running.at, "GET /a", "").unwrap();
    // The phrase is for the hooks: no success of the service's.
    assert!(stale.starts_with("HTTP/1.1 200 Stale, kept by guard\r\n"), "{stale}");
    assert!(stale.contains("x-guard-stale: 0\r\n") && stale.ends_with("kept"), "{stale}");
    assert!(stale.to_lowercase().contains("\r\nx-of: docs\r\n"), "{stale}");
    assert!(stale.contains("connection: close\r\n"), "{stale}");
    assert_eq!(running.counters.requests(End::Stale), 1);
    // Nothing is kept for this one.
    assert!(ask(running.at, "GET /b", "").unwrap().starts_with("HTTP/1.1 500"));
    // Another agent does not get it.
    running.bulkhead.store(7, Ordering::SeqCst);
    assert!(ask(running.at, "GET /a", "").unwrap().starts_with("HTTP/1.1 500"));
    running.bulkhead.store(1, Ordering::SeqCst);
    server.close();
    assert!(ask(running.at, "GET /a", "").unwrap().ends_with("kept"), "gone altogether");
}

#[test]
fn calls_that_the_breaker_refuses_never_reach_the_service() {
    let server = Server::answering(&[("200 OK", "", "kept")]);
    let running = gateway(server.at, keeping());
    assert!(ask(running.at, "GET /a", "").unwrap().ends_with("kept"));
    running.refused.store(true, Ordering::SeqCst);
    let stale = ask(running.at, "GET /a", "").unwrap();
    assert!(stale.contains("x-guard-stale: ") && stale.ends_with("kept"), "{stale}");
    let other = ask(running.at, "GET /b", "").unwrap();
    assert!(other.starts_with("HTTP/1.1 503 ") && other.contains("\"from\":\"guard\""), "{other}");
    assert!(is_reset(&exchange(running.at, "\0")), "no HTTP: nothing can be given");
    assert_eq!(server.requests(), 1);
    assert_eq!(running.counters.requests(End::Rejected), 1);
}

#[test]
fn a_change_through_the_gateway_makes_what_was_kept_worthless() {
    let server = Server::answering(&[
        ("200 OK", "", "old"),
        ("200 OK", "", "changed"),
        ("502 Bad Gateway", "", "sick"),
    ]);
    let running = gateway(server.at, keeping());
    assert!(ask(running.at, "GET /a", "").unwrap().ends_with("old"));
    assert!(ask(running.at, "POST /a", "Content-Length: 0\r\n").unwrap().ends_with("changed"));
    assert!(ask(running.at, "GET /a", "").unwrap().starts_with("HTTP/1.1 502"));
}

#[test]
fn an_answer_that_broke_off_is_not_kept() {
    let server = Server::start(|mut script| {
        script.read();
        if script.number == 0 {
            script.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            thread::sleep(Duration::from_millis(50));
        }
        script.reset();
    });
    let running = gateway(server.at, keeping());
    assert!(is_reset(&ask(running.at, "GET /a", "")));
    assert!(is_reset(&ask(running.at, "GET /a", "")));
    assert_eq!(running.counters.requests(End::Stale), 0);
}

#[test]
fn no_service_can_say_that_its_own_answer_was_kept() {
    let server = Server::answering(&[("200 Stale, kept by guard", "", "mine")]);
    let running = gateway(server.at, keeping());
    let answer = ask(running.at, "GET /a", "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("mine"), "{answer}");
    let server = Server::answering(&[("200 Fine", "", "mine")]);
    let running = gateway(server.at, keeping());
    assert!(ask(running.at, "GET /a", "").unwrap().starts_with("HTTP/1.1 200 Fine\r\n"));
}

/// With the policies as they are by default, and a service that is gone.
#[test]
fn a_kept_answer_is_not_waited_for_as_long_as_a_service() {
    let server = Server::answering(&[("200 OK", "", "kept")]);
    let mut options = keeping();
    options.policies.network_error = policy("network_error", 1_000);
    let running = gateway(server.at, options);
    assert!(ask(running.at, "GET /a", "").unwrap().ends_with("kept"));
    server.close();
    let begin = Instant::now();
    assert!(ask(running.at, "GET /a", "").unwrap().ends_with("kept"));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(running.counters.retries(Reason::Connect), 1);
}
