//! The kernel side: the embedded object, its maps and its links. The only module that imports
//! aya. It never decides anything: it loads, attaches, writes what it is told and reads back.
//!
//! Links and maps are pinned (see `pins`): when guardd dies, breakers go on, and the next guardd
//! takes them over. Faults end with it, because nothing renews their lease. Where there is no bpffs,
//! links belong to the process, and the kernel takes the programs off when it dies.

mod attach;
#[cfg(feature = "bench")]
pub mod bench;
mod breakers;
mod btf;
mod clock;
mod creations;
mod error;
mod events;
mod fallbacks;
mod faults;
mod features;
mod gates;
mod hygiene;
mod lease;
mod limits;
mod load;
mod memory;
mod nesting;
mod netns;
mod pacing;
mod pins;
mod policy;
mod pressure;
mod shared;
mod stats;
mod syscall;
mod verifier;

pub use attach::Attached;
pub use breakers::{BreakerView, Forgotten, OperatorStep, Transitions};
pub use clock::{boottime_ns, monotonic_ns, wall_of_boottime_ns};
pub use error::KernelError;
pub use events::{EventReader, Told, decode_socket};
pub use fallbacks::{Asked, Asking, Place, Places};
pub use features::{Feature, check as check_features};
pub use lease::Lease;
pub use limits::{LimitPolicy, LimitView, PacePolicy};
pub use load::{Kernel, LoadOptions};
pub use memory::give_back_free_memory;
pub use pacing::{FlowTimes, PacedSockets, PacingPins};
pub use pins::Pins;
pub use policy::{EndpointRule, map_address};
pub use stats::{Counters, ProgramRun};
pub use verifier::{ProgramStatistics, statistics as verifier_statistics};

/// The kernel programs, built from guard-ebpf by build.rs.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GUARD_EBPF_OBJECT"));
