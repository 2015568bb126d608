//! Finds the cgroup2 file system: from the table of mounts, never by a fixed path, and believed
//! only when the file system itself says that it is cgroup2.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::error::{CgroupError, Result};
use super::mountinfo::{CgroupMount, cgroup_mounts};

const TABLE: &str = "/proc/self/mountinfo";
/// Inode of the first cgroup namespace (`PROC_CGROUP_INIT_INO` in the kernel), the same on every host.
const INITIAL_NAMESPACE: &str = "cgroup:[4026531835]";

/// The cgroup2 file system of this host, as this process sees it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    chosen: CgroupMount,
    mounts: Vec<CgroupMount>,
    hybrid: bool,
    namespaced: bool,
}

impl Hierarchy {
    /// Finds it.
    ///
    /// # Errors
    /// [`CgroupError::Mountinfo`] where `/proc` cannot be read, [`CgroupError::NoHierarchy`] where
    /// no cgroup2 is mounted.
    pub fn discover() -> Result<Self> {
        let mut table = Vec::new();
        File::open(TABLE)
            .and_then(|mut file| file.read_to_end(&mut table))
            .map_err(|source| CgroupError::Mountinfo { path: TABLE.into(), source })?;
        // Unreadable (no such namespace type, hidepid): then nothing is known against it.
        let namespaced = std::fs::read_link("/proc/self/ns/cgroup")
            .is_ok_and(|link| link != Path::new(INITIAL_NAMESPACE));
        Self::from_table(&table, namespaced, &is_cgroup2)
    }

    /// `check` says whether a path lies on cgroup2 (a later mount may hide an earlier one).
    fn from_table(table: &[u8], namespaced: bool, check: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let all = cgroup_mounts(table);
        let hybrid = all.iter().any(|m| !m.v2);
        let listed = all.iter().filter(|m| m.v2).count();
        let mounts: Vec<_> = all.into_iter().filter(|m| m.v2 && check(&m.mount_point)).collect();
        // The whole tree before a part of it, writable before read-only, then the first.
        let Some(chosen) = mounts.iter().min_by_key(|m| (m.root != Path::new("/"), m.read_only))
        else {
            let looked_at = if listed == 0 {
                format!("{TABLE} lists none")
            } else {
                format!("{TABLE} lists {listed}, all hidden by other mounts")
            };
            return Err(CgroupError::NoHierarchy { looked_at });
        };
        Ok(Self { chosen: chosen.clone(), hybrid, namespaced, mounts })
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.chosen.mount_point
    }

    /// cgroup v1 hierarchies are mounted too, so controllers may be bound to them.
    pub fn is_hybrid(&self) -> bool {
        self.hybrid
    }

    /// Controllers that this cgroup2 offers (`cgroup.controllers`); empty where v1 has them all.
    ///
    /// # Errors
    /// [`CgroupError::Mountinfo`] where the file cannot be read.
    pub fn controllers(&self) -> Result<Vec<String>> {
        let path = self.mount_point().join("cgroup.controllers");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| CgroupError::Mountinfo { path, source })?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// What an operator should know about it, one line each; empty on an ordinary host.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let point = self.chosen.mount_point.display();
        if self.chosen.root != Path::new("/") {
            problems.push(format!(
                "{point} shows only {} of the cgroup tree: cgroups outside it cannot be guarded; \
                 run guardd on the host, or bind-mount the host's cgroup2 into its container",
                self.chosen.root.display()
            ));
        } else if self.namespaced {
            problems.push(format!(
                "guardd runs in a cgroup namespace: {point} shows only its part of the host's \
                 cgroup tree; run it in the host's (docker run --cgroupns=host)"
            ));
        }
        if self.chosen.read_only {
            problems.push(format!(
                "{point} is mounted read-only: no bulkhead can be made; mount it read-write for guardd"
            ));
        }
        problems
    }

    /// The mount that `path` lies on and the path from the root of the cgroup tree, without its
    /// leading slash (as `iptables -m cgroup --path` wants it). `None` = on no cgroup2 mount.
    pub(super) fn locate(&self, path: &Path) -> Option<(&Path, PathBuf)> {
        let mount = self
            .mounts
            .iter()
            .filter(|m| path.starts_with(&m.mount_point))
            .max_by_key(|m| m.mount_point.components().count())?;
        let below = path.strip_prefix(&mount.mount_point).ok()?;
        let root = mount.root.strip_prefix("/").unwrap_or(&mount.root);
        let joined = if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) };
        Some((&mount.mount_point, joined))
    }
}

