//! The control interface: JSON over HTTP/1 on a Unix socket, for `guardctl` on this host.
//!
//! `api` is the contract, `bind` makes the socket, `access` and `peer` say who may use it,
//! `server` and `routes` carry requests to a [`Handler`], which the daemon implements. Nothing
//! in here decides about bulkheads or faults, and nothing of a request reaches the handler
//! before the peer's credentials were checked.

mod access;
mod acl;
pub mod api;
mod bind;
mod extract;
mod follow;
mod handler;
mod peer;
mod query;
mod reply;
mod routes;
mod server;

pub use access::{AccessRule, Owners, Role, SocketGroup};
pub use acl::let_in;
pub use bind::{BindError, bind, remove_dead, unlink};
pub use handler::{Handler, JoinOrder};
pub use peer::Peer;
pub use server::serve;

/// Requests with a larger body are answered with 413.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Name of the group whose members may use the socket.
pub const GROUP_NAME: &str = "guard";
