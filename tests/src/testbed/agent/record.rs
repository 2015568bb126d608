//! What the agent prints: one JSON line per call, one at its end. Times are microseconds with
//! fractions, because a refused connect takes less than ten.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the call, from 1, in the order in which calls started.
    pub seq: u64,
    /// Target, as given.
    pub target: String,
    /// Start, nanoseconds of the Unix epoch.
    pub start_unix_ns: u64,
    /// From the start of `connect()` to its result; absent on a reused connection.
    pub connect_us: Option<f64>,
    /// From the first byte of the request sent to the first byte of the answer received.
    pub ttfb_us: Option<f64>,
    /// From the start of the call to its end, with the connect and the whole answer.
    pub total_us: f64,
    /// `ok`, `http_503`, an errno (`ECONNREFUSED`), `timeout` (the agent's own patience), or
    /// `eof` (the peer closed before the answer was complete).
    pub outcome: String,
    /// The errno, 0 if there was none.
    pub errno: i32,
    /// In which phase it ended: `connect`, `send`, `receive`, `done`.
    pub phase: String,
    /// Port of this side; 0 if the connect failed.
    pub local_port: u16,
    /// Address and port of the peer, as connected to.
    pub peer: String,
    /// Whether the connection was kept from an earlier call.
    pub reused: bool,
    /// Payload bytes of the answer.
    pub received_bytes: u64,
}

impl Record {
    /// Whether the call got a good answer.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == "ok"
    }
}

/// All calls together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Always `true`: tells this line from a [`Record`].
    pub summary: bool,
    /// Calls that ended.
    pub calls: u64,
    /// Calls that had not ended when the agent was stopped.
    pub unfinished: u64,
    /// Calls by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// From the first call to the end.
    pub seconds: f64,
    /// Payload bytes of all answers.
    pub received_bytes: u64,
    /// Median of `total_us` of good calls; absent without any, as the next ones.
    pub p50_us: Option<f64>,
    /// 95th percentile.
    pub p95_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
    /// Median of `connect_us` of good calls on new connections.
    pub connect_p50_us: Option<f64>,
    /// Median of `ttfb_us` of good calls.
    pub ttfb_p50_us: Option<f64>,
}

/// Outcome and errno of a failed system call.
pub(super) fn outcome(error: &io::Error) -> (String, i32) {
    match error.raw_os_error() {
        // What read() and write() say when SO_RCVTIMEO or SO_SNDTIMEO is over: our own patience.
        Some(errno) if errno == Errno::EAGAIN as i32 => ("timeout".to_owned(), 0),
        Some(errno) => (format!("{:?}", Errno::from_raw(errno)), errno),
        None if error.kind() == io::ErrorKind::TimedOut => ("timeout".to_owned(), 0),
        None if error.kind() == io::ErrorKind::UnexpectedEof => ("eof".to_owned(), 0),
        None => (format!("{:?}", error.kind()), 0),
    }
}
