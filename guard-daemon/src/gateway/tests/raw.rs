//! What is no HTTP/1 request passes through: bytes, ends, resets.

use super::*;

#[test]
fn a_server_that_speaks_first_is_heard_and_ends_are_those_of_the_other_side() {
    let server = Server::start(|mut script| {
        script.say("220 ready\r\n");
        let mut all = String::new();
        script.stream.read_to_string(&mut all).unwrap();
        script.say(&format!("got {all}"));
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    client.write_all(b"EHLO a\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got EHLO a\r\n");
    assert_eq!(running.counters.passed(), 1);
}

#[test]
fn tls_is_not_touched() {
    let hello = [&b"\x16\x03\x01\x00\x2a\x01"[..], &[7; 400]].concat();
    let server = Server::start(|mut script| {
        let mut bytes = [0; 406];
        script.stream.read_exact(&mut bytes).unwrap();
        script.stream.get_mut().write_all(&bytes).unwrap();
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    client.write_all(&hello).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert_eq!(back, hello);
}

#[test]
fn a_reset_is_a_reset_on_both_sides() {
    let server = Server::start(|mut script| {
        let mut bytes = [0; 4];
        script.stream.read_exact(&mut bytes).unwrap();
        script.reset();
    });
    let running = gateway(server.at, options());
    assert!(is_reset(&exchange(running.at, "\0\0\0\0")));

    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |mut script| {
        script.say("hi");
        let mut rest = Vec::new();
        let ended = script.stream.read_to_end(&mut rest).map_err(|error| error.kind());
        tell.lock().unwrap().send(ended).unwrap();
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    client.write_all(b"\0").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    reset_at_the_end(&client);
    drop(client);
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_service_that_is_not_there_yet_is_connected_to_again() {
    for bytes in
        ["\0", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    {
        let reserved = PlainListener::bind("127.0.0.1:0").unwrap();
        let at = reserved.local_addr().unwrap();
        drop(reserved);
        let mut options = options();
        options.policies.network_error = policy("network_error", 60);
        let running = gateway(at, options);
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            let listener = PlainListener::bind(at).unwrap();
            Server::start_on(listener, |mut script| {
                let length = script.stream.fill_buf().unwrap().len();
                script.stream.consume(length);
                script.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
            })
        });
        let answer = exchange(running.at, bytes).unwrap();
        assert!(answer.ends_with("good"), "{bytes:?}: {answer}");
        assert!(running.counters.retries(Reason::Connect) >= 1);
        let server = late.join().unwrap();
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_service_that_stays_away_is_a_reset() {
    let reserved = PlainListener::bind("127.0.0.1:0").unwrap();
    let at = reserved.local_addr().unwrap();
    drop(reserved);
    let mut options = options();
    options.policies.network_error.max_retries = 2;
    let running = gateway(at, options);
    assert!(is_reset(&exchange(running.at, "\0")));
    assert!(is_reset(&ask(running.at, "GET /", "")));
    assert_eq!(running.counters.requests(End::Failed), 1);
}

#[test]
fn a_web_socket_goes_on_as_bytes() {
    let server = Server::start(|mut script| {
        let got = script.read().unwrap();
        assert!(got.head.to_lowercase().contains("\r\nupgrade: websocket\r\n"), "{}", got.head);
        script.say(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let mut bytes = [0; 4];
        script.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"ping");
        script.say("pong");
    });
    let running = gateway(server.at, options());
    let mut client = connect(running.at);
    client
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(client.read_line(&mut head).unwrap(), 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.get_mut().write_all(b"ping").unwrap();
    let mut pong = String::new();
    client.read_to_string(&mut pong).unwrap();
    assert_eq!(pong, "pong");
}
