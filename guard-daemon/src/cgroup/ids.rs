//! Ids of a bulkhead's cgroup and of those below it, as the kernel tells them of sockets.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::sys::stat::fstat;

use super::bulkhead::Bulkhead;
use super::error::{Result, io};
use super::walk::{children, open_dir, vanished};

impl Bulkhead {
    /// Ids (inode numbers) of its cgroup and of all below but for those of bulkheads inside it. Cgroups
    /// that vanish meanwhile are passed over.
    ///
    /// # Errors
    /// [`super::CgroupError::Io`] if a cgroup is there and cannot be read.
    pub fn cgroup_ids(&self) -> Result<BTreeSet<u64>> {
        let mut ids = BTreeSet::from([self.id()]);
        let mut todo = vec![PathBuf::from(".")];
        while let Some(below) = todo.pop() {
            let fail = |action, errno| io(action, &self.path.join(&below), errno);
            let dir = match open_dir(self.as_fd(), &below) {
                Err(errno) if vanished(errno) => continue,
                other => other.map_err(|e| fail("open", e))?,
            };
            let id = fstat(&dir).map_err(|e| fail("look at", e))?.st_ino;
            if self.inner.contains(&id) {
                continue;
            }
            ids.insert(id);
            match children(dir.as_fd()) {
                Ok(names) => todo.extend(names.into_iter().map(|name| below.join(name))),
                Err(errno) if vanished(errno) => {}
                Err(errno) => return Err(fail("list", errno)),
            }
        }
        Ok(ids)
    }
}
