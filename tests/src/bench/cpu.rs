//! Keeps threads on one processor while they are measured: where the scheduler puts the two ends
//! of a connection changes a round trip by far more than guard does.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps the calling thread (and what it starts) on `cpu` until dropped.
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Moves the calling thread to `cpu`.
    pub(crate) fn to(cpu: usize) -> Result<Self> {
        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread).context("sched_getaffinity")?;
        let mut set = CpuSet::new();
        set.set(cpu).with_context(|| format!("processor {cpu}"))?;
        sched_setaffinity(this_thread, &set)
            .with_context(|| format!("cannot stay on processor {cpu}"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(Pid::from_raw(0), &self.before) {
            eprintln!("this thread stays on its processor: {error}");
        }
    }
}

/// A processor for the client and another for the server; the same if there is only one.
pub(crate) fn two() -> Result<(usize, usize)> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let first = cpus.next().context("no processor is allowed")?;
    Ok((first, cpus.next().unwrap_or(first)))
}
