//! Takes away what guard made, and nothing else: `rmdir` alone, which the kernel refuses while a
//! process or a child cgroup is inside. Works from paths, so that `guardctl cleanup` can do it
//! from the journal of a daemon that died.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::bulkhead::Bulkhead;
use super::error::{CgroupError, Result, io};
use super::hierarchy::Hierarchy;
use super::members::{Procs, add_pids};
use super::walk::{
    children, is_cgroup2_fd, open_absolute, open_dir, plain_names, read_file, vanished,
};

/// What became of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone now.
    Removed,
    /// It was gone already.
    Absent,
    /// It was left: something is in it.
    Busy {
        /// Processes directly in it.
        pids: Vec<u32>,
        /// Cgroups below it: others' work, or themselves busy.
        children: Vec<PathBuf>,
    },
    /// It was left: another cgroup now has its path.
    Replaced,
}

/// Removes the cgroup at this absolute path if nothing is in it.
///
/// # Errors
/// [`CgroupError::BadRoot`] if the path is on no cgroup2 mount (nothing is touched then),
/// [`CgroupError::BadPath`] for `..`, [`CgroupError::Io`] for the rest.
pub fn remove_if_empty(hierarchy: &Hierarchy, path: &Path) -> Result<Removed> {
    let Some((mount, _)) = hierarchy.locate(path) else {
        return Err(CgroupError::BadRoot {
            path: path.into(),
            reason: "it is not below a cgroup2 mount, so it is no cgroup that guard made".into(),
            cure: "nothing to do; remove the entry from guard's journal".into(),
        });
    };
    let below = path.strip_prefix(mount).unwrap_or(path);
    let names = plain_names(below)?;
    let Some((name, parents)) = names.split_last() else { return Ok(Removed::Absent) };
    let name = Path::new(name);
    let parents: PathBuf = Path::new(".").join(parents.iter().collect::<PathBuf>());

    let top = open_absolute(mount).map_err(|e| io("open", mount, e))?;
    let parent = match open_dir(top.as_fd(), &parents) {
        Err(errno) if vanished(errno) => return Ok(Removed::Absent),
        other => other.map_err(|e| io("open the cgroup above", path, e))?,
    };
    if !is_cgroup2_fd(&parent).map_err(|e| io("look at", path, e))? {
        return Err(io("remove", path, Errno::EXDEV));
    }
    match unlinkat(&parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(Removed::Removed),
        Err(errno) if vanished(errno) => Ok(Removed::Absent),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
            let dir = match open_dir(parent.as_fd(), name) {
                Err(errno) if vanished(errno) => return Ok(Removed::Absent),
                other => other.map_err(|e| io("open", path, e))?,
            };
            let mut procs = Procs::default();
            // Reading may fail as the cgroup goes; then there is nobody to name.
            if let Ok(text) = read_file(&dir, "cgroup.procs") {
                add_pids(&mut procs, &text);
            }
            let names = children(dir.as_fd()).unwrap_or_default();
            let children = names.into_iter().map(|name| path.join(name)).collect();
            Ok(Removed::Busy { pids: procs.pids, children })
        }
        Err(errno) => Err(io("remove", path, errno)),
    }
}

/// Removes those of the cgroups that are empty, innermost first, and says what became of each.
/// Pass only what guard made.
pub fn remove_made(hierarchy: &Hierarchy, made: &[PathBuf]) -> Vec<(PathBuf, Result<Removed>)> {
    let mut paths = made.to_vec();
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    paths.dedup();
    paths
        .into_iter()
        .map(|path| {
            let result = remove_if_empty(hierarchy, &path);
            (path, result)
        })
        .collect()
}

impl Bulkhead {
    /// Removes the directories of `made` (those that [`Bulkhead::make_or_adopt`] made for it) as
    /// far as they are empty, innermost first. A cgroup that has been put in this one's place
    /// stays, and with it those above.
    pub fn remove_if_empty(
        self,
        hierarchy: &Hierarchy,
        made: &[PathBuf],
    ) -> Vec<(PathBuf, Result<Removed>)> {
        let replaced = self.path.exists() && !self.still_there();
        let (own, above): (Vec<_>, Vec<_>) =
            made.iter().cloned().partition(|path| replaced && *path == self.path);
        let mut results: Vec<_> =
            own.into_iter().map(|path| (path, Ok(Removed::Replaced))).collect();
        results.extend(remove_made(hierarchy, &above));
        results
    }
}
