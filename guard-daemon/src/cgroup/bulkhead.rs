//! One bulkhead: a cgroup below the root, made where absent, adopted untouched where it exists.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::{CgroupError, Result, io};
use super::root::Root;
use super::systemd::KEEPER;
use super::walk::{is_cgroup2_fd, open_dir, plain_names, read_file, vanished};

/// Directory mode of cgroups that guard makes: readable by all, written by root.
const MODE: Mode = Mode::from_bits_truncate(0o755);

/// An open bulkhead cgroup.
#[derive(Debug)]
pub struct Bulkhead {
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
    match_path: PathBuf,
    id: u64,
    /// Ids of cgroups below that belong to other bulkheads.
    pub(super) inner: BTreeSet<u64>,
}

/// What [`Bulkhead::make_or_adopt`] did.
#[derive(Debug)]
pub struct Made {
    /// The bulkhead.
    pub bulkhead: Bulkhead,
    /// Absolute paths of the directories that had to be made, outermost first; empty = adopted.
    pub made: Vec<PathBuf>,
}

impl Bulkhead {
    /// Opens the cgroup `relative` below `root`; components that are absent are made.
    ///
    /// `before_mkdir` gets the absolute path of each directory right before it is made, so that
    /// the caller can write its undo; an error of it stops everything. On any error the
    /// directories made by this call are removed again. An existing cgroup is left as it is.
    ///
    /// # Errors
    /// [`CgroupError::BadPath`] for a path that is not made of plain names,
    /// [`CgroupError::Refused`] for a threaded cgroup or one on another file system,
    /// [`CgroupError::Journal`] for an error of the callback, [`CgroupError::Io`] for the rest.
    pub fn make_or_adopt(
        root: &Root,
        relative: &Path,
        before_mkdir: &mut dyn FnMut(&Path) -> std::result::Result<(), String>,
    ) -> Result<Made> {
        let names = plain_names(relative)?;
        if root.systemd_unit().is_some() && names[0] == KEEPER {
            return Err(CgroupError::BadPath {
                path: relative.into(),
                reason: format!("{KEEPER:?} is kept for the unit's own process"),
            });
        }
        // Rebuilt from the names, so that "a//b" and "a/b" are the same bulkhead.
        let relative: PathBuf = names.iter().collect();
        let mut made = Vec::new();
        match descend(root, &names, &mut made, before_mkdir) {
            Ok(dir) => {
                let (path, match_path) =
                    (root.path().join(&relative), root.match_path().join(&relative));
                let bulkhead = Self::of(dir, path, match_path)?;
                Ok(Made { bulkhead, made: made.into_iter().map(|step| step.path).collect() })
            }
            Err(error) => {
                undo(&made);
                Err(error)
            }
        }
    }

    fn of(dir: OwnedFd, path: PathBuf, match_path: PathBuf) -> Result<Self> {
        let id = fstat(&dir).map_err(|e| io("look at", &path, e))?.st_ino;
        Ok(Self { dir, path, match_path, id, inner: BTreeSet::new() })
    }

    /// One that is there and stays as it is.
    pub(super) fn adopt(dir: OwnedFd, path: PathBuf, match_path: PathBuf) -> Result<Self> {
        check(&dir, &path)?;
        Self::of(dir, path, match_path)
    }

    /// Says which cgroups below (by their ids) are other bulkheads: what is in those is not in this one.
    pub fn set_inner(&mut self, inner: BTreeSet<u64>) {
        self.inner = inner;
    }

    /// Whether other bulkheads lie inside it.
    pub fn has_inner(&self) -> bool {
        !self.inner.is_empty()
    }

    /// Absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path from the root of the cgroup tree, without a leading slash: what
    /// `iptables -m cgroup --path` takes.
    pub fn match_path(&self) -> &Path {
        &self.match_path
    }

