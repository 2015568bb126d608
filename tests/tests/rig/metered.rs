//! A server that counts every payload byte it reads and writes. Its answer comes in one piece.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: keep-alive\r\n\r\n0123456789abcdef";
/// How soon a thread notices that it is to end.
const POLL: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    connections: AtomicU64,
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// A running server; stopped on drop.
pub struct Metered {
    pub addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Metered {
    pub fn start(addresses: &[&str]) -> Self {
        let counts = Arc::new(Counts::default());
        let (mut bound, mut acceptors) = (Vec::new(), Vec::new());
        for address in addresses {
            let listener = TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            bound.push(listener.local_addr().unwrap());
            let counts = Arc::clone(&counts);
            acceptors.push(thread::spawn(move || accept(&listener, &counts)));
        }
        Self { addresses: bound, counts, acceptors }
    }

    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Payload bytes read and written.
    pub fn bytes(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::SeqCst);
        (load(&self.counts.received), load(&self.counts.sent))
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::SeqCst);
        for acceptor in self.acceptors.drain(..) {
            acceptor.join().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, counts: &Arc<Counts>) {
    let mut connections = Vec::new();
    while !counts.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                let counts = Arc::clone(counts);
                connections.push(thread::spawn(move || serve(stream, &counts)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL / 10),
            Err(error) => panic!("accept: {error}"),
        }
    }
    for connection in connections {
        connection.join().unwrap();
    }
}

fn serve(mut stream: TcpStream, counts: &Counts) {
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(POLL)).unwrap();
    let (mut buffer, mut received) = ([0; 16_384], Vec::new());
    while !counts.stop.load(Ordering::SeqCst) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                counts.received.fetch_add(count as u64, Ordering::SeqCst);
                received.extend_from_slice(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            // Reset by an agent that was ended: its business.
            Err(_) => return,
        }
        if received.ends_with(b"\r\n\r\n") {
            received.clear();
            counts.requests.fetch_add(1, Ordering::SeqCst);
            // Before the write: who has the answer finds it counted.
            counts.sent.fetch_add(ANSWER.len() as u64, Ordering::SeqCst);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
