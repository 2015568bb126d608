//! Bulkheads on the host: cgroups made or adopted, programs attached, all of it taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::DaemonError;
use super::members::Match;
use super::state::State;
use crate::cgroup::{self, Bulkhead, Made, Removed};
use crate::journal::{Ticket, Undo};
use crate::kernel::Attached;
use crate::observe::SharedIds;
use crate::plan::{BulkheadPlan, Plan};

/// One bulkhead on the host.
pub(crate) struct LiveBulkhead {
    pub(crate) id: u32,
    pub(crate) cgroup: Bulkhead,
    /// Cgroups that guard made for it, outermost first, with their entries in the undo log.
    pub(super) made: Vec<(PathBuf, Ticket)>,
    /// Cgroups of others that its pattern matches: programs are attached to them, and limits set.
    pub(super) matches: BTreeMap<PathBuf, Match>,
    /// Id of the user who owns it.
    pub(super) owner: Option<u32>,
    /// To whom its cgroup was given.
    pub(super) delegated: Option<(u32, Ticket)>,
    /// `None` after its cgroup was removed behind guard's back.
    pub(crate) attached: Option<Attached>,
}

impl LiveBulkhead {
    /// `attached`, or `detached: REASON`.
    pub(crate) fn state_text(&self) -> String {
        if !self.cgroup.still_there() {
            return "detached: its cgroup was removed; reload makes it again".to_owned();
        }
        match &self.attached {
            Some(attached) if !attached.is_empty() => "attached".to_owned(),
            _ => "detached: no program is attached".to_owned(),
        }
    }
}

/// Takes the programs off; what stays attached, for people.
fn detach(attached: Option<Attached>, matches: BTreeMap<PathBuf, Match>) -> Vec<String> {
    let own = attached.and_then(|attached| attached.detach().err()).map(|e| e.to_string());
    own.into_iter().chain(matches.into_values().filter_map(Match::detach)).collect()
}

impl State {
    /// Makes or adopts the cgroup of a bulkhead and attaches the programs. After an error nothing
    /// of it is left.
    pub(crate) fn add_bulkhead(
        &mut self,
        plan: &BulkheadPlan,
        ids: &SharedIds,
    ) -> Result<(), DaemonError> {
        let id =
            ids.write().unwrap_or_else(std::sync::PoisonError::into_inner).bulkhead(&plan.name);
        let named = |source: DaemonError| DaemonError::Bulkhead {
            name: plan.name.clone(),
            source: Box::new(source),
        };
        let mut tickets = Vec::new();
        let made = {
            let (root, undo) = (&self.root, &mut self.undo);
            let announced = &mut self.announced;
            Bulkhead::make_or_adopt(root, &plan.cgroup, &mut |path: &Path| {
                let ticket = match announced.remove(path) {
                    Some(ticket) => ticket,
                    None => undo
                        .intend(Undo::CgroupMade { path: path.to_owned() })
                        .map_err(|e| e.to_string())?,
                };
                tickets.push((path.to_owned(), ticket));
                Ok(())
            })
        };
        let cgroup = match made {
            Ok(Made { bulkhead, .. }) => bulkhead,
            Err(error) => {
                self.settle(tickets);
                return Err(named(error.into()));
            }
        };
        let alone = self.is_alone(cgroup.path());
        let settled = if alone { Ok(()) } else { self.settle_nesting(Some((id, cgroup.path()))) };
        let attached = settled.and_then(|()| {
            let kinds = plan.sockets.bits();
            Ok(self.kernel.attach(&cgroup, cgroup.id(), cgroup.path(), id, kinds)?)
        });
        match attached {
            Ok(attached) => {
                let live = LiveBulkhead {
                    id,
                    cgroup,
                    made: tickets,
                    matches: BTreeMap::new(),
                    owner: None,
                    delegated: None,
                    attached: Some(attached),
                };
                self.bulkheads.insert(plan.name.clone(), live);
                if alone { Ok(()) } else { self.settle_nesting(None).map_err(named) }
            }
            Err(error) => {
                self.remove_cgroups(tickets);
                if !alone && let Err(problem) = self.settle_nesting(None) {
                    tracing::error!(%problem, "after a bulkhead that was not set up");
                }
                Err(named(error))
            }
        }
    }

