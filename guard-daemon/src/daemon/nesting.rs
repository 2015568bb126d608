//! Bulkheads inside bulkheads, as they are on the host: what the hooks know of it, and whose the
//! processes are. The innermost owns; what docs/guide/bulkheads.md says of it holds here too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::DaemonError;
use super::state::State;
use crate::observe::SharedIds;
use crate::plan::{BulkheadPlan, all_around, around, lies_inside};

impl State {
    /// Ids of the bulkheads inside this one, at any depth.
    pub(super) fn inner_ids(&self, bulkhead: &str) -> BTreeSet<u32> {
        let Some(live) = self.bulkheads.get(bulkhead) else { return BTreeSet::new() };
        let path = live.cgroup.path();
        let inner = self.bulkheads.values().filter(|b| lies_inside(b.cgroup.path(), path));
        inner.map(|b| b.id).collect()
    }

    /// Cgroups of the bulkheads inside this one, as netfilter names them.
    pub(super) fn inner_match_paths(&self, bulkhead: &str) -> Vec<String> {
        let Some(live) = self.bulkheads.get(bulkhead) else { return Vec::new() };
        let path = live.cgroup.path();
        let inner = self.bulkheads.values().filter(|b| lies_inside(b.cgroup.path(), path));
        inner.map(|b| b.cgroup.match_path().display().to_string()).collect()
    }

    /// Names of the bulkheads around this one, the innermost first.
    pub(super) fn outers(&self, bulkhead: &str) -> Vec<String> {
        let Some(live) = self.bulkheads.get(bulkhead) else { return Vec::new() };
        let all = self.bulkheads.iter().map(|(name, b)| (b.cgroup.path(), name.as_str()));
        around(live.cgroup.path(), all).into_iter().map(str::to_owned).collect()
    }

    /// The bulkhead whose cgroup is this directory, or lies in it.
    pub(super) fn bulkhead_at_or_below(&self, path: &Path) -> Option<&str> {
        let found = self.bulkheads.iter().find(|(_, b)| b.cgroup.path().starts_with(path));
        found.map(|(name, _)| name.as_str())
    }

    /// From here on the hooks know how the plan's bulkheads lie, before their programs are attached: those
    /// of an earlier guardd may be at work, and must not take one another's sockets meanwhile.
    pub(super) fn expect_nesting(&mut self, ids: &SharedIds) -> Result<(), DaemonError> {
        let root = self.root.path();
        let mut ids = ids.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let plans = self.plan.bulkheads.iter();
        let expected = plans.map(|plan| (ids.bulkhead(&plan.name), root.join(&plan.cgroup)));
        self.expected = expected.collect();
        drop(ids);
        self.settle_nesting(None)
    }

    /// All bulkheads of the plan are there.
    pub(super) fn as_expected(&mut self) -> Result<(), DaemonError> {
        self.expected.clear();
        self.settle_nesting(None)
    }

    /// Whether a bulkhead at this cgroup lies neither inside nor around any other, as on most hosts: then its
    /// coming and going changes nothing of what [`State::settle_nesting`] says.
    pub(super) fn is_alone(&self, path: &Path) -> bool {
        let own = self.bulkheads.values().map(|b| b.cgroup.path());
        let expected = self.expected.iter().map(|(_, path)| path.as_path());
        !own.chain(expected).any(|other| lies_inside(other, path) || lies_inside(path, other))
    }

    /// Tells the hooks which bulkheads lie around which, and each bulkhead which processes are not its
    /// own. `arriving` is one (its id, its cgroup) whose programs are about to be attached: they know
    /// then at once. One that has gone is called off after its programs are detached.
    pub(super) fn settle_nesting(
        &mut self,
        arriving: Option<(u32, &Path)>,
    ) -> Result<(), DaemonError> {
        let own = self.bulkheads.values().map(|b| (b.id, b.cgroup.path()));
        let expected = self.expected.iter().map(|(id, path)| (*id, path.as_path()));
        let all: BTreeMap<u32, &Path> = expected.chain(own).chain(arriving).collect();
        let nesting: BTreeMap<u32, Vec<u32>> = all_around(all).into_iter().collect();
        self.kernel.set_nesting(&nesting)?;
        let mut inner: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let own = self.bulkheads.values().map(|b| (b.cgroup.id(), b.cgroup.path()));
        for (cgroup, outer) in all_around(own) {
            for outer in outer {
                inner.entry(outer).or_default().push(cgroup);
            }
        }
        for live in self.bulkheads.values_mut() {
            let inner = inner.remove(&live.cgroup.id()).unwrap_or_default();
            live.cgroup.set_inner(inner.into_iter().collect());
        }
        self.drop_runs_of_bulkheads();
        Ok(())
    }
}

/// Outer ones first: the cgroup of each is made by itself.
pub(super) fn outer_first<'a>(
    plans: impl IntoIterator<Item = &'a BulkheadPlan>,
) -> Vec<&'a BulkheadPlan> {
    let mut plans: Vec<_> = plans.into_iter().collect();
    plans.sort_by_key(|plan| plan.cgroup.components().count());
    plans
}