    /// The kernel's id of this cgroup (its inode number, as `bpf_get_current_cgroup_id` has it).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the path still leads to this very cgroup: false after a removal, also when a new
    /// cgroup was made under the old name. Programs attached to the old one are gone then.
    pub fn still_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.is_dir() && m.ino() == self.id)
    }

    /// Whether any process is in it or below (`cgroup.events`). A cgroup that is gone has none.
    ///
    /// # Errors
    /// [`CgroupError::Io`] if the file cannot be read, [`CgroupError::Refused`] if it does not say.
    pub fn populated(&self) -> Result<bool> {
        let text = match read_file(&self.dir, "cgroup.events") {
            Err(errno) if vanished(errno) => return Ok(false),
            other => other.map_err(|e| io("read cgroup.events of", &self.path, e))?,
        };
        match text.lines().find_map(|line| line.strip_prefix("populated ")) {
            Some("0") => Ok(false),
            Some("1") => Ok(true),
            other => Err(CgroupError::Refused {
                path: self.path.clone(),
                reason: format!("its cgroup.events says {other:?} for \"populated\", not 0 or 1"),
                cure: "report this kernel to guard's authors".into(),
            }),
        }
    }
}

impl AsFd for Bulkhead {
    /// The cgroup's directory: what programs are attached to.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A directory made by this call, with what is needed to take it back.
struct Step {
    parent: OwnedFd,
    name: PathBuf,
    path: PathBuf,
}

fn descend(
    root: &Root,
    names: &[&OsStr],
    made: &mut Vec<Step>,
    before_mkdir: &mut dyn FnMut(&Path) -> std::result::Result<(), String>,
) -> Result<OwnedFd> {
    let mut path = root.path().to_path_buf();
    let open_root = || root.as_fd().try_clone_to_owned().map_err(|_| Errno::last());
    let mut dir = open_root().map_err(|e| io("open", &path, e))?;
    for name in names {
        path.push(name);
        let name = Path::new(name);
        let next = match open_dir(dir.as_fd(), name) {
            Err(Errno::ENOENT) => {
                before_mkdir(&path).map_err(|reason| CgroupError::Journal {
                    what: format!("cgroup {}", path.display()),
                    reason,
                })?;
                match mkdirat(&dir, name, MODE) {
                    Ok(()) => {
                        let parent = dir.try_clone().map_err(|_| Errno::last());
                        let parent = parent.map_err(|e| io("open", &path, e))?;
                        made.push(Step { parent, name: name.into(), path: path.clone() });
                    }
                    // Somebody else was faster: theirs, then, and never ours to remove.
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(io("make cgroup", &path, errno)),
                }
                open_dir(dir.as_fd(), name)
            }
            other => other,
        };
        dir = next.map_err(|e| io("open cgroup", &path, e))?;
        check(&dir, &path)?;
    }
    Ok(dir)
}

/// Refuses what cannot hold a bulkhead.
fn check(dir: &OwnedFd, path: &Path) -> Result<()> {
    if !is_cgroup2_fd(dir).map_err(|e| io("look at", path, e))? {
        return Err(CgroupError::Refused {
            path: path.into(),
            reason: "it is not on a cgroup2 file system".into(),
            cure: "choose another cgroup, or unmount what hides this one".into(),
        });
    }
    let kind = match read_file(dir, "cgroup.type") {
        Ok(kind) => kind,
        // The root of the whole tree has no type.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(io("read cgroup.type of", path, errno)),
    };
    if kind.trim() == "domain" {
        return Ok(());
    }
    Err(CgroupError::Refused {
        path: path.into(),
        reason: format!(
            "its type is \"{}\": threads of one process may be in different cgroups there, so \
             it cannot hold an agent apart",
            kind.trim()
        ),
        cure: "choose a cgroup whose cgroup.type is \"domain\"".into(),
    })
}

/// Takes back what a call that failed has made, innermost first.
fn undo(made: &[Step]) {
    for step in made.iter().rev() {
        if let Err(errno) = unlinkat(&step.parent, &step.name, UnlinkatFlags::RemoveDir)
            && !vanished(errno)
        {
            // The undo journal has it, so `guardctl cleanup` finds it.
            tracing::warn!(cgroup = %step.path.display(), error = %errno,
                "a cgroup made a moment ago could not be removed again");
        }
    }
}
