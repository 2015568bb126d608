//! Who may use the control socket: root, guardd's own user, members of the socket's group; and
//! the owners of bulkheads, to put processes of theirs into those.
//! The socket's mode says the same to the kernel; this is checked again for every connection,
//! because a mode is easily changed and a descriptor easily handed on. Never lets a peer in
//! because something about it could not be found out.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::{Group, geteuid};
use tracing::warn;

use super::GROUP_NAME;
use super::api::ErrorBody;
use super::peer::Peer;

/// The group of the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup {
    /// Its id.
    pub gid: u32,
    /// Its name.
    pub name: String,
}

impl SocketGroup {
    /// The group `guard`, if this host has it.
    pub fn find() -> Option<Self> {
        match Group::from_name(GROUP_NAME) {
            Ok(group) => group.map(|group| Self { gid: group.gid.as_raw(), name: group.name }),
            Err(error) => {
                warn!(%error, group = GROUP_NAME, "group database unreadable: only root may use the control socket");
                None
            }
        }
    }
}

/// What a peer may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Full,
    /// Put processes of its own into the bulkheads that it owns.
    Owner,
}

/// Ids of the users who own bulkheads; a reload changes them.
pub type Owners = Arc<RwLock<BTreeSet<u32>>>;

/// Who may.
#[derive(Clone, Debug)]
pub struct AccessRule {
    own_uid: u32,
    group: Option<SocketGroup>,
    owners: Owners,
}

impl AccessRule {
    /// Root, this process's effective user, and the members of `group` (`None` = no one else).
    pub fn new(group: Option<SocketGroup>) -> Self {
        Self { own_uid: geteuid().as_raw(), group, owners: Owners::default() }
    }

    /// The same, and the owners of bulkheads.
    #[must_use]
    pub fn with_owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// With the group `guard`, if this host has it.
    pub fn detect() -> Self {
        Self::new(SocketGroup::find())
    }

    /// What the peer may; nothing = what to tell it.
    pub fn check(&self, peer: &Peer) -> Result<Role, ErrorBody> {
        let full = self.check_full(peer);
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        if full.is_err() && owners.contains(&peer.uid) {
            return Ok(Role::Owner);
        }
        full.map(|()| Role::Full)
    }

    fn check_full(&self, peer: &Peer) -> Result<(), ErrorBody> {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return Ok(());
        }
        let Some(group) = &self.group else {
            return Err(self.refusal(peer, ""));
        };
        if peer.gid == group.gid {
            return Ok(());
        }
        match peer.groups() {
            Ok(groups) if groups.contains(&group.gid) => Ok(()),
            Ok(_) => Err(self.refusal(peer, "")),
            Err(error) => Err(self.refusal(peer, &format!("; its groups are unknown: {error}"))),
        }
    }

    fn refusal(&self, peer: &Peer, detail: &str) -> ErrorBody {
        let Peer { uid, pid, .. } = peer;
        let own = match self.own_uid {
            0 => String::new(),
            uid => format!(", uid {uid}"),
        };
        let (who, help) = match &self.group {
            Some(SocketGroup { name, .. }) => (
                format!("root{own} and members of group {name}"),
                format!(
                    "use sudo, or add the user to group {name} (usermod -aG {name} USER) and log in again"
                ),
            ),
            None => (
                format!("root{own} (this host has no group {GROUP_NAME})"),
                format!(
                    "use sudo; or, to let others in: groupadd --system {GROUP_NAME}, add the user to group {GROUP_NAME}, restart guardd"
                ),
            ),
        };
        ErrorBody {
            error: format!(
                "uid {uid} (pid {pid}) may not control guardd: only {who} may{detail}; nothing was done"
            ),
            help,
            exit_code: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { pid: std::process::id(), uid, gid, started_ticks: None }
    }

    fn rule(group: Option<u32>) -> AccessRule {
        let group = group.map(|gid| SocketGroup { gid, name: "guard".into() });
        AccessRule { own_uid: 990, group, owners: Owners::default() }
    }

    #[test]
    fn owners_are_let_in_as_such_and_members_with_everything() {
        let owners = Owners::default();
        let rule = rule(Some(77)).with_owners(Arc::clone(&owners));
        assert!(rule.check(&peer(1000, 5)).is_err());
        owners.write().unwrap().extend([1000, 1001, 0]);
        assert_eq!(rule.check(&peer(1000, 5)).unwrap(), Role::Owner);
        assert_eq!(rule.check(&peer(1001, 77)).unwrap(), Role::Full);
        assert_eq!(rule.check(&peer(0, 0)).unwrap(), Role::Full);
        assert!(rule.check(&peer(1002, 5)).is_err());
        owners.write().unwrap().clear();
        assert!(rule.check(&peer(1000, 5)).is_err());
    }

    #[test]
    fn root_and_the_own_user_may() {
        assert!(rule(None).check(&peer(0, 5)).is_ok());
        assert!(rule(None).check(&peer(990, 5)).is_ok());
    }

    #[test]
    fn a_member_by_primary_group_may_and_others_may_not() {
        assert!(rule(Some(77)).check(&peer(1000, 77)).is_ok());
        let refusal = rule(Some(77)).check(&peer(1000, 78)).unwrap_err();
        assert_eq!(refusal.exit_code, 2);
        assert!(refusal.error.contains("uid 1000"), "{}", refusal.error);
        assert!(refusal.help.contains("usermod -aG guard"), "{}", refusal.help);
    }

    #[test]
    fn unknown_groups_are_not_let_in() {
        let refusal = rule(Some(77)).check(&peer(1000, 78)).unwrap_err();
        assert!(refusal.error.contains("its groups are unknown"), "{}", refusal.error);
    }

    #[test]
    fn without_the_group_the_cure_makes_it() {
        let refusal = rule(None).check(&peer(1000, 78)).unwrap_err();
        assert!(refusal.help.contains("groupadd"), "{}", refusal.help);
    }
}
