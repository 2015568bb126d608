//! What can go wrong between guardd and the kernel, with the cure where one is known.

use thiserror::Error;

/// An error of the kernel side.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The object could not be loaded.
    #[error("the kernel programs could not be loaded: {detail}; {cure}")]
    Load {
        /// What aya says.
        detail: String,
        /// What helps.
        cure: &'static str,
    },
    /// One program was refused.
    #[error("the kernel refused program {program}: {detail}; {cure}")]
    Program {
        /// Which program.
        program: String,
        /// The error and the end of the verifier's log.
        detail: String,
        /// What helps.
        cure: &'static str,
    },
    /// The object lacks a program or map that this daemon needs: they do not belong together.
    #[error(
        "the embedded object has no {what} named {name}: guardd was built wrongly; build it again"
    )]
    Missing {
        /// `program` or `map`.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// A program could not be attached to a cgroup.
    #[error(
        "{program} could not be attached to {cgroup}: {detail}; a program attached above it \
         without \"allow multi\" blocks it (guardctl doctor), or 64 programs are attached already"
    )]
    Attach {
        /// Which program.
        program: &'static str,
        /// Path of the cgroup.
        cgroup: String,
        /// What the kernel says.
        detail: String,
    },
    /// A map could not be read or written.
    #[error("map {map}: {action} failed: {detail}")]
    Map {
        /// Which map.
        map: &'static str,
        /// What was tried.
        action: &'static str,
        /// What the kernel says.
        detail: String,
    },
    /// A map is full.
    #[error("{what}: {wanted} entries do not fit into {capacity}; use fewer, or wider prefixes")]
    Full {
        /// What was to be stored.
        what: &'static str,
        /// How many.
        wanted: usize,
        /// How many fit.
        capacity: usize,
    },
    /// Anything with a file.
    #[error("{what}: {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl KernelError {
    /// Wraps a map error.
    pub(super) fn map(
        map: &'static str,
        action: &'static str,
    ) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |error| Self::Map { map, action, detail: cause_chain(&error) }
    }
}

/// The cure for a load error, from its errno.
pub(super) fn cure_of(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(err) = cause {
        if let Some(io) = err.downcast_ref::<std::io::Error>() {
            return match io.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    "run guardd as root, or give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
                }
                Some(libc::ENOMEM) => "the kernel has no memory left for the maps",
                Some(libc::ENOSYS) => "this kernel has no bpf() system call; guard needs 5.18+",
                _ => "guard needs Linux 5.18 or newer with BTF; see `guardctl doctor`",
            };
        }
        cause = err.source();
    }
    "guard needs Linux 5.18 or newer with BTF; see `guardctl doctor`"
}

/// An error with all its causes on one line.
pub(super) fn cause_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}
