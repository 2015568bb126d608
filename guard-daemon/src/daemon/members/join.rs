//! Processes join a bulkhead: by `guardctl exec`, which asks for itself, and by `guardctl move`.
//! Whoever is no more than the owner of a bulkhead moves only processes of its own, and none out of
//! a bulkhead that is not its own.

use std::path::Path;

use super::process::{Main, belongs_to, cgroup_of, descendants};
use super::{Place, Run, State, Sub};
use crate::cgroup::{Bulkhead, Made};
use crate::control::api::{ErrorBody, Joined};
use crate::control::{JoinOrder, Peer};
use crate::daemon::bulkheads::LiveBulkhead;
use crate::daemon::state::Guard;
use crate::journal::Undo;

/// How often descendants are looked for: some may be born meanwhile.
const TREE_PASSES: usize = 10;
/// Longest name of a cgroup for runs.
const SUB_NAME_BYTES: usize = 63;

fn refused(error: String, help: &str, exit_code: u8) -> ErrorBody {
    ErrorBody { error, help: help.to_owned(), exit_code }
}

impl Guard {
    /// Moves processes into a bulkhead.
    pub(crate) fn join(
        &self,
        peer: &Peer,
        bulkhead: &str,
        order: &JoinOrder,
    ) -> Result<Joined, ErrorBody> {
        let mut state = self.lock();
        if !state.bulkheads.contains_key(bulkhead) {
            let known: Vec<_> = state.bulkheads.keys().map(String::as_str).collect();
            return Err(ErrorBody {
                error: format!("no bulkhead is named {bulkhead:?}"),
                help: format!("there are: {}", known.join(", ")),
                exit_code: 2,
            });
        }
        if order.owner_only {
            state.check_owner(peer, bulkhead, &order.pids)?;
        }
        let place = match &order.sub {
            None => (bulkhead.to_owned(), String::new()),
            Some(name) => state.open_sub(bulkhead, name, order.pids.first().copied())?,
        };
        let result = state.move_into(peer, &place, order);
        if result.is_err() {
            state.drop_run_if_empty(&place);
        }
        let joined = result?;
        state.save_mains();
        drop(state);
        tracing::info!(bulkhead, pids = ?joined.moved, uid = peer.uid, "processes joined");
        self.events.note("joined", |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            event.pid = joined.moved.first().copied();
            event.message = format!("by uid {}, processes: {}", peer.uid, joined.moved.len());
        });
        Ok(joined)
    }
}

impl State {
    fn move_into(
        &mut self,
        peer: &Peer,
        place: &Place,
        order: &JoinOrder,
    ) -> Result<Joined, ErrorBody> {
        let bulkhead = &place.0;
        let Some(cgroup) = self.cgroup_of(place) else {
            return Err(refused(
                format!("bulkhead {bulkhead} is not set up"),
                "guardctl reload",
                1,
            ));
        };
        let path = cgroup.path().display().to_string();
        let mut moved: Vec<u32> = Vec::new();
        let mut mains = Vec::new();
        for pid in &order.pids {
            mains.extend(Main::of(*pid));
            cgroup.add(*pid).map_err(|error| ErrorBody {
                error: format!("process {pid} was not moved to {bulkhead}: {error}"),
                help: if moved.is_empty() {
                    String::new()
                } else {
                    format!("moved before it: {moved:?}")
                },
                exit_code: 1,
            })?;
            moved.push(*pid);
        }
        for _ in 0..if order.tree { TREE_PASSES } else { 0 } {
            let mut more = descendants(&order.pids);
            more.retain(|pid| !moved.contains(pid));
            if order.owner_only {
                more.retain(|pid| self.check_own(*pid, peer.uid).is_ok());
            }
            // guardd may be among them, and others end meanwhile: neither is moved.
            more.retain(|pid| cgroup.add(*pid).is_ok());
            if more.is_empty() {
                break;
            }
            moved.extend(more);
        }
        for main in mains {
            self.members.note(place, main);
        }
        Ok(Joined { schema: "guard.joined/1".into(), cgroup: path, moved })
    }

    /// Whether this peer owns the bulkhead and all that it wants to move there.
    fn check_owner(&self, peer: &Peer, bulkhead: &str, pids: &[u32]) -> Result<(), ErrorBody> {
        let uid = peer.uid;
        let owns = |name: &str| self.bulkheads.get(name).is_some_and(|l| l.owner == Some(uid));
        if !owns(bulkhead) {
            return Err(refused(
                format!("uid {uid} does not own bulkhead {bulkhead}; nothing was done"),
                "bulkheads.NAME.owner says who does",
                2,
            ));
        }
        pids.iter().try_for_each(|pid| self.check_own(*pid, uid))
    }

