//! Accepts connections on one address, and answers datagrams on one; each in a thread of its
//! own that ends when its handle is dropped.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::poll::PollFlags;

use super::Behaviour;
use super::connection;
use super::shared::Shared;
use super::wire::{Order, Wake};

/// A thread that is ended and joined on drop.
#[derive(Debug)]
pub(super) struct Worker {
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(name: String, work: impl FnOnce(&Wake) + Send + 'static) -> io::Result<Self> {
        let wake = Arc::new(Wake::new()?);
        let inner = Arc::clone(&wake);
        let thread = thread::Builder::new().name(name).spawn(move || work(&inner))?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.wake.order(Order::Close);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("testbed: a thread of the server panicked");
        }
    }
}

/// Binds `address` and accepts; returns the address with its real port.
pub(super) fn tcp(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<(SocketAddr, Worker)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let shared = Arc::clone(shared);
    let worker = Worker::start(format!("accept {address}"), move |wake| {
        while wake.wait(Some((&listener, PollFlags::POLLIN)), None).is_ok() {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(error) = start(stream, peer, &shared) {
                        eprintln!("testbed: cannot serve {peer}: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer has given up while it was queued.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => eprintln!("testbed: accept on {address}: {error}"),
            }
        }
    })?;
    Ok((address, worker))
}

fn start(stream: std::net::TcpStream, peer: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let wake = Arc::new(Wake::new()?);
    let id = shared.opened(peer, Arc::clone(&wake));
    let shared_inner = Arc::clone(shared);
    // Small stacks: a benchmark may hold thousands of connections.
    let spawned = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        connection::serve(stream, peer, &wake, &shared_inner);
        shared_inner.closed(id);
    });
    spawned.map(drop).inspect_err(|_| shared.closed(id))
}

/// Binds `address` and sends datagrams back, unless the behaviour in force is not to answer.
pub(super) fn udp(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<(SocketAddr, Worker)> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let shared = Arc::clone(shared);
    let worker = Worker::start(format!("udp {address}"), move |wake| {
        let mut buffer = vec![0; 64 * 1024];
        while wake.wait(Some((&socket, PollFlags::POLLIN)), None).is_ok() {
            // An error is the ICMP answer to an earlier datagram of ours: the peer is gone.
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            shared.requested(peer);
            let answers = match shared.on_request() {
                Behaviour::Answer(answer) => wake.wait(None, Some(answer.first_byte_after)).is_ok(),
                Behaviour::Echo => true,
                _ => false,
            };
            if answers && socket.send_to(&buffer[..length], peer).is_ok() {
                shared.answered();
            }
        }
    })?;
    Ok((address, worker))
}
