//! guard's daemon and its operator's command.
//!
//! Data goes one way: `config` (text) → `plan` (validated) → `kernel` (maps, links); counters and
//! events come back through `observe` to `telemetry` and `control`. The only way back is an
//! operator's action, through `fault` and `kernel`. Kernel objects are touched in `kernel` alone
//! (the only module that imports aya), netlink and netfilter in `net`, cgroup files in `cgroup`.
//! Whatever is put on the host is written to `journal` first.

pub mod budget;
pub mod cgroup;
pub mod checkpoint;
pub mod config;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod drill;
pub mod fault;
pub mod gateway;
pub mod health;
pub mod journal;
pub mod kernel;
pub mod net;
pub mod observe;
pub mod plan;
pub mod pressure;
pub mod recovery;
pub mod schedule;
pub mod supervise;
pub mod telemetry;
