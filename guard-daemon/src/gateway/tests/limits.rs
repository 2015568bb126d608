//! Clients that are slow, silent, many or speak nonsense; and a gateway that is told to stop.

use super::*;

fn good() -> Server {
    Server::answering(&[("200 OK", "", "good")])
}

#[test]
fn nonsense_and_silence_hold_nobody_up() {
    let server = good();
    let running = gateway(server.at, Options { protocol: Protocol::Http, ..options() });
    let silent: Vec<Plain> = (0..100).map(|_| connect(running.at)).collect();
    let mut slow = connect(running.at);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap();
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Big: {}\r\n\r\n", "a".repeat(200_000));
    assert!(!exchange(running.at, &huge).unwrap_or_default().contains("200 OK"));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(1_000));
    assert!(!exchange(running.at, &many).unwrap_or_default().contains("200 OK"));
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\
                Connection: close\r\n\r\n0\r\n\r\n";
    // One framing or none: never two readings of one request.
    let smuggled = exchange(running.at, both).unwrap_or_default();
    let heads = server.heads().concat().to_lowercase();
    let two = heads.contains("content-length: 3") && heads.contains("transfer-encoding");
    assert!(!two, "{smuggled} {heads}");
    assert!(ask(running.at, "GET /", "").unwrap().ends_with("good"));
    drop((silent, slow));
}

#[test]
fn whoever_was_not_redirected_is_reset() {
    let server = good();
    let running = gateway(server.at, options());
    running.bulkhead.store(0, Ordering::SeqCst);
    assert!(is_reset(&ask(running.at, "GET /", "")));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn one_agents_flood_leaves_room_for_another() {
    let server = good();
    let running = gateway(server.at, options());
    // As guardd does at its start: each connection here has both its ends in this process.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files).unwrap();
    let flood: Vec<Plain> = (0..PLACES).map(|_| connect(running.at)).collect();
    let until = Instant::now() + LIMIT;
    while running.counters.open() < PLACES as u64 {
        assert!(Instant::now() < until, "{}", running.counters.open());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(is_reset(&ask(running.at, "GET /", "")));
    assert_eq!(running.counters.refused(), 1);
    running.bulkhead.store(9, Ordering::SeqCst);
    assert!(ask(running.at, "GET /", "").unwrap().ends_with("good"));
    drop(flood);
}

#[test]
fn a_retired_one_takes_nobody_in_and_breaks_nothing() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |mut script| {
        script.read();
        script.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
        if wait.lock().unwrap().recv_timeout(LIMIT).is_ok() {
            script.say("two");
        }
    });
    let mut running = gateway(server.at, options());
    let mut client = connect(running.at);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut said = String::new();
    while !said.ends_with("one") {
        let mut piece = [0; 512];
        let length = client.read(&mut piece).unwrap();
        said.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    running.stop.send_replace(Stop::Retire);
    let until = Instant::now() + LIMIT;
    while Plain::connect(running.at).is_ok() {
        assert!(Instant::now() < until, "still taken in");
        thread::sleep(Duration::from_millis(10));
    }
    // Longer than an end would have given it.
    thread::sleep(Duration::from_secs(4));
    go.send(()).unwrap();
    client.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("onetwo"), "{said}");
    let task = running.task.take().unwrap();
    let ended = running.runtime.block_on(async { tokio::time::timeout(LIMIT, task).await });
    assert!(ended.is_ok(), "it ends with its last connection");
}

#[test]
fn an_end_comes_in_time_whoever_is_connected() {
    let server = Server::start(|mut script| {
        script.read();
        script.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
        let mut rest = Vec::new();
        drop(script.stream.read_to_end(&mut rest));
    });
    let mut running = gateway(server.at, options());
    let mut client = connect(running.at);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut raw = connect(running.at);
    raw.write_all(b"\0").unwrap();
    client.read_exact(&mut [0; 16]).unwrap();
    let begin = Instant::now();
    running.stop.send_replace(Stop::End);
    let task = running.task.take().unwrap();
    let ended = running.runtime.block_on(async { tokio::time::timeout(LIMIT, task).await });
    assert!(ended.is_ok() && begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    assert!(ended.is_err(), "cut off, and it shows");
}
