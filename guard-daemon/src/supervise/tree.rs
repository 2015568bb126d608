//! The processes of an agent: its own cgroup, and whether a process is still the one that it was.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cgroup::{Bulkhead, End, Hierarchy};

/// Pause between two looks at a cgroup that is emptying.
const LOOK: Duration = Duration::from_millis(20);
/// How long killed processes may take to go.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// When a process began, clock ticks since boot; `None` if there is none, or it is a zombie.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may have blanks and parentheses in it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Whether this very process runs.
pub fn alive((pid, ticks): (u32, u64)) -> bool {
    pid != 0 && start_ticks(pid) == Some(ticks)
}

/// Ends everything in an agent's own cgroup: asks, waits, kills. A cgroup that is gone is empty.
/// Blocking.
///
/// # Errors
/// What still runs and why; nothing that serves others too was touched.
pub(super) fn end_all(cgroup: &Path, patience: Duration) -> Result<(), String> {
    let hierarchy = Hierarchy::discover().map_err(|error| error.to_string())?;
    let open = Bulkhead::open(&hierarchy, cgroup).map_err(|error| error.to_string())?;
    let Some(open) = open else { return Ok(()) };
    let gone = |open: &Bulkhead| open.populated().map(|populated| !populated);
    if gone(&open).map_err(|error| error.to_string())? {
        return Ok(());
    }
    if let Some((pid, name)) = open.shared_infrastructure().map_err(|e| e.to_string())?.first() {
        return Err(format!("process {pid} ({name}) in it serves others too; nothing was ended"));
    }
    let pids = open.procs().map_err(|error| error.to_string())?.pids;
    open.signal(&pids, End::Asked).map_err(|error| error.to_string())?;
    let wait = |limit: Duration| {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if open.populated().is_ok_and(|populated| !populated) {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    };
    if wait(patience) {
        return Ok(());
    }
    open.kill().map_err(|error| error.to_string())?;
    if wait(KILL_WAIT) { Ok(()) } else { Err("processes in it do not end, though killed".into()) }
}

/// Kills by the kernel for want of memory in a cgroup, so far; 0 where that is not known.
pub(super) fn oom_kills(cgroup: &Path) -> u64 {
    let text = std::fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}
