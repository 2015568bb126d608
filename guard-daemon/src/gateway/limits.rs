//! What clients may take.

use std::time::Duration;

/// Connections of one listener at once; more are reset.
pub(super) const CONNECTIONS_MAX: usize = 2_048;
/// Connections of one bulkhead to one service's gateway; more are reset. One agent's flood leaves room
/// for the others.
pub(super) const BULKHEAD_CONNECTIONS_MAX: usize = 512;
/// Longest wait for the head of a request, the pause before it included: a pooled connection may be
/// idle for longer than any server usually allows.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_mins(10);
/// Bytes of a head.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Headers of a head.
pub(super) const HEADERS_MAX: usize = 256;
/// What connections get to come to their end at a stop.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// Pause after an accept that failed: out of descriptors, for one.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a server that stops takes in those who were sent to it just before.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(50);
