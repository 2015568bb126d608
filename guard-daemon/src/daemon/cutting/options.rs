//! Socket options for connections that are older than guardd: no hook has seen their connect, so
//! their options are set from outside, once, through a copy of the agent's descriptor. Only for
//! connections that an agent has made, and not to protected destinations. What cannot be done for one
//! is left: its end is found out at the next attempt to use it, as without guard.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::socket::{SOCKET_ADOPTED, SOCKET_PASSIVE, SOCKET_PROTECTED};

use crate::daemon::hygiene;
use crate::daemon::state::Guard;
use crate::net::sock_diag::SocketState;
use crate::net::sock_options;
use crate::observe::{GuardedSocket, socket_descriptors};

/// Cookies of connections that were seen to.
#[derive(Default)]
pub(super) struct Options {
    done: BTreeSet<u64>,
}

impl Guard {
    /// Sets the options of connections older than guardd that have none from it yet.
    pub(super) fn set_options_of_older(&self, options: &mut Options, sockets: &[GuardedSocket]) {
        let is_older = |guarded: &&GuardedSocket| {
            let flags = guarded.remembered.flags;
            flags & (SOCKET_ADOPTED | SOCKET_PASSIVE | SOCKET_PROTECTED) == SOCKET_ADOPTED
                && guarded.socket.state == SocketState::Established
                && guarded.socket.inode != 0
        };
        let older: Vec<_> = sockets.iter().filter(is_older).collect();
        let there: BTreeSet<u64> = older.iter().map(|guarded| guarded.socket.cookie).collect();
        options.done.retain(|cookie| there.contains(cookie));
        let new: Vec<_> = older
            .into_iter()
            .filter(|guarded| options.done.insert(guarded.socket.cookie))
            .collect();
        if new.is_empty() {
            return;
        }
        let mut descriptors = BTreeMap::new();
        for guarded in new {
            let remembered = &guarded.remembered;
            let (policy, pids) = {
                let state = self.lock();
                let Some(policy) = self.hygiene_policy(&state, remembered.service) else {
                    continue;
                };
                let live = state.bulkheads.values().find(|live| live.id == remembered.bulkhead);
                let pids = live.and_then(|live| live.cgroup.procs().ok()).map(|procs| procs.pids);
                (policy, pids.unwrap_or_default())
            };
            let owners =
                descriptors.entry(remembered.bulkhead).or_insert_with(|| socket_descriptors(&pids));
            let Some((pid, descriptor)) = owners.get(&guarded.socket.inode) else { continue };
            let wanted = hygiene::policy(&policy);
            match sock_options::set(*pid, *descriptor, guarded.socket.inode, &wanted) {
                Ok(()) => {
                    tracing::debug!(pid, descriptor, "options of an older connection are set");
                }
                Err(error) => {
                    tracing::info!(pid, %error, "an older connection keeps the options that it has");
                }
            }
        }
    }
}