    /// Whether a process is this user's own, and in no bulkhead that is another's.
    fn check_own(&self, pid: u32, uid: u32) -> Result<(), ErrorBody> {
        if !belongs_to(pid, uid) {
            return Err(refused(
                format!("process {pid} is not uid {uid}'s own; nothing was done"),
                "owners of a bulkhead move their own processes; root moves any",
                2,
            ));
        }
        let at = cgroup_of(pid).unwrap_or_default();
        // The innermost: a bulkhead inside another may have an owner of its own.
        let depth = |live: &LiveBulkhead| {
            let around = live.cgroups().map(Bulkhead::match_path);
            let around = around.filter(|path| Path::new(&at).starts_with(path));
            around.map(|path| path.components().count()).max()
        };
        let innermost = self.bulkheads.iter().max_by_key(|(_, live)| depth(live));
        let of_another =
            innermost.filter(|(_, live)| depth(live).is_some() && live.owner != Some(uid));
        of_another.map_or(Ok(()), |(from, _)| {
            Err(refused(
                format!(
                    "process {pid} is in bulkhead {from}, which uid {uid} does not own; nothing \
                     was done"
                ),
                "ask root to move it",
                2,
            ))
        })
    }

    /// The cgroup with this name inside a bulkhead, for runs; made if it is absent.
    fn open_sub(
        &mut self,
        bulkhead: &str,
        name: &str,
        pid: Option<u32>,
    ) -> Result<Place, ErrorBody> {
        let place = |name: String| (bulkhead.to_owned(), name);
        let name = if name.is_empty() {
            let free = |name: &String| !self.members.runs.contains_key(&place(name.clone()));
            let first = format!("run-{}", pid.unwrap_or(0));
            let others = (2..).map(|number| format!("{first}-{number}"));
            std::iter::once(first.clone()).chain(others).find(free).unwrap_or(first)
        } else {
            name.to_owned()
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.len() > SUB_NAME_BYTES || !name.chars().all(good) {
            return Err(refused(
                format!("{name:?} cannot be the name of a cgroup for runs"),
                "letters, digits, `-` and `_`, at most 63",
                2,
            ));
        }
        let place = place(name);
        if self.sub(&place).is_some_and(|sub| sub.cgroup.still_there()) {
            return Ok(place);
        }
        let gone = self.forget_run(&place);
        self.remove_cgroups(gone);
        let failed = |error: String| refused(error, "the log of guardd says more", 1);
        let known = self.plan.bulkhead(bulkhead).zip(self.bulkheads.get(bulkhead));
        let Some((plan, live)) = known.filter(|(_, live)| live.cgroup.still_there()) else {
            return Err(refused(
                format!("the cgroup of bulkhead {bulkhead} was removed"),
                "guardctl reload",
                1,
            ));
        };
        let path = live.cgroup.path().join(&place.1);
        if let Some(other) = self.bulkhead_at_or_below(&path) {
            let error = format!(
                "{:?} cannot be the name of a cgroup for runs in {bulkhead}: bulkhead {other} is there",
                place.1
            );
            let help = format!("another name, or guardctl exec {other}");
            return Err(refused(error, &help, 2));
        }
        let owner = live.delegated.as_ref().map(|(uid, _)| *uid);
        let mut made = Vec::new();
        let (root, undo) = (&self.root, &mut self.undo);
        let opened = Bulkhead::make_or_adopt(root, &plan.cgroup.join(&place.1), &mut |path| {
            let entry = Undo::CgroupMade { path: path.to_owned() };
            made.push((path.to_owned(), undo.intend(entry).map_err(|e| e.to_string())?));
            Ok(())
        });
        let cgroup = match opened {
            Ok(Made { bulkhead, .. }) => bulkhead,
            Err(error) => {
                self.settle(made);
                return Err(failed(error.to_string()));
            }
        };
        let delegated = match owner {
            Some(uid) if !made.is_empty() => match self.give_away(&cgroup, uid) {
                Ok(delegated) => Some(delegated),
                Err(error) => {
                    self.remove_cgroups(made);
                    return Err(failed(error));
                }
            },
            _ => None,
        };
        let sub = Some(Sub { cgroup, made, delegated });
        self.members.runs.insert(place.clone(), Run { sub, ..Run::default() });
        Ok(place)
    }

    /// Takes over the cgroups of runs that an earlier guardd made.
    pub(crate) fn adopt_runs(&mut self) {
        for (path, ticket) in std::mem::take(&mut self.left_cgroups) {
            if self.bulkhead_at_or_below(&path).is_some() {
                self.left_cgroups.push((path, ticket));
                continue;
            }
            let bulkhead = self.bulkheads.iter().find_map(|(name, live)| {
                let name_of_run = path.strip_prefix(live.cgroup.path()).ok()?.to_str()?;
                let is_run = !name_of_run.is_empty() && !name_of_run.contains('/');
                is_run.then(|| (name.clone(), name_of_run.to_owned()))
            });
            match (bulkhead, Bulkhead::open(&self.hierarchy, &path)) {
                (Some(place), Ok(Some(cgroup))) => {
                    let sub = Some(Sub { cgroup, made: vec![(path, ticket)], delegated: None });
                    self.members.runs.insert(place, Run { sub, ..Run::default() });
                }
                _ => self.left_cgroups.push((path, ticket)),
            }
        }
    }

    /// Removes a run's own cgroup when nobody is in it.
    pub(super) fn drop_run_if_empty(&mut self, place: &Place) {
        let Some(sub) = self.sub(place) else { return };
        if sub.cgroup.populated().unwrap_or(true) {
            return;
        }
        let made = self.forget_run(place);
        for left in self.remove_cgroups(made) {
            tracing::warn!(place = super::place_text(place), "{left}");
        }
    }
}
