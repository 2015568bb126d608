//! Who is in a bulkhead, and how it came there: processes that join, the cgroups of their runs,
//! what is left of runs that ended, cgroups of others that a pattern matches, and the users who own
//! bulkheads. It ends a process only where the configuration says so, and never one that it cannot
//! name as left of a run.

mod join;
mod kept;
mod matches;
mod orphans;
mod owners;
mod process;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

pub(super) use matches::Match;
pub(super) use owners::{Uids, look_up};
pub(super) use watch::watch;

use self::process::Main;
use super::state::State;
use crate::cgroup::{Bulkhead, Procs};
use crate::journal::Ticket;

/// A bulkhead, and the name of a cgroup for runs inside it; empty = the bulkhead's own cgroup.
type Place = (String, String);

/// What guardd remembers about members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    runs: BTreeMap<Place, Run>,
    /// Cgroups that match a pattern and are not taken in, with the reasons.
    refused: BTreeMap<PathBuf, String>,
    /// Who the owners are.
    pub(super) uids: Uids,
    /// What is wrong with owners, by bulkhead.
    owner_problems: BTreeMap<String, String>,
    /// Orphans that monitor mode did not end.
    pub(crate) would_end: u64,
    /// What the file of the main processes says.
    saved: String,
}

/// What was started in one cgroup.
#[derive(Debug, Default)]
struct Run {
    /// `None` = the bulkhead's own cgroup.
    sub: Option<Sub>,
    /// Processes that joined, and run.
    mains: Vec<Main>,
    /// Whether any ever joined.
    joined: bool,
    /// Since when none of them runs any more, while others are left.
    ended: Option<Instant>,
    stage: Stage,
    /// Those that are left, once they are reported.
    orphans: u64,
}

/// A cgroup inside a bulkhead's.
#[derive(Debug)]
struct Sub {
    cgroup: Bulkhead,
    /// Empty if somebody else made it.
    made: Vec<(PathBuf, Ticket)>,
    delegated: Option<(u32, Ticket)>,
}

/// How far guard is with orphans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There are none, or not for long enough.
    #[default]
    Quiet,
    /// Everybody was told.
    Reported,
    /// They stay, for a reason that everybody was told.
    Spared,
    /// SIGTERM was sent then.
    Asked(Instant),
    /// SIGKILL was sent.
    Killed,
}

impl Members {
    /// Orphans of a bulkhead.
    pub(crate) fn orphans(&self, bulkhead: &str) -> u64 {
        self.of(bulkhead).map(|(_, run)| run.orphans).sum()
    }

    /// What is wrong, one line each.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> + '_ {
        let owners =
            self.owner_problems.iter().map(|(name, why)| format!("bulkhead {name}: {why}"));
        let refused = self
            .refused
            .iter()
            .map(|(path, why)| format!("{} is not guarded: {why}", path.display()));
        let orphans = self.runs.iter().filter(|(_, run)| run.orphans > 0).map(|(place, run)| {
            let since = run.ended.map_or(0, |ended| ended.elapsed().as_secs());
            format!(
                "bulkhead {}: left {since}s after their main process ended, processes: {}",
                place_text(place),
                run.orphans
            )
        });
        owners.chain(refused).chain(orphans)
    }

    fn of(&self, bulkhead: &str) -> impl Iterator<Item = (&Place, &Run)> {
        let bulkhead = bulkhead.to_owned();
        self.runs.iter().filter(move |((name, _), _)| *name == bulkhead)
    }

    /// Notes a process that was moved there; it is no other run's main process any more.
    fn note(&mut self, place: &Place, main: Main) {
        for run in self.runs.values_mut() {
            run.mains.retain(|other| other.pid != main.pid);
        }
        let run = self.runs.entry(place.clone()).or_default();
        run.mains.push(main);
        run.joined = true;
    }
}

/// `research`, or `research/run-4711`.
fn place_text((bulkhead, sub): &Place) -> String {
    if sub.is_empty() { bulkhead.clone() } else { format!("{bulkhead}/{sub}") }
}

impl State {
    /// The processes of a run. Those of runs in cgroups of their own are not in the bulkhead's.
    fn pids_of(&self, place: &Place) -> crate::cgroup::Result<Vec<u32>> {
        let (bulkhead, sub) = place;
        if !sub.is_empty() {
            return self
                .sub(place)
                .map_or(Ok(Procs::default()), |s| s.cgroup.procs())
                .map(|p| p.pids);
        }
        let Some(live) = self.bulkheads.get(bulkhead) else { return Ok(Vec::new()) };
        let mut pids = live.cgroup.procs()?.pids;
        for sub in self.members.of(bulkhead).filter_map(|(_, run)| run.sub.as_ref()) {
            let inner = sub.cgroup.procs()?.pids;
            pids.retain(|pid| !inner.contains(pid));
        }
        Ok(pids)
    }

    fn sub(&self, place: &Place) -> Option<&Sub> {
        self.members.runs.get(place)?.sub.as_ref()
    }

    /// The cgroup of a run.
    fn cgroup_of(&self, place: &Place) -> Option<&Bulkhead> {
        if place.1.is_empty() {
            return self.bulkheads.get(&place.0).map(|live| &live.cgroup);
        }
        self.sub(place).map(|sub| &sub.cgroup)
    }

    /// Whether guard made this cgroup, now or in an earlier life.
    fn is_ours(&self, cgroup: &Bulkhead) -> bool {
        let path = cgroup.path();
        let of_runs = self.members.runs.values().filter_map(|run| run.sub.as_ref());
        let made = self.bulkheads.values().map(|live| &live.made).chain(of_runs.map(|s| &s.made));
        made.flatten().chain(&self.left_cgroups).any(|(made, _)| made == path)
    }

    /// Forgets the runs of a bulkhead that goes; the cgroups that guard made for them.
    pub(super) fn forget_runs(&mut self, bulkhead: &str) -> Vec<(PathBuf, Ticket)> {
        let places: Vec<Place> =
            self.members.of(bulkhead).map(|(place, _)| place.clone()).collect();
        self.members.owner_problems.remove(bulkhead);
        places.iter().flat_map(|place| self.forget_run(place)).collect()
    }

    /// A run's cgroup that has become a bulkhead's, or holds one, is a run's no more.
    pub(super) fn drop_runs_of_bulkheads(&mut self) {
        let is_one = |(_, run): &(&Place, &Run)| {
            run.sub.as_ref().is_some_and(|s| self.bulkhead_at_or_below(s.cgroup.path()).is_some())
        };
        let places: Vec<Place> =
            self.members.runs.iter().filter(is_one).map(|(place, _)| place.clone()).collect();
        for place in places {
            let made = self.forget_run(&place);
            self.left_cgroups.extend(made);
        }
    }

    fn forget_run(&mut self, place: &Place) -> Vec<(PathBuf, Ticket)> {
        let Some(sub) = self.members.runs.remove(place).and_then(|run| run.sub) else {
            return Vec::new();
        };
        self.take_back(sub.cgroup.path(), sub.delegated);
        sub.made
    }
}