/// Whether `path` is on a cgroup2 file system.
pub(super) fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str, &str)]) -> Vec<u8> {
        let line = |(root, point, options): &(&str, &str, &str)| {
            format!("1 2 0:3 {root} {point} {options} shared:1 - cgroup2 none rw")
        };
        rows.iter()
            .map(line)
            .collect::<Vec<_>>()
            .join(
                "
",
            )
            .into_bytes()
    }

    #[test]
    fn prefers_the_whole_tree_then_a_writable_mount() {
        let text = table(&[
            ("/docker/abc", "/sys/fs/cgroup", "rw"),
            ("/", "/mnt/ro", "ro,nosuid"),
            ("/", "/mnt/rw", "rw"),
        ]);
        let found = Hierarchy::from_table(&text, false, &|_| true).unwrap();
        assert_eq!(found.mount_point(), Path::new("/mnt/rw"));
        assert_eq!(found.problems(), Vec::<String>::new());
    }

    #[test]
    fn a_hidden_mount_is_not_taken() {
        let text = table(&[("/", "/hidden", "rw"), ("/", "/seen", "rw")]);
        let found =
            Hierarchy::from_table(&text, false, &|path| path == Path::new("/seen")).unwrap();
        assert_eq!(found.mount_point(), Path::new("/seen"));
        let error = Hierarchy::from_table(&text, false, &|_| false).unwrap_err().to_string();
        assert!(error.contains("hidden by other mounts"), "{error}");
    }

    #[test]
    fn none_is_an_error_with_the_cure() {
        let error = Hierarchy::from_table(b"", false, &|_| true).unwrap_err().to_string();
        assert!(error.contains("mount -t cgroup2 none /sys/fs/cgroup/unified"), "{error}");
    }

    #[test]
    fn a_part_of_the_tree_and_a_namespace_are_reported() {
        let text = table(&[("/docker/abc", "/sys/fs/cgroup", "ro")]);
        let found = Hierarchy::from_table(&text, true, &|_| true).unwrap();
        let problems = found.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("/docker/abc") && problems[1].contains("read-only"));
        let (mount, path) = found.locate(Path::new("/sys/fs/cgroup/agents")).unwrap();
        assert_eq!(mount, Path::new("/sys/fs/cgroup"));
        assert_eq!(path, Path::new("docker/abc/agents"));

        let text = table(&[("/", "/sys/fs/cgroup", "rw")]);
        let found = Hierarchy::from_table(&text, true, &|_| true).unwrap();
        assert!(found.problems()[0].contains("namespace"));
    }

    #[test]
    fn locates_by_the_longest_mount_point() {
        let text = table(&[("/", "/cg", "rw"), ("/a", "/cg/inner", "rw")]);
        let found = Hierarchy::from_table(&text, false, &|_| true).unwrap();
        assert_eq!(found.locate(Path::new("/cg/x/y")).unwrap().1, Path::new("x/y"));
        assert_eq!(found.locate(Path::new("/cg/inner/y")).unwrap().1, Path::new("a/y"));
        assert_eq!(found.locate(Path::new("/cg")).unwrap().1, Path::new(""));
        assert!(found.locate(Path::new("/cgroup")).is_none());
    }

    #[test]
    fn this_host_has_one() {
        // Any Linux that can run guard has it; elsewhere the error must name the cure.
        match Hierarchy::discover() {
            Ok(found) => {
                assert!(is_cgroup2(found.mount_point()));
                assert!(found.mount_point().join("cgroup.procs").exists());
                found.controllers().unwrap();
            }
            Err(error) => assert!(error.to_string().contains("mount"), "{error}"),
        }
    }
}
