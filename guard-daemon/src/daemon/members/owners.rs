//! Users who own bulkheads: their cgroups are delegated to them, and they may connect to the
//! control socket. A cgroup that guard did not make is never given away; what was given is written to
//! the undo log before, and taken back when the bulkhead goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;

use nix::unistd::User;

use super::State;
use crate::cgroup::{self, Bulkhead};
use crate::control;
use crate::daemon::state::Guard;
use crate::journal::{Ticket, Undo};
use crate::plan::Plan;

/// Ids of users, or what is wrong with them, by what the configuration says.
pub(crate) type Uids = BTreeMap<String, Result<u32, String>>;

/// Looks up all owners of a plan. May take as long as this host's directory service does, so never
/// call it with the state locked.
pub(crate) fn look_up(plan: &Plan) -> Uids {
    let owners = plan.bulkheads.iter().filter_map(|bulkhead| bulkhead.owner.as_ref());
    owners.map(|owner| (owner.clone(), uid_of(owner))).collect()
}

impl Guard {
    /// Tries again to look up owners, if some were not found: the user may have been made since.
    pub(super) fn look_up_owners_again(&self) {
        let plan = {
            let state = self.lock();
            if state.members.uids.values().all(Result::is_ok) {
                return;
            }
            state.plan.clone()
        };
        let uids = look_up(&plan);
        let mut state = self.lock();
        // A reload in between has looked up its own.
        if state.plan == plan && state.members.uids != uids {
            state.members.uids = uids;
            self.settle_owners(&mut state);
        }
    }

    /// Brings owners in line with the plan, as far as they are known.
    pub(crate) fn settle_owners(&self, state: &mut State) {
        let owners = state.settle_owners();
        let mut known = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if *known == owners {
            return;
        }
        known.clone_from(&owners);
        drop(known);
        let socket = &state.plan.daemon.control_socket;
        if let Err(error) = control::let_in(socket, &owners) {
            tracing::warn!(socket = %socket.display(), %error,
                "owners of bulkheads cannot connect unless they are in group guard");
        }
    }
}

/// The id of a user by name or number; 0 is nobody special.
fn uid_of(user: &str) -> Result<u32, String> {
    match User::from_name(user) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => user.parse().map_err(|_| {
            format!("owner {user:?} is no user of this host; bulkheads.NAME.owner wants a name or number")
        }),
        Err(error) => Err(format!("owner {user:?} cannot be looked up: {error}")),
    }
}

impl State {
    fn settle_owners(&mut self) -> BTreeSet<u32> {
        let mut owners = BTreeSet::new();
        let names: Vec<String> = self.bulkheads.keys().cloned().collect();
        for name in names {
            let wanted = self.plan.bulkhead(&name).and_then(|plan| plan.owner.clone());
            let known = wanted.map(|wanted| match self.members.uids.get(&wanted) {
                Some(known) => known.clone(),
                None => Err(format!("owner {wanted:?} is not looked up yet")),
            });
            let (uid, problem) = match known {
                None => (None, None),
                Some(Ok(uid)) => (Some(uid), None),
                Some(Err(problem)) => (None, Some(problem)),
            };
            let problem = problem.or_else(|| self.settle_owner(&name, uid).err());
            if let Some(problem) = problem {
                if self.members.owner_problems.get(&name) != Some(&problem) {
                    tracing::warn!(bulkhead = name, problem, "not delegated");
                }
                self.members.owner_problems.insert(name, problem);
            } else {
                self.members.owner_problems.remove(&name);
            }
            owners.extend(uid.filter(|uid| *uid != 0));
        }
        owners
    }

    fn settle_owner(&mut self, name: &str, uid: Option<u32>) -> Result<(), String> {
        let Some(mut live) = self.bulkheads.remove(name) else { return Ok(()) };
        live.owner = uid;
        let given = live.delegated.as_ref().map(|(uid, _)| *uid);
        let wanted = uid.filter(|uid| *uid != 0);
        let mut result = Ok(());
        if given != wanted {
            let path = live.cgroup.path().to_owned();
            self.take_back(&path, live.delegated.take());
            let ours = live.made.iter().chain(&self.left_cgroups).any(|(made, _)| *made == path);
            result = match wanted {
                None => Ok(()),
                Some(_) if !ours => Err(format!(
                    "{} is not delegated: guard did not make it, and changes nothing of it",
                    path.display()
                )),
                Some(uid) => self.give_away(&live.cgroup, uid).map(|given| {
                    live.delegated = Some(given);
                }),
            };
        }
        self.bulkheads.insert(name.to_owned(), live);
        result
    }

    /// Delegates a cgroup that guard made.
    pub(super) fn give_away(
        &mut self,
        cgroup: &Bulkhead,
        uid: u32,
    ) -> Result<(u32, Ticket), String> {
        let entry = Undo::CgroupDelegated { path: cgroup.path().to_owned(), uid };
        let ticket = self.undo.intend(entry).map_err(|e| e.to_string())?;
        match cgroup.delegate(uid) {
            Ok(()) => Ok((uid, ticket)),
            Err(error) => {
                self.take_back(cgroup.path(), Some((uid, ticket)));
                Err(error.to_string())
            }
        }
    }

    /// Takes a delegated cgroup back.
    pub(crate) fn take_back(&mut self, path: &Path, delegated: Option<(u32, Ticket)>) {
        let Some((uid, ticket)) = delegated else { return };
        match cgroup::take_back(path, uid) {
            Ok(_) => self.settle(vec![(path.to_owned(), ticket)]),
            Err(error) => tracing::warn!(%error, uid, "a cgroup stays delegated"),
        }
    }
}
