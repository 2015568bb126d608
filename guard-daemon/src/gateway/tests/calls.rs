//! Calls: what is forwarded, what is tried again, and what never is.

use super::*;

const GOOD: (&str, &str, &str) = ("200 OK", "", "good");
const SICK: (&str, &str, &str) = ("503 Service Unavailable", "", "sick");

#[test]
fn a_call_and_its_answer_arrive_as_they_were_said() {
    let server =
        Server::answering(&[("201 Created", "X-Own: Yes\r\nKeep-Alive: timeout=9\r\n", "made")]);
    let running = gateway(server.at, options());
    let answer = exchange(
        running.at,
        "PUT /a%20b?c=d HTTP/1.1\r\nHost: docs.example\r\nX-CamelCase: 1\r\nConnection: close, X-Hop\r\n\
         X-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
    )
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Own: Yes\r\n") && answer.ends_with("\r\n\r\nmade"), "{answer}");
    assert!(!answer.to_lowercase().contains("keep-alive"), "{answer}");
    let got = server.seen.lock().unwrap()[0].clone();
    assert!(got.head.starts_with("PUT /a%20b?c=d HTTP/1.1\r\n"), "{}", got.head);
    assert!(got.head.contains("\r\nHost: docs.example\r\n"), "{}", got.head);
    assert!(got.head.contains("\r\nX-CamelCase: 1\r\n"), "{}", got.head);
    assert!(!got.head.to_lowercase().contains("hop"), "{}", got.head);
    assert_eq!(got.body, "hello");
    assert_eq!(running.counters.requests(End::Answered), 1);
}

#[test]
fn what_is_safe_is_tried_again_and_what_is_not_is_not() {
    let server = Server::answering(&[SICK, SICK, GOOD]);
    let running = gateway(server.at, options());
    assert!(ask(running.at, "GET /", "").unwrap().ends_with("good"));
    assert_eq!((server.requests(), running.counters.retries(Reason::ServerError)), (3, 2));

    for (line, headers, requests) in [
        ("POST /", "Content-Length: 0\r\n", 1),
        ("PATCH /", "Content-Length: 0\r\n", 1),
        ("POST /", "Content-Length: 0\r\nIdempotency-Key: a\r\n", 2),
        ("DELETE /", "", 2),
        ("HEAD /", "", 2),
    ] {
        let server = Server::answering(&[SICK, GOOD]);
        let running = gateway(server.at, options());
        let answer = ask(running.at, line, headers).unwrap();
        let status = if requests == 1 { "HTTP/1.1 503" } else { "HTTP/1.1 200" };
        assert!(answer.starts_with(status), "{line}: {answer}");
        assert_eq!(server.requests(), requests, "{line} {headers}");
    }
}

#[test]
fn a_connection_that_breaks_is_tried_again_only_where_that_is_safe() {
    let breaks_once = |mut script: Script| {
        let first = script.number == 0;
        while script.read().is_some() {
            if first {
                return script.reset();
            }
            script.answer("200 OK", "", "good");
        }
    };
    let server = Server::start(breaks_once);
    let running = gateway(server.at, options());
    assert!(ask(running.at, "GET /", "").unwrap().ends_with("good"));
    assert_eq!(running.counters.retries(Reason::Broken), 1);

    let server = Server::start(breaks_once);
    let running = gateway(server.at, options());
    let answer = ask(running.at, "POST /", "Content-Length: 0\r\n");
    assert!(is_reset(&answer), "as without a gateway: {answer:?}");
    assert_eq!(server.requests(), 1);
    assert_eq!(running.counters.requests(End::Failed), 1);
}

#[test]
fn the_service_says_when_and_what_is_too_late_is_passed_on_at_once() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let soon: &'static [_] = if status.starts_with('5') {
            &[("503 Service Unavailable", "Retry-After: 1\r\n", ""), GOOD]
        } else {
            &[("429 Too Many Requests", "Retry-After: 1\r\n", ""), GOOD]
        };
        let server = Server::answering(soon);
        let running = gateway(server.at, options());
        let begin = Instant::now();
        assert!(ask(running.at, "GET /", "").unwrap().ends_with("good"));
        assert!(begin.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.requests(), 2);
    }
    let server = Server::answering(&[("429 Too Many Requests", "Retry-After: 60\r\n", "later")]);
    let running = gateway(server.at, options());
    let begin = Instant::now();
    let answer = ask(running.at, "GET /", "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("Retry-After: 60"), "{answer}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_sick_service_is_not_asked_much_more_often_than_a_well_one() {
    let server = Server::answering(&[SICK]);
    let running = gateway(server.at, options());
    for _ in 0..30 {
        assert!(ask(running.at, "GET /", "").unwrap().starts_with("HTTP/1.1 503"));
    }
    // A fifth of 30 and 5, or as many again if the window turned meanwhile.
    assert!((41..=52).contains(&server.requests()), "{}", server.requests());
}

#[test]
fn an_answer_arrives_in_pieces_as_it_comes() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |mut script| {
        script.read();
        script.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        if wait.lock().unwrap().recv_timeout(LIMIT).is_ok() {
            script.say("3\r\ntwo\r\n0\r\n\r\n");
        }
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    client.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    while !said.contains("one") {
        let mut piece = [0; 512];
        let length = client.read(&mut piece).unwrap();
        assert_ne!(length, 0, "{said}");
        said.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    assert!(!said.contains("two"));
    go.send(()).unwrap();
    client.read_to_string(&mut said).unwrap();
    assert!(said.contains("two") && said.ends_with("0\r\n\r\n"), "{said}");
}

#[test]
fn an_answer_that_is_cut_off_does_not_look_whole() {
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let server = Server::start(move |mut script| {
            script.read();
            script.say(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n"));
            thread::sleep(Duration::from_millis(100));
            script.reset();
        });
        let running = gateway(server.at, options());
        let answer = ask(running.at, "GET /", "");
        assert!(is_reset(&answer), "{framing}: {answer:?}");
        assert_eq!(server.requests(), 1, "an answer that has begun is never asked for again");
    }
}

#[test]
fn one_connection_carries_many_calls_and_a_dead_one_is_replaced() {
    let server = Server::start(|mut script| {
        let first = script.number == 0;
        for _ in 0..if first { 2 } else { 9 } {
            if script.read().is_none() {
                return;
            }
            script.answer("200 OK", "", "good");
        }
        // Closed while it is idle, without a word.
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    for number in 0..4 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut said = String::new();
        while !said.ends_with("good") {
            let mut piece = [0; 512];
            let length = client.read(&mut piece).unwrap();
            assert_ne!(length, 0, "call {number}: {said}");
            said.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    assert_eq!(server.requests(), 4);
}

#[test]
fn calls_that_are_sent_ahead_are_answered_in_order() {
    let server = Server::start(|mut script| {
        while let Some(got) = script.read() {
            let path = got.head.split(' ').nth(1).unwrap().to_owned();
            script.answer("200 OK", "", &path);
        }
    });
    let running = gateway(server.at, options());
    let both = "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(running.at, both).unwrap();
    let (one, two) = (answer.find("/one").unwrap(), answer.find("/two").unwrap());
    assert!(one < two && answer.ends_with("/two"), "{answer}");
}

#[test]
fn old_clients_are_answered_too() {
    let server = Server::answering(&[GOOD]);
    let running = gateway(server.at, options());
    let answer = exchange(running.at, "GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("good"), "{answer}");
    assert!(server.heads()[0].starts_with("GET / HTTP/1.1\r\n"), "{:?}", server.heads());
}
