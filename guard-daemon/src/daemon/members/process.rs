//! What `/proc` says about a process: enough to know it again, and whose it is. Looks only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A process that joined a bulkhead. With its start the pid names one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Main {
    pub(super) pid: u32,
    /// Clock ticks since boot.
    pub(super) started_ticks: u64,
}

/// What counts of `/proc/PID/stat`.
struct Stat {
    state: char,
    parent: u32,
    started_ticks: u64,
}

impl Main {
    /// The process that has this pid now; `None` = there is none, or it has ended and is not reaped.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid)?;
        let ended = matches!(stat.state, 'Z' | 'X' | 'x');
        (!ended).then_some(Self { pid, started_ticks: stat.started_ticks })
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name in field 2 may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        started_ticks: fields.nth(17)?.parse().ok()?,
    })
}

/// The descendants of these processes that run now, parents before their children.
pub(super) fn descendants(of: &[u32]) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut seen: BTreeSet<u32> = of.iter().copied().collect();
    let mut found = Vec::new();
    let mut next = of.to_vec();
    while !next.is_empty() {
        let below = next.iter().filter_map(|pid| children.get(pid)).flatten().copied();
        let fresh: Vec<u32> = below.filter(|pid| seen.insert(*pid)).collect();
        found.extend(&fresh);
        next = fresh;
    }
    found
}

/// `4711 (node), 4712 (npm) and 3 more`.
pub(super) fn names(pids: &[u32]) -> String {
    const SHOWN: usize = 5;
    let name = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{pid} ({})", comm.trim_end())
    };
    let shown: Vec<_> = pids.iter().take(SHOWN).map(name).collect();
    match pids.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether the real, effective, saved and file system ids of a process are all this user's: a
/// process that has, or may get, the rights of another is not the user's own.
pub(super) fn belongs_to(pid: u32, uid: u32) -> bool {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("Uid:")) else {
        return false;
    };
    let ids: Vec<_> = line.split_ascii_whitespace().collect();
    ids.len() == 4 && ids.iter().all(|id| id.parse() == Ok(uid))
}

/// Its cgroup, from the root of the tree, without the leading slash.
pub(super) fn cgroup_of(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::/")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_and_its_end_too() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let main = Main::of(child.id()).unwrap();
        assert!(main.runs());
        assert!(!Main { started_ticks: main.started_ticks + 1, ..main }.runs());
        assert!(descendants(&[std::process::id()]).contains(&child.id()));
        assert!(belongs_to(child.id(), nix::unistd::geteuid().as_raw()));
        assert!(!belongs_to(child.id(), 4_000_000));
        child.kill().unwrap();
        // A zombie runs no more.
        while main.runs() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(Main::of(child.id()).is_none());
    }
}
