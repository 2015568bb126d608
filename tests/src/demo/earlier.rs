//! What a demo that was killed left: its guardd, its agents, and what these two had made. A guardd
//! that somebody else started with the demo's configuration is not ours to end: that is an error.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::wait;

use super::daemon;
use super::leftovers;
use super::screen::Screen;
use super::setup::Setup;

/// Removes all of it, and says so. Nobody else's demo runs: the caller holds the lock.
pub(crate) fn clear_away(setup: &Setup, screen: &Screen) -> Result<()> {
    // Marked by us and without us: no demo runs but this one, which has started nothing yet.
    let orphans = leftovers::marked_processes();
    if !orphans.is_empty() {
        end(&orphans)?;
    }
    refuse_running_daemon(setup)?;
    let before = leftovers::find(setup);
    if orphans.is_empty() && before.is_empty() {
        return Ok(());
    }
    daemon::clean_up(setup)?;
    leftovers::remove_directory(setup)?;
    let after = leftovers::find(setup);
    if !after.is_empty() {
        bail!("an earlier demo left what cannot be removed:\n  {}", after.lines().join("\n  "));
    }
    screen.line(&format!(
        "cleared away what an earlier run left: {} orphans, then {}",
        orphans.len(),
        before.counts()
    ));
    Ok(())
}

/// SIGTERM, so that guardd takes away itself what it made; SIGKILL for who does not hear it.
fn end(orphans: &[i32]) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for pid in leftovers::marked_processes().into_iter().filter(|pid| orphans.contains(pid)) {
            // It may have ended by itself in between.
            if let Err(error) = kill(Pid::from_raw(pid), signal)
                && error != nix::errno::Errno::ESRCH
            {
                return Err(error).with_context(|| format!("cannot end process {pid}"));
            }
        }
        let gone = || leftovers::marked_processes().is_empty();
        if wait::until("an earlier demo's processes to end", Duration::from_secs(10), gone).is_ok()
        {
            return Ok(());
        }
    }
    bail!("processes of an earlier demo do not end: {:?}", leftovers::marked_processes())
}

fn refuse_running_daemon(setup: &Setup) -> Result<()> {
    if !setup.socket.exists() {
        return Ok(());
    }
    if let Ok(status) = daemon::ask(setup, &["status"]) {
        bail!(
            "guardd (pid {}) runs with the demo's control socket {} and was not started by the \
             demo; stop it first: kill {0}",
            status["pid"],
            setup.socket.display()
        );
    }
    // A dead one's socket; if its owner lives and hangs, the clean-up refuses and says so.
    Ok(())
}
