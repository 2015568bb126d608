//! The engine of paced calls: the thread behind a [`super::DelayQueue`] whose packets each have a time
//! of their own, which the kernel's gate has written down by connection. What a connection sends
//! stays in order; connections do not wait for one another.
//!
//! It never drops a packet, and whatever ends it, it first lets everything go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::Shared;
use super::engine::stay_on_this_processor;
use super::queue::{Packet, Queue};
use crate::kernel::{FlowTimes, boottime_ns};

/// Datagrams taken in a row before due packets get their turn.
const RECEIVE_BURST: usize = 256;

/// Packets that are held, by the time at which they go and the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    packets: BTreeMap<(u64, u64), u32>,
    came: u64,
}

impl Held {
    /// Takes a packet in.
    pub(super) fn hold(&mut self, id: u32, until_ns: u64) {
        self.came += 1;
        self.packets.insert((until_ns, self.came), id);
    }

    /// Takes out the next one that is due.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        let first = self.packets.first_entry().filter(|entry| entry.key().0 <= now_ns)?;
        Some(first.remove())
    }

    /// When the next one is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.packets.first_key_value().map(|((until_ns, _), _)| *until_ns)
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }
}

/// The engine's state.
pub(super) struct PacedEngine {
    queue: Queue,
    flows: FlowTimes,
    held: Held,
    shared: Arc<Shared>,
    packets: Vec<Packet>,
    transparent: bool,
}

impl PacedEngine {
    pub(super) fn new(queue: Queue, flows: FlowTimes, shared: Arc<Shared>) -> Self {
        let packets = Vec::with_capacity(RECEIVE_BURST);
        Self { queue, flows, held: Held::default(), shared, packets, transparent: false }
    }

    /// Runs until it is told to stop or the queue fails; lets everything go in either case.
    pub(super) fn run(mut self) -> io::Result<()> {
        stay_on_this_processor();
        let outcome = self.serve();
        self.shared.released.fetch_add(self.held.len() as u64, Relaxed);
        self.shared.held.store(0, Relaxed);
        let unbound = self.queue.release_all_and_unbind();
        outcome.and(unbound)
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let control = self.shared.control();
            if control.stop {
                return Ok(());
            }
            self.shared.heard.store(control.renewals, Relaxed);
            self.receive()?;
            let ended = control.pass_from().is_some_and(|from| from <= Instant::now());
            if ended != self.transparent {
                self.queue.set_transparent(ended)?;
                self.transparent = ended;
            }
            if ended && self.held.len() > 0 {
                self.shared.released.fetch_add(self.held.len() as u64, Relaxed);
                self.held = Held::default();
                self.queue.accept_all()?;
            }
            while let Some(id) = self.held.take_due(boottime_ns()) {
                self.shared.released.fetch_add(1, Relaxed);
                self.queue.accept_one(id)?;
            }
            self.shared.held.store(self.held.len(), Relaxed);
            self.wait(if ended { None } else { control.pass_from() })?;
        }
    }

    /// Takes in what the kernel has for us. A packet of which nothing is known goes at once.
    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..RECEIVE_BURST {
            if self.queue.receive(&mut self.packets)? == super::queue::Received::Nothing {
                break;
            }
        }
        for packet in self.packets.drain(..) {
            let until_ns = packet.flow.and_then(|flow| self.flows.until_ns(&flow)).unwrap_or(0);
            self.held.hold(packet.id, until_ns);
        }
        self.shared.max_held.fetch_max(self.held.len(), Relaxed);
        Ok(())
    }

    /// Sleeps until a packet or an order comes, a packet is due, or the lease is over.
    fn wait(&self, pass_from: Option<Instant>) -> io::Result<()> {
        let due = self.held.next_ns().map(|at| at.saturating_sub(boottime_ns()));
        let lease = pass_from.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = [due.map(Duration::from_nanos), lease].into_iter().flatten().min();
        let mut fds = [
            PollFd::new(self.queue.socket().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Level-triggered: read it empty, or it would ring for ever.
        match self.shared.bell.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_stays_in_order_and_others_do_not_wait_for_it() {
        let mut held = Held::default();
        for (id, until_ns) in [(1, 300), (2, 300), (3, 100), (4, 0)] {
            held.hold(id, until_ns);
        }
        let mut due = |now_ns| std::iter::from_fn(|| held.take_due(now_ns)).collect::<Vec<_>>();
        assert_eq!(due(99), [4], "of which nothing is known goes at once");
        assert_eq!(due(299), [3]);
        assert_eq!(due(300), [1, 2]);
        assert_eq!((held.len(), held.next_ns()), (0, None));
    }
}
