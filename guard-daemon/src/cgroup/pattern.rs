//! Cgroups of others, by a pattern: `/system.slice/docker-*.scope`. Finds those that match and the
//! directories in which others may appear. Looks only: what matches is neither made, nor changed,
//! nor removed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use glob::Pattern;

use super::bulkhead::Bulkhead;
use super::error::{Result, io};
use super::hierarchy::Hierarchy;
use super::walk::{children, open_absolute, open_dir, vanished};

/// Characters that make a component a pattern.
pub const WILDCARDS: [char; 3] = ['*', '?', '['];

/// An absolute path from the root of the cgroup tree, each component of which may have `*`, `?`
/// and `[abc]` in it.
#[derive(Clone, Debug)]
pub struct CgroupPattern(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Name(String),
    Any(Pattern),
}

/// What [`CgroupPattern::scan`] found; absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Cgroups that match.
    pub found: BTreeSet<PathBuf>,
    /// Directories in which a match, or a cgroup above one, may appear.
    pub parents: BTreeSet<PathBuf>,
}

impl CgroupPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let below = text.strip_prefix('/').ok_or("it does not start with `/`")?;
        let part = |name: &str| match name {
            "" | "." | ".." => Err(format!("\"{name}\" is no name of a cgroup")),
            name if name.contains("**") => Err("`**` has no meaning: `*` stands for any name, \
                                                write one for each level"
                .to_owned()),
            name if !name.contains(WILDCARDS) => Ok(Part::Name(name.to_owned())),
            name => Pattern::new(name).map(Part::Any).map_err(|e| e.msg.to_owned()),
        };
        below.split('/').map(part).collect::<std::result::Result<_, _>>().map(Self)
    }

    /// What matches now.
    ///
    /// # Errors
    /// [`CgroupError::Io`](super::CgroupError::Io) if a directory is there and cannot be read.
    pub fn scan(&self, hierarchy: &Hierarchy) -> Result<Scan> {
        let top = hierarchy.mount_point();
        let dir = open_absolute(top).map_err(|e| io("open", top, e))?;
        let mut scan = Scan::default();
        descend(dir.as_fd(), top, &self.0, &mut scan)?;
        Ok(scan)
    }
}

fn descend(dir: BorrowedFd<'_>, path: &Path, parts: &[Part], scan: &mut Scan) -> Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        scan.found.insert(path.to_owned());
        return Ok(());
    };
    scan.parents.insert(path.to_owned());
    let names = match part {
        Part::Name(name) => vec![name.into()],
        Part::Any(pattern) => match children(dir) {
            Err(errno) if vanished(errno) => return Ok(()),
            other => other
                .map_err(|e| io("list", path, e))?
                .into_iter()
                .filter(|name| pattern.matches(&name.to_string_lossy()))
                .collect(),
        },
    };
    for name in names {
        let below = path.join(&name);
        match open_dir(dir, Path::new(&name)) {
            Err(errno) if vanished(errno) => {}
            // A file of the kernel's, which no cgroup can be named as.
            Err(nix::errno::Errno::ENOTDIR) => {}
            other => {
                let inner = other.map_err(|e| io("open", &below, e))?;
                descend(inner.as_fd(), &below, rest, scan)?;
            }
        }
    }
    Ok(())
}

impl Bulkhead {
    /// Opens a cgroup that is there; `None` = it is gone.
    ///
    /// # Errors
    /// As [`Bulkhead::make_or_adopt`], of which it makes nothing.
    pub fn open(hierarchy: &Hierarchy, path: &Path) -> Result<Option<Self>> {
        let dir = match open_absolute(path) {
            Err(errno) if vanished(errno) => return Ok(None),
            other => other.map_err(|e| io("open cgroup", path, e))?,
        };
        let Some((_, match_path)) = hierarchy.locate(path) else {
            return Err(io("open cgroup", path, nix::errno::Errno::EXDEV));
        };
        Self::adopt(dir, path.to_owned(), match_path).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_are_none() {
        for (text, why) in [
            ("system.slice", "does not start"),
            ("/", "is no name"),
            ("/a//b", "is no name"),
            ("/a/../b", "is no name"),
            ("/a/**/b", "one for each level"),
            ("/a/[b", "invalid range"),
        ] {
            let error = CgroupPattern::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
