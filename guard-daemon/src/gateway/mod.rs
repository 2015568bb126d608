//! Servers inside guardd, for connections that the kernel has redirected to it: files that answer in a
//! service's place (`files`), and the gateway, which asks the service in the agent's place.
//!
//! They serve loopback alone, and only connections of which the kernel knows what was asked for. A
//! client that is slow, silent or speaks nonsense holds its own connection and nothing else. They
//! never hold the daemon's state, and never keep what they cannot bound.

pub mod files;
mod json;
mod limits;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::kernel::Asked;

/// What the client of a connection asked for, by its address; `None` = nothing is known, and the
/// connection is closed. It may block for a moment.
pub type Lookup = Arc<dyn Fn(SocketAddr) -> Option<Asked> + Send + Sync>;
