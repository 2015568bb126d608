//! What all threads of one server share: the behaviour in force, the script, the counts, and a
//! handle on every open connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Behaviour;
use super::wire::{Order, Wake};

/// What a server has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Of these, open now.
    pub open: u64,
    /// Requests read to their end; with `echo`, pieces read; UDP datagrams.
    pub requests: u64,
    /// Answers sent to their end.
    pub answers: u64,
    /// The same by the peer's address and port.
    pub peers: BTreeMap<SocketAddr, PeerCounts>,
}

/// What a server has seen from one peer address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    script: VecDeque<Behaviour>,
    counts: Counts,
    open: BTreeMap<u64, Arc<Wake>>,
    next: u64,
}

impl Shared {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        let counts = Counts::default();
        let state =
            State { behaviour, script: VecDeque::new(), counts, open: BTreeMap::new(), next: 0 };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, behaviour: Behaviour) {
        let mut state = self.lock();
        state.script.clear();
        state.behaviour = behaviour;
    }

    pub(super) fn push(&self, behaviour: Behaviour) {
        self.lock().script.push_back(behaviour);
    }

    /// What to do with a connection that was just accepted, if that is decided already: a step
    /// of the script is used up only if it is about accepting.
    pub(super) fn on_accept(&self) -> Option<Behaviour> {
        let mut state = self.lock();
        match state.script.front() {
            Some(step) if step.is_on_accept() => state.script.pop_front(),
            Some(_) => None,
            None => Some(state.behaviour.clone()).filter(Behaviour::is_on_accept),
        }
    }

    /// What to do with a request: the next step of the script, or the standing behaviour.
    pub(super) fn on_request(&self) -> Behaviour {
        let mut state = self.lock();
        state.script.pop_front().unwrap_or_else(|| state.behaviour.clone())
    }

    /// Whether bytes are to be sent back without reading HTTP.
    pub(super) fn is_echo(&self) -> bool {
        let state = self.lock();
        *state.script.front().unwrap_or(&state.behaviour) == Behaviour::Echo
    }

    pub(super) fn opened(&self, peer: SocketAddr, wake: Arc<Wake>) -> u64 {
        let mut state = self.lock();
        state.counts.connections += 1;
        state.counts.open += 1;
        state.counts.peers.entry(peer).or_default().connections += 1;
        state.next += 1;
        let id = state.next;
        state.open.insert(id, wake);
        id
    }

    pub(super) fn closed(&self, id: u64) {
        let mut state = self.lock();
        state.open.remove(&id);
        state.counts.open -= 1;
    }

    pub(super) fn requested(&self, peer: SocketAddr) {
        let mut state = self.lock();
        state.counts.requests += 1;
        state.counts.peers.entry(peer).or_default().requests += 1;
    }

    pub(super) fn answered(&self) {
        self.lock().counts.answers += 1;
    }

    pub(super) fn order_all(&self, order: Order) {
        for wake in self.lock().open.values() {
            wake.order(order);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }
}
