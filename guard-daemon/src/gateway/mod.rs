//! Servers inside guardd, for connections that the kernel has redirected to it: files that answer in a
//! service's place (`files`), and the gateway, which asks the service in the agent's place (`serve`).
//!
//! Data: an agent's connect → the kernel writes over its address → `accept` takes the connection in and
//! asks what it was for → HTTP/1 in clear text goes to `session` (`attempts`, `retry`, `cache`), all
//! else to `passthrough` → `outward`, guardd's own connection to the service.
//!
//! They serve loopback alone, and only connections of which the kernel knows what was asked for. A
//! client that is slow, silent or speaks nonsense holds its own connection and nothing else. They
//! never hold the daemon's state, and never keep what they cannot bound.

mod accept;
mod attempts;
mod cache;
mod counters;
pub mod files;
mod headers;
mod json;
mod limits;
mod outward;
mod passthrough;
mod retry;
mod service;
mod session;
mod sniff;
mod tee;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::HeaderName;

pub use accept::Stop;
pub use counters::{Counters, End};
pub use retry::{Policies, Reason};
pub use service::{Gateway, Options, serve};

use crate::kernel::Asked;

/// Says how old an answer is that is given because the service fails, in seconds.
const STALE_HEADER: HeaderName = HeaderName::from_static("x-guard-stale");

/// What the client of a connection asked for, by its address; `None` = nothing is known, and the
/// connection is reset. It never blocks.
pub type Lookup = Arc<dyn Fn(SocketAddr) -> Option<Asked> + Send + Sync>;
