//! Where calls of a service go instead of straight to it: to a fallback while its breaker is OPEN, and
//! through guardd's gateway.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One place of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A server of the user's.
    Address(SocketAddr),
    /// Files of this directory, served by guardd for plain HTTP.
    Static(PathBuf),
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Static(directory) => write!(f, "static:{}", directory.display()),
        }
    }
}

/// The fallbacks of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackPlan {
    /// The first that answers is used; empty = there is none.
    pub places: Vec<Fallback>,
    /// How often they are tried while all breakers of the service are CLOSED.
    pub check_every: Duration,
}

/// The gateway of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// For how long after it has become stale a kept answer may stand in for a failing service; `None`
    /// = no answer is kept.
    pub stale_if_error: Option<Duration>,
    /// Bytes for kept answers.
    pub cache_bytes_max: u64,
}
