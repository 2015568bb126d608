//! A network namespace of a benchmark's own: what others do with netfilter, and their packets in the
//! kernel's counters, are not in it. It ends with what was started in it.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};

/// Takes the calling thread, and all that it starts from now on, into a new one.
pub(crate) fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace")?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(up.context("cannot run ip")?.success(), "cannot set lo up");
    Ok(())
}

/// Runs something in a new one.
pub(crate) fn inside<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter()?;
            run()
        });
        thread.join().map_err(|_| anyhow!("panicked; see above"))?
    })
}