    /// Writes down the cgroups that these bulkheads need and that are not there, with one wait for
    /// the disk, before they are made one by one. What is then not made is taken back by
    /// [`State::forget_announced`].
    pub(crate) fn announce<'a>(&mut self, plans: impl IntoIterator<Item = &'a BulkheadPlan>) {
        let mut missing = BTreeSet::new();
        for plan in plans {
            let mut path = self.root.path().to_owned();
            for name in &plan.cgroup {
                path.push(name);
                if !path.exists() {
                    missing.insert(path.clone());
                }
            }
        }
        let entries = missing.iter().map(|path| Undo::CgroupMade { path: path.clone() }).collect();
        match self.undo.intend_all(entries) {
            Ok(tickets) => self.announced.extend(missing.into_iter().zip(tickets)),
            // Each of them is then written down by itself, or says that it cannot be.
            Err(error) => tracing::warn!(%error, "cgroups are written down one by one"),
        }
    }

    /// Takes back what was announced and not made.
    pub(crate) fn forget_announced(&mut self) {
        let unused = std::mem::take(&mut self.announced).into_iter().collect();
        self.settle(unused);
    }

    /// Detaches a bulkhead and removes the cgroups that guard made for it, if they are empty. Its
    /// processes go on unguarded. Returns what was left, one line each.
    pub(crate) fn remove_bulkhead(&mut self, name: &str) -> Vec<String> {
        self.remove_bulkheads([name]).into_iter().map(|(_, left)| left).collect()
    }

    /// The same for several, with one wait for the disk; each line with its bulkhead's name.
    pub(crate) fn remove_bulkheads<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Vec<(String, String)> {
        let (mut left, mut made) = (Vec::new(), Vec::new());
        for name in names {
            self.lift_limits(name);
            let Some(live) = self.bulkheads.remove(name) else { continue };
            let mut lines = detach(live.attached, live.matches);
            lines.extend(self.kernel.forget_limits(live.id).err().map(|error| error.to_string()));
            left.extend(lines.into_iter().map(|line| (name.to_owned(), line)));
            made.extend(self.forget_runs(name));
            self.take_back(live.cgroup.path(), live.delegated);
            made.extend(live.made);
        }
        let settled = self.settle_nesting(None).err().map(|e| (String::new(), e.to_string()));
        left.extend(settled);
        // A line names its cgroup.
        left.extend(self.remove_cgroups(made).into_iter().map(|line| (String::new(), line)));
        left
    }

    /// Detaches all bulkheads and removes what guard made, for a clean stop.
    pub(crate) fn remove_all_bulkheads(&mut self) -> Vec<String> {
        self.lift_all_limits();
        let mut made = std::mem::take(&mut self.left_cgroups);
        let mut left = Vec::new();
        for (name, live) in std::mem::take(&mut self.bulkheads) {
            left.extend(detach(live.attached, live.matches));
            made.extend(self.forget_runs(&name));
            self.take_back(live.cgroup.path(), live.delegated);
            made.extend(live.made);
        }
        left.extend(self.remove_cgroups(made));
        left.extend(self.switch_off_controllers());
        left
    }

    /// Takes programs off cgroups that are no bulkheads any more, and removes cgroups that an
    /// earlier guardd made and that no bulkhead needs.
    pub(crate) fn remove_what_an_earlier_guardd_left(&mut self) {
        let cgroups = self.bulkheads.values().flat_map(LiveBulkhead::cgroups);
        let bulkheads = cgroups.map(Bulkhead::id).collect();
        match self.kernel.detach_others(&bulkheads) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "cgroups that are no bulkheads any more: detached"),
            Err(error) => tracing::error!(%error, "programs of an earlier guardd stay"),
        }
        let needed: Vec<_> =
            self.bulkheads.values().map(|live| live.cgroup.path().to_owned()).collect();
        let (kept, unneeded) = std::mem::take(&mut self.left_cgroups)
            .into_iter()
            .partition(|(path, _)| needed.iter().any(|needed| needed.starts_with(path)));
        self.left_cgroups = kept;
        for left in self.remove_cgroups(unneeded) {
            tracing::warn!("left by an earlier guardd: {left}");
        }
    }

    /// Removes cgroups that guard made, innermost first. Those that are not empty are remembered
    /// for the stop (another bulkhead may live below), and stay in the undo log. Returns those
    /// that processes keep, one line each.
    pub(super) fn remove_cgroups(&mut self, mut made: Vec<(PathBuf, Ticket)>) -> Vec<String> {
        made.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        for (path, ticket) in made {
            // Made for a bulkhead inside it that has gone; empty or not, it is a bulkhead's.
            if self.bulkhead_at_or_below(&path).is_some() {
                self.left_cgroups.push((path, ticket));
                continue;
            }
            match cgroup::remove_if_empty(&self.hierarchy, &path) {
                Ok(Removed::Busy { pids, .. }) => {
                    if !pids.is_empty() {
                        left.push(format!(
                            "{} stays: processes {pids:?} are in it",
                            path.display()
                        ));
                    }
                    self.left_cgroups.push((path, ticket));
                }
                Ok(_) => gone.push((path, ticket)),
                Err(error) => {
                    left.push(format!("{} stays: {error}", path.display()));
                    self.left_cgroups.push((path, ticket));
                }
            }
        }
        self.settle(gone);
        left
    }

    /// Marks entries as undone whose cgroups are gone or were never made.
    pub(super) fn settle(&mut self, entries: Vec<(PathBuf, Ticket)>) {
        let tickets: Vec<_> = entries.into_iter().map(|(_, ticket)| ticket).collect();
        if let Err(error) = self.undo.done_all(&tickets) {
            tracing::warn!(count = tickets.len(), %error, "undo log not updated");
        }
    }

    /// Bulkheads whose cgroup was removed, or removed and made again, behind guard's back.
    pub(crate) fn lost_bulkheads(&self) -> Vec<String> {
        let lost = self.bulkheads.iter().filter(|(_, live)| !live.cgroup.still_there());
        lost.map(|(name, _)| name.clone()).collect()
    }

    /// Tells the kernel which sockets bulkheads may make, where that is not what `old` said.
    pub(crate) fn write_socket_kinds(&mut self, old: &Plan) -> Result<(), DaemonError> {
        for plan in &self.plan.bulkheads {
            let before = old.bulkhead(&plan.name).map(|before| before.sockets);
            if let Some(live) = self.bulkheads.get(&plan.name)
                && before != Some(plan.sockets)
            {
                for cgroup in live.cgroups() {
                    self.kernel.set_socket_kinds(cgroup.id(), live.id, plan.sockets.bits())?;
                }
            }
        }
        Ok(())
    }

    /// Sets a lost bulkhead up anew. Returns what was done, for people.
    pub(crate) fn repair_bulkhead(&mut self, name: &str, ids: &SharedIds) -> Option<String> {
        let plan = self.plan.bulkhead(name).cloned()?;
        for problem in self.remove_bulkhead(name) {
            tracing::warn!(bulkhead = name, problem, "while setting it up anew");
        }
        let added = self.add_bulkhead(&plan, ids).and_then(|()| self.write_breakers(ids));
        Some(match added {
            Ok(()) => format!("{name}: its cgroup was removed; made or adopted again"),
            Err(error) => format!("{name}: its cgroup was removed; {error}"),
        })
    }
}
