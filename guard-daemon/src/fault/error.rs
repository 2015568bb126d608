//! Why a fault was not injected.

use thiserror::Error;

use crate::control::api::ErrorBody;
use crate::journal::BpffsError;
use crate::kernel::KernelError;
use crate::net::delay::DelayError;
use crate::net::iptables::IptablesError;

/// An error of fault injection. Nothing of the fault is on the host after one.
#[derive(Debug, Error)]
pub enum FaultError {
    /// The request itself is wrong.
    #[error("{0}")]
    Request(String),
    /// Faults are halted.
    #[error("faults are halted: {0}")]
    Halted(String),
    /// No delay engine can do it here.
    #[error("latency cannot be injected here: {0}")]
    Engine(String),
    /// Too many at once.
    #[error("{0}")]
    Full(String),
    /// The kernel did not take it.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The delay queue did not start.
    #[error(transparent)]
    Delay(#[from] DelayError),
    /// The netfilter rule could not be made.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
    /// The place of the gates could not be made.
    #[error(transparent)]
    Bpffs(#[from] BpffsError),
}

impl FaultError {
    /// As it goes to the operator: 2 = the request was wrong, 1 = the host says no.
    pub fn body(&self) -> ErrorBody {
        let (help, exit_code) = match self {
            Self::Request(_) => ("guardctl fault inject --help", 2),
            Self::Halted(_) => ("guardctl resume", 1),
            Self::Full(_) => ("guardctl fault clear ID", 1),
            Self::Engine(_) => ("guardctl doctor", 1),
            Self::Kernel(_) | Self::Delay(_) | Self::Iptables(_) | Self::Bpffs(_) => {
                ("guardctl doctor; the log of guardd says more", 1)
            }
        };
        ErrorBody { error: self.to_string(), help: help.to_owned(), exit_code }
    }
}
