//! Cgroups of others that the pattern of a bulkhead matches: the programs are attached to each, and
//! taken off when it does not match any more. Limits of the bulkhead are set in them, where their
//! makers have none that is stricter; nothing else is done to them. One inside, or around, the cgroup
//! of a bulkhead is left alone, and so is one with guardd or init in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::State;
use super::process::cgroup_of;
use crate::cgroup::{Bulkhead, CgroupPattern, NetworkNamespace, Scan};
use crate::daemon::bulkheads::LiveBulkhead;
use crate::daemon::state::Guard;
use crate::fault::{Engine, FaultError};
use crate::kernel::Attached;

/// Most cgroups that one pattern takes in; each costs a descriptor and the programs' links.
const MAX_MATCHES: usize = 512;

/// A cgroup of others.
pub(crate) struct Match {
    cgroup: Bulkhead,
    attached: Attached,
}

impl Match {
    /// Takes the programs off.
    pub(crate) fn detach(self) -> Option<String> {
        self.attached.detach().err().map(|error| error.to_string())
    }
}

impl LiveBulkhead {
    /// Its own cgroup, and those that its pattern matches.
    pub(crate) fn cgroups(&self) -> impl Iterator<Item = &Bulkhead> {
        std::iter::once(&self.cgroup).chain(self.matches.values().map(|matched| &matched.cgroup))
    }

    /// How many processes are in them; a cgroup that cannot be read counts none.
    pub(crate) fn process_count(&self) -> u64 {
        self.cgroups().map(|cgroup| cgroup.procs().map_or(0, |procs| procs.count())).sum()
    }

    /// Ids of those processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.cgroups().filter_map(|cgroup| cgroup.procs().ok()).flat_map(|p| p.pids).collect()
    }

    /// Network namespaces that they are in, guardd's own first.
    pub(crate) fn network_namespaces(&self) -> Vec<NetworkNamespace> {
        let all = self.cgroups().filter_map(|cgroup| cgroup.network_namespaces().ok()).flatten();
        let by_inode: BTreeMap<u64, NetworkNamespace> = all.map(|n| (n.inode, n)).collect();
        let mut found: Vec<_> = by_inode.into_values().collect();
        found.sort_by_key(|namespace| (!namespace.own, namespace.inode));
        found
    }
}

impl Guard {
    /// Takes in what matches now and lets go what does not. Returns the directories in which that
    /// may change.
    pub(crate) fn refresh_matches(&self, state: &mut State) -> BTreeSet<PathBuf> {
        let mut parents = BTreeSet::new();
        let mut refused = BTreeMap::new();
        let names: Vec<String> = state.bulkheads.keys().cloned().collect();
        for name in names {
            let pattern = state.plan.bulkhead(&name).and_then(|plan| plan.pattern.clone());
            let scan = match pattern.as_deref().map(|text| state.scan(text)) {
                None => Scan::default(),
                Some(Ok(scan)) => scan,
                Some(Err(error)) => {
                    // What is guarded stays so.
                    tracing::error!(bulkhead = name, error, "cgroups cannot be looked up");
                    continue;
                }
            };
            parents.extend(scan.parents);
            for path in state.unmatched(&name, &scan.found) {
                self.note_match("cgroup_unmatched", &name, &path);
            }
            let mut more = false;
            for path in scan.found {
                match state.take_in(&name, &path) {
                    Ok(false) => {}
                    Ok(true) => {
                        more = true;
                        self.note_match("cgroup_matched", &name, &path);
                    }
                    Err(why) => {
                        if state.members.refused.get(&path) != Some(&why) {
                            tracing::warn!(bulkhead = name, cgroup = %path.display(), why,
                                "a cgroup that matches is not guarded");
                        }
                        refused.insert(path, why);
                    }
                }
            }
            if more && let Some(plan) = state.plan.bulkhead(&name).cloned() {
                self.set_limits_of(state, &plan);
            }
        }
        state.members.refused = refused;
        parents
    }

