//! Why guardd did not start, or did not do what it was asked.

use std::path::PathBuf;

use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::config::ConfigErrors;
use crate::control::BindError;
use crate::journal::{BpffsError, LogError};
use crate::kernel::KernelError;

/// An error of the daemon as a whole.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The configuration is wrong; already rendered for people.
    #[error("the configuration cannot be used")]
    Config(ConfigErrors),
    /// Kernel or process lack something.
    #[error("{}", .0.iter().map(|(why, cure)| format!("{why}; cure: {cure}")).collect::<Vec<_>>().join("\n"))]
    Unable(Vec<(String, String)>),
    /// State directory and undo log.
    #[error("state directory {}: {source}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<LogError>,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The metrics address.
    #[error(
        "cannot listen on {address} (daemon.metrics_listen): {source}; choose another address, or \
         \"off\""
    )]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A bulkhead could not be set up.
    #[error("bulkhead {name}: {source}")]
    Bulkhead {
        /// Its name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<DaemonError>,
    },
    /// What the next daemon is to know could not be written down.
    #[error("cannot write {}: {source}; make room, or check who may write there", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The bpffs of an earlier daemon.
    #[error(transparent)]
    Bpffs(#[from] BpffsError),
    /// Limits that this host cannot enforce, and `daemon.strict`.
    #[error("daemon.strict is set, and not every limit is enforced:\n{}", .0.join("\n"))]
    Limits(Vec<String>),
    /// Signals, threads, runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl DaemonError {
    /// guardd's exit code: 2 = bad input, 1 = this host says no.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            _ => 1,
        }
    }
}
