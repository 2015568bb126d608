//! cgroup v2: where bulkheads live, how they are made or adopted, who is in them, how they go.
//!
//! The only module that touches cgroup files. It never removes a cgroup that guard did not make,
//! never moves a process without being told its pid, and never follows a path out of the root
//! that the configuration names. Whatever it puts on the host is announced to the caller first,
//! so that the caller can write the undo journal.

mod bulkhead;
mod delegate;
mod error;
mod hierarchy;
mod hooks;
mod ids;
mod kill;
pub mod limits;
mod members;
mod mountinfo;
mod pattern;
mod remove;
mod root;
pub mod systemd;
mod walk;
mod watch;

pub use bulkhead::{Bulkhead, Made};
pub use delegate::take_back;
pub use error::{CgroupError, Result};
pub use hierarchy::Hierarchy;
pub use hooks::{HOOKS, end_hook, join};
pub use kill::End;
pub use members::{NetworkNamespace, Procs};
pub use pattern::{CgroupPattern, Scan, WILDCARDS};
pub use remove::{Removed, remove_if_empty, remove_made};
pub use root::Root;
pub use watch::Watcher;

#[cfg(test)]
mod tests;
