//! `guardctl exec --user`: becomes another user for good. It gives up rights and never gains any:
//! only root may name somebody else, all ids are set at once and for good, and what cannot be given
//! up ends the command before it starts.

use std::ffi::{CString, OsString};

use nix::unistd::{
    Gid, Group, Uid, User, getgid, getgrouplist, getgroups, getuid, setgroups, setresgid, setresuid,
};

/// Whom the command runs as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// Of the user database; a number without an entry has none.
    name: Option<String>,
    home: OsString,
}

/// Finds USER or USER:GROUP, names or numbers.
pub(super) fn find(text: &str) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let unreadable = |error| format!("the user database cannot be read: {error}");
    let mut entry = User::from_name(user).map_err(unreadable)?;
    if entry.is_none()
        && let Ok(number) = user.parse()
    {
        entry = User::from_uid(Uid::from_raw(number)).map_err(unreadable)?;
    }
    let group = group.map(find_group).transpose()?;
    if let Some(entry) = entry {
        let gid = group.unwrap_or(entry.gid);
        let name = CString::new(entry.name.clone()).map_err(|e| e.to_string())?;
        let groups = getgrouplist(&name, gid).map_err(unreadable)?;
        let home = entry.dir.into_os_string();
        return Ok(Identity { uid: entry.uid, gid, groups, name: Some(entry.name), home });
    }
    let uid = user.parse().map_err(|_| format!("there is no user {user:?}"))?;
    let gid = group.ok_or_else(|| {
        format!("user {uid} has no entry, so it has no group either: say {uid}:GROUP")
    })?;
    let home = OsString::from("/");
    Ok(Identity { uid: Uid::from_raw(uid), gid, groups: vec![gid], name: None, home })
}

fn find_group(group: &str) -> Result<Gid, String> {
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => {
            group.parse().map(Gid::from_raw).map_err(|_| format!("there is no group {group:?}"))
        }
        Err(error) => Err(format!("the group database cannot be read: {error}")),
    }
}

impl Identity {
    /// Whether this process may become it: root may become anybody, others what they are.
    pub(super) fn check(&self) -> Result<(), String> {
        let own = getuid();
        if own.is_root() || (self.uid == own && self.gid == getgid()) {
            return Ok(());
        }
        Err(format!(
            "only root may run a command as uid {}, gid {}: this is uid {own}",
            self.uid, self.gid
        ))
    }

    /// Becomes it, for good. After an error some of it may be done: end the process then.
    pub(super) fn become_it(&self) -> Result<(), String> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error| format!("cannot give up root's {what}: {error}")
        };
        if getuid().is_root() {
            // In this order: without the user's rights the rest could not be set any more.
            setgroups(&self.groups).map_err(failed("groups"))?;
            setresgid(self.gid, self.gid, self.gid).map_err(failed("group"))?;
            setresuid(self.uid, self.uid, self.uid).map_err(failed("user id"))?;
            let root = Uid::from_raw(0);
            if !self.uid.is_root() && setresuid(root, root, root).is_ok() {
                return Err("root's rights came back after they were given up".into());
            }
            let groups = getgroups().map_err(failed("groups"))?;
            if groups.iter().any(|gid| !self.groups.contains(gid)) {
                return Err(format!("groups {groups:?} are left"));
            }
        }
        Ok(())
    }

    /// What the user's own login would set.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let name = self.name.clone().unwrap_or_else(|| self.uid.to_string());
        vec![("HOME", self.home.clone()), ("USER", name.clone().into()), ("LOGNAME", name.into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_number() {
        let root = find("root").unwrap();
        assert_eq!((root.uid.as_raw(), root.home.to_str()), (0, Some("/root")));
        assert_eq!(find("0").unwrap(), root);
        assert_eq!(find("root:7").unwrap().gid, Gid::from_raw(7));
        let number = find("4000000:4000001").unwrap();
        assert_eq!(number.groups, [Gid::from_raw(4_000_001)]);
        let environment = number.environment();
        assert_eq!(environment[1], ("USER", "4000000".into()));
        for (text, why) in [
            ("no-such-user", "no user"),
            ("root:no-such-group", "no group"),
            ("4000000", "say 4000000:GROUP"),
            ("", "no user"),
        ] {
            let error = find(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
