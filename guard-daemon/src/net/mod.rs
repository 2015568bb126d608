//! What guard does with the host's network stack outside BPF: netfilter rules, the NFQUEUE delay
//! engine, netlink look-ups, socket dumps and names. Everything put on the host here goes through
//! [`crate::journal::UndoLog`] first. It never touches a rule, queue, qdisc or socket that guard
//! did not make, and it sends no packet except DNS queries to the system's own name servers.
//!
//! All of it blocks, [`resolver`] excepted: callers use `spawn_blocking` or threads.

pub mod delay;
pub mod iptables;
pub mod links;
mod netlink;
pub mod qdisc;
pub mod reset;
pub mod resolver;
pub mod sock_diag;
pub mod sock_options;
#[cfg(test)]
pub(crate) mod testing;

pub use netlink::NetlinkError;
