//! Where bulkheads live: what `daemon.cgroup_root` means on this host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::error::{CgroupError, Result, io};
use super::hierarchy::Hierarchy;
use super::systemd;
use super::walk::{is_cgroup2_fd, open_absolute};
use crate::plan::CgroupRoot;

/// The open cgroup below which bulkheads are made or adopted.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    match_path: PathBuf,
    unit: Option<&'static str>,
    warnings: Vec<String>,
}

impl Root {
    /// Opens the root that the plan asks for.
    ///
    /// With [`CgroupRoot::Auto`] under systemd this may start the unit [`systemd::UNIT`];
    /// `before_unit` gets its name right before that, so that the caller can write its undo.
    /// A unit that is active already is used as it is, without a call of `before_unit`.
    ///
    /// # Errors
    /// [`CgroupError::BadRoot`] for a path that is no cgroup2 directory,
    /// [`CgroupError::Systemd`] and [`CgroupError::Journal`] for the delegated place.
    pub fn open(
        hierarchy: &Hierarchy,
        wanted: &CgroupRoot,
        before_unit: &mut dyn FnMut(&str) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        let under_systemd = systemd::is_pid_1(Path::new("/"));
        match wanted {
            CgroupRoot::Path(path) => {
                let mut root = Self::at(hierarchy, path)?;
                if under_systemd && !in_unit(&root.match_path) {
                    root.warnings.push(format!(
                        "cgroup root {} belongs to systemd, which removes controllers that it \
                         does not know of: limits may vanish; set daemon.cgroup_root = \"auto\", \
                         or name a cgroup below a unit with Delegate=yes",
                        root.path.display()
                    ));
                }
                Ok(root)
            }
            CgroupRoot::Auto if under_systemd => {
                let place = systemd::delegated_place(hierarchy.mount_point(), before_unit)?;
                let mut root = Self::at(hierarchy, &place.path)?;
                root.unit = Some(systemd::UNIT);
                root.warnings = place.warnings;
                Ok(root)
            }
            CgroupRoot::Auto => Self::at(hierarchy, hierarchy.mount_point()),
        }
    }

    fn at(hierarchy: &Hierarchy, path: &Path) -> Result<Self> {
        let bad = |reason: &str, cure: String| {
            Err(CgroupError::BadRoot { path: path.into(), reason: reason.into(), cure })
        };
        let example = || {
            format!("name a directory below {}, or use \"auto\"", hierarchy.mount_point().display())
        };
        if !path.is_absolute() {
            return bad("it is not absolute", example());
        }
        // The operator's own path may lead through links; what it leads to is what counts.
        let real = match std::fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) => {
                let cure = format!("make it (mkdir -p {}), or use \"auto\"", path.display());
                return bad(&format!("it cannot be found: {error}"), cure);
            }
        };
        if !real.is_dir() {
            return bad("it is not a directory", example());
        }
        let dir = open_absolute(&real).map_err(|e| io("open cgroup root", &real, e))?;
        if !is_cgroup2_fd(&dir).map_err(|e| io("look at", &real, e))? {
            return bad("it is not on a cgroup2 file system", example());
        }
        let Some((_, match_path)) = hierarchy.locate(&real) else {
            return bad("its cgroup2 mount is not in this process's table of mounts", example());
        };
        Ok(Self { dir, path: real, match_path, unit: None, warnings: Vec::new() })
    }

    /// Absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path from the root of the cgroup tree, without a leading slash; empty at the root itself.
    pub fn match_path(&self) -> &Path {
        &self.match_path
    }

    /// The systemd unit that this place was asked for with, if any.
    pub fn systemd_unit(&self) -> Option<&'static str> {
        self.unit
    }

    /// Whether systemd manages it by itself: it has not delegated it, and suffers no other writer.
    pub fn is_managed_by_systemd(&self) -> bool {
        self.unit.is_none() && systemd::is_pid_1(Path::new("/")) && !in_unit(&self.match_path)
    }

    /// What an operator should know, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether the path lies in a service or scope: only those can be delegated.
fn in_unit(match_path: &Path) -> bool {
    match_path.components().any(|component| match component {
        Component::Normal(name) => {
            let name = name.as_encoded_bytes();
            name.ends_with(b".service") || name.ends_with(b".scope")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_and_scopes_can_be_delegated() {
        assert!(in_unit(Path::new("guard.slice/guard-agents.slice/guard-agents.service")));
        assert!(in_unit(Path::new("a.slice/b.scope/agents")));
        assert!(!in_unit(Path::new("agents")));
        assert!(!in_unit(Path::new("system.slice/agents")));
        assert!(!in_unit(Path::new("")));
    }

    #[test]
    fn roots_that_are_none() {
        let Ok(hierarchy) = Hierarchy::discover() else {
            eprintln!("SKIPPED roots_that_are_none: no cgroup2 is mounted");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let absent = dir.path().join("absent");
        for (path, why) in [
            (dir.path(), "not on a cgroup2"),
            (file.as_path(), "not a directory"),
            (absent.as_path(), "cannot be found"),
            (Path::new("agents"), "not absolute"),
            (Path::new("/proc"), "not on a cgroup2"),
        ] {
            let wanted = CgroupRoot::Path(path.into());
            let error = Root::open(&hierarchy, &wanted, &mut |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("cure: "), "{error}");
        }
    }
}
