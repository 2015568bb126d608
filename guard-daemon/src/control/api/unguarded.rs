//! Sockets that escape guard, in the answer to `status`.

use serde::{Deserialize, Serialize};

/// A socket that a process of a bulkhead holds and that the bulkhead's hooks do not see, or see in
/// part; or one of the bulkhead that a process outside of it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnguardedSocket {
    /// `made_outside`, `other_bulkhead`, `unseen_kind` or `process_left`.
    pub reason: String,
    /// Process that holds it.
    pub pid: u32,
    /// Its command name.
    pub process: String,
    /// What socket: `tcp`, `udp`, `packet`, `vsock`, `raw`, …
    pub kind: String,
    /// Its own address; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub local: String,
    /// Peer; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
}

impl UnguardedSocket {
    /// One line for people, without the bulkhead.
    pub fn text(&self) -> String {
        let Self { pid, process, kind, local, peer, .. } = self;
        let place = match (local.as_str(), peer.as_str()) {
            ("", "") => String::new(),
            (local, "") => format!(" at {local}"),
            (_, peer) => format!(" to {peer}"),
        };
        let why = match self.reason.as_str() {
            "made_outside" => "made outside the bulkhead",
            "other_bulkhead" => "made in another bulkhead, whose limits and faults it follows",
            "process_left" => "of this bulkhead, but the process has left it",
            _ => "of a kind that breakers and connect faults do not see",
        };
        format!("{process} (pid {pid}) holds a {kind} socket{place} {why}")
    }
}