    fn note_match(&self, kind: &str, bulkhead: &str, path: &Path) {
        tracing::info!(bulkhead, cgroup = %path.display(), kind);
        self.events.note(kind, |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            event.message = path.display().to_string();
        });
    }
}

impl State {
    /// Refuses an engine that would leave cgroups of others out: netfilter rules are for one
    /// cgroup, and those that appear later would need more of them.
    pub(crate) fn check_engine(&self, engine: Engine, bulkhead: &str) -> Result<(), FaultError> {
        let pattern = self.plan.bulkhead(bulkhead).and_then(|plan| plan.pattern.as_deref());
        match (engine, pattern) {
            (Engine::Nfqueue, Some(pattern)) => Err(FaultError::Engine(format!(
                "bulkhead {bulkhead} takes in the cgroups {pattern}, whose packets the NFQUEUE \
                 engine does not hold; put fq on the device (tc qdisc replace dev DEVICE root fq), \
                 or use another effect: they all work there"
            ))),
            _ => Ok(()),
        }
    }

    /// Patterns of all bulkheads; whoever watches starts anew when they change.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.plan.bulkheads.iter().filter_map(|plan| plan.pattern.clone()).collect()
    }

    fn scan(&self, pattern: &str) -> Result<Scan, String> {
        CgroupPattern::parse(pattern)?.scan(&self.hierarchy).map_err(|error| error.to_string())
    }

    /// Lets go of what does not match any more, or is another cgroup by now.
    fn unmatched(&mut self, bulkhead: &str, found: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let Some(live) = self.bulkheads.get_mut(bulkhead) else { return Vec::new() };
        let gone = |(path, matched): (&PathBuf, &Match)| {
            let stays = found.contains(path) && matched.cgroup.still_there();
            (!stays).then(|| path.clone())
        };
        let gone: Vec<PathBuf> = live.matches.iter().filter_map(gone).collect();
        for path in &gone {
            if let Some(problem) = live.matches.remove(path).and_then(Match::detach) {
                tracing::warn!(bulkhead, problem, "programs stay on a cgroup");
            }
        }
        self.lift_limits_at(&gone);
        gone
    }

    /// Attaches the programs; whether that was needed.
    fn take_in(&mut self, bulkhead: &str, path: &Path) -> Result<bool, String> {
        let Some(live) = self.bulkheads.get(bulkhead) else { return Ok(false) };
        if live.matches.contains_key(path) {
            return Ok(false);
        }
        if live.matches.len() >= MAX_MATCHES {
            return Err(format!("bulkhead {bulkhead} has {MAX_MATCHES} cgroups already"));
        }
        let Some(cgroup) = Bulkhead::open(&self.hierarchy, path).map_err(|e| e.to_string())? else {
            return Ok(false);
        };
        self.check_foreign(&cgroup)?;
        let kinds = self.plan.bulkhead(bulkhead).map_or_else(Default::default, |plan| plan.sockets);
        let attached = self
            .kernel
            .attach(&cgroup, cgroup.id(), path, live.id, kinds.bits())
            .map_err(|error| error.to_string())?;
        if let Some(live) = self.bulkheads.get_mut(bulkhead) {
            live.matches.insert(path.to_owned(), Match { cgroup, attached });
        }
        Ok(true)
    }

    fn check_foreign(&self, cgroup: &Bulkhead) -> Result<(), String> {
        let path = cgroup.match_path();
        for (pid, who) in [(std::process::id(), "guardd itself"), (1, "init")] {
            if cgroup_of(pid).is_some_and(|at| Path::new(&at).starts_with(path)) {
                return Err(format!("{who} is in it"));
            }
        }
        for (name, live) in &self.bulkheads {
            for other in live.cgroups().map(Bulkhead::match_path) {
                if path.starts_with(other) || other.starts_with(path) {
                    return Err(format!(
                        "/{} of bulkhead {name} is around or inside it",
                        other.display()
                    ));
                }
            }
        }
        Ok(())
    }
}
