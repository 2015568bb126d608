//! A scripted HTTP/1.1, echo and UDP server in threads of the calling process. Its behaviour is
//! switched while it runs; it serves on loopback or inside a test's network namespace only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

mod behaviour;
mod connection;
pub mod control;
mod listener;
mod remote;
mod shared;
mod wire;

pub use behaviour::{Answer, Behaviour};
pub use remote::ServerProcess;
pub use shared::{Counts, PeerCounts};

use crate::wait;
use listener::Worker;
use shared::Shared;
use wire::Order;

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    tcp: Vec<(SocketAddr, Option<Worker>)>,
    udp: Vec<(SocketAddr, Worker)>,
}

impl Server {
    /// Serves TCP on each address; port 0 = a free one. Answers 200 until told otherwise.
    pub fn start(addresses: &[SocketAddr]) -> Result<Self> {
        Self::start_with(addresses, &[], Behaviour::answer(200, 16))
    }

    /// Serves TCP on 127.0.0.1 and a free port.
    pub fn loopback() -> Result<Self> {
        Self::start(&[SocketAddr::from(([127, 0, 0, 1], 0))])
    }

    /// Serves TCP and UDP on these addresses.
    pub fn start_with(tcp: &[SocketAddr], udp: &[SocketAddr], first: Behaviour) -> Result<Self> {
        for address in tcp.iter().chain(udp) {
            ensure!(is_ours(*address), "{address} is neither loopback nor of 198.51.100.0/24");
        }
        let shared = Arc::new(Shared::new(first));
        let mut server = Self { shared, tcp: Vec::new(), udp: Vec::new() };
        for &address in tcp {
            let bound = listener::tcp(address, &server.shared);
            let (address, worker) = bound.with_context(|| format!("cannot listen on {address}"))?;
            server.tcp.push((address, Some(worker)));
        }
        for &address in udp {
            let bound = listener::udp(address, &server.shared);
            server.udp.push(bound.with_context(|| format!("cannot bind UDP {address}"))?);
        }
        Ok(server)
    }

    /// The TCP addresses, with their real ports, in the order asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(address, _)| *address).collect()
    }

    /// The UDP addresses, with their real ports.
    #[must_use]
    pub fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|(address, _)| *address).collect()
    }

    /// The first TCP address.
    pub fn address(&self) -> Result<SocketAddr> {
        self.addresses().first().copied().context("the server has no TCP address")
    }

    /// From now on behaves so; forgets the rest of the script. A request that hangs or is being
    /// answered is not touched.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.set(behaviour);
    }

    /// Behaves so for one request (or accept), after the steps pushed before; then as set.
    pub fn push(&self, behaviour: Behaviour) {
        self.shared.push(behaviour);
    }

    /// Stops listening: connects are refused; open connections go on.
    pub fn refuse(&mut self) {
        for (_, worker) in &mut self.tcp {
            *worker = None;
        }
    }

    /// Listens again on the same ports.
    pub fn listen(&mut self) -> Result<()> {
        for (address, worker) in &mut self.tcp {
            if worker.is_none() {
                let bound = listener::tcp(*address, &self.shared);
                *worker = Some(bound.with_context(|| format!("cannot listen on {address}"))?.1);
            }
        }
        Ok(())
    }

    /// Closes every open connection in good order.
    pub fn close_all(&self) {
        self.shared.order_all(Order::Close);
    }

    /// Resets every open connection.
    pub fn reset_all(&self) {
        self.shared.order_all(Order::Reset);
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.refuse();
        self.udp.clear();
        self.close_all();
        let gone = || self.shared.counts().open == 0;
        if let Err(error) = wait::until("connections to end", Duration::from_secs(5), gone) {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Loopback, or the documentation network that tests use inside their namespaces.
#[must_use]
pub fn is_ours(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => {
            v4.ip().is_loopback() || v4.ip().octets()[..3] == crate::netns::NETWORK
        }
        SocketAddr::V6(v6) => {
            v6.ip().is_loopback() || v6.ip().segments()[..2] == crate::netns::NETWORK_V6
        }
    }
}
