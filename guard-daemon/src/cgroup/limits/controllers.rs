//! Controllers of a bulkhead: whether it has them, why not, and how it gets them: every cgroup
//! above it must hand them down (`cgroup.subtree_control`).
//!
//! Nothing above the cgroup root is ever written, and nothing at all in a tree that systemd manages
//! by itself: it would take away what it does not know of.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::value::open_same;
use crate::cgroup::walk::{children, open_dir, plain_names, read_file, vanished, write_file};
use crate::cgroup::{Hierarchy, Root};

/// Files that a controller's disappearance would reset, and what they say when nobody has set them.
const UNSET: [(&str, &[(&str, &str)]); 4] = [
    (
        "memory",
        &[
            ("memory.max", "max"),
            ("memory.high", "max"),
            ("memory.low", "0"),
            ("memory.min", "0"),
            ("memory.swap.max", "max"),
        ],
    ),
    ("cpu", &[("cpu.max", "max 100000"), ("cpu.weight", "100")]),
    ("pids", &[("pids.max", "max")]),
    ("io", &[("io.max", ""), ("io.weight", "default 100")]),
];

/// Why something is not enforced, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: String,
    /// What to do.
    pub cure: String,
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { why: why.into(), cure: cure.into() }
    }
}

/// A cgroup on the way to the bulkhead that does not hand the controller down yet.
struct Step {
    dir: OwnedFd,
    path: PathBuf,
}

/// Whether the bulkhead at `relative` below the root has the controller or could be given it. Looks
/// only; cgroups that do not exist yet are no obstacle.
pub fn check(
    hierarchy: &Hierarchy,
    root: &Root,
    relative: &Path,
    controller: &str,
) -> Result<(), Refusal> {
    missing_steps(hierarchy, root, relative, controller).map(drop)
}

/// Gives the bulkhead at `relative` the controller. `before` gets the path and the id of each cgroup
/// right before the controller is switched on for its children.
pub fn switch_on(
    hierarchy: &Hierarchy,
    root: &Root,
    relative: &Path,
    controller: &str,
    before: &mut dyn FnMut(&Path, u64) -> Result<(), String>,
) -> Result<(), Refusal> {
    for step in missing_steps(hierarchy, root, relative, controller)? {
        let place = step.path.display();
        let failed = |errno: Errno| {
            Refusal::new(
                format!("{controller} cannot be switched on for the children of {place}: {errno}"),
                match errno {
                    Errno::EACCES | Errno::EPERM | Errno::EROFS => {
                        "run guardd as root, with the cgroup tree writable"
                    }
                    Errno::EBUSY => "move the processes out of that cgroup into one below it",
                    _ => "see the kernel's log; daemon.cgroup_root may name another place",
                },
            )
        };
        let id = fstat(&step.dir).map_err(failed)?.st_ino;
        before(&step.path, id).map_err(|why| {
            Refusal::new(
                format!("the undo of {controller} in {place} could not be journalled: {why}"),
                "make room in daemon.state_dir",
            )
        })?;
        write_file(&step.dir, "cgroup.subtree_control", &format!("+{controller}"))
            .map_err(failed)?;
    }
    Ok(())
}

/// The cgroups, outermost first, from the root to the parent of the bulkhead, that would have to hand
/// the controller down.
fn missing_steps(
    hierarchy: &Hierarchy,
    root: &Root,
    relative: &Path,
    controller: &str,
) -> Result<Vec<Step>, Refusal> {
    let unreadable = |path: &Path, errno: Errno| {
        Refusal::new(
            format!("{} cannot be read: {errno}", path.display()),
            "run guardd as root; if the cgroup was removed, guardctl reload",
        )
    };
    let mut path = root.path().to_owned();
    let names = plain_names(relative)
        .map_err(|error| Refusal::new(error.to_string(), "correct its `cgroup`"))?;
    let parents = names.len().saturating_sub(1);
    let mut steps = Vec::new();
    let mut dir = open_dir(root.as_fd(), Path::new(".")).map_err(|e| unreadable(&path, e))?;
    // What is not there is made by guard, and then has what its parent hands down, and no process.
    for index in 0..=parents {
        let words =
            |file: &str| read_file(&dir, file).map_err(|errno| unreadable(&path.join(file), errno));
        let has = |text: &str| text.split_whitespace().any(|word| word == controller);
        if !has(&words("cgroup.subtree_control")?) {
            if index == 0 && !has(&words("cgroup.controllers")?) {
                return Err(not_there(hierarchy, root, controller));
            }
            may_switch(root, &dir, &path, controller)?;
            let dir = dir.try_clone().map_err(|_| unreadable(&path, Errno::last()))?;
            steps.push(Step { dir, path: path.clone() });
        }
        let Some(name) = names.get(index).filter(|_| index < parents) else { break };
        path.push(name);
        dir = match open_dir(dir.as_fd(), Path::new(name)) {
            Err(errno) if vanished(errno) => break,
            other => other.map_err(|errno| unreadable(&path, errno))?,
        };
    }
    Ok(steps)
}

/// A cgroup holds either processes or children with controllers, and systemd's is systemd's.
fn may_switch(root: &Root, dir: &OwnedFd, path: &Path, controller: &str) -> Result<(), Refusal> {
    let place = path.display();
    if root.is_managed_by_systemd() {
        return Err(Refusal::new(
            format!(
                "{place} does not hand {controller} down, and it is systemd's, which suffers no \
                 other writer there"
            ),
            "set daemon.cgroup_root = \"auto\", or name a unit with Delegate=yes",
        ));
    }
    // The root of the whole tree may have both.
    let is_top = matches!(read_file(dir, "cgroup.type"), Err(Errno::ENOENT));
    let busy = read_file(dir, "cgroup.procs").is_ok_and(|text| !text.trim().is_empty());
    if busy && !is_top {
        return Err(Refusal::new(
            format!(
                "there are processes directly in {place}, and a cgroup holds either processes or \
                 limited children"
            ),
            format!("move them into a cgroup below {place}"),
        ));
    }
    Ok(())
}

/// Why the cgroup root does not have a controller at all.
fn not_there(hierarchy: &Hierarchy, root: &Root, controller: &str) -> Refusal {
    let top = hierarchy.controllers().unwrap_or_default();
    if top.iter().any(|word| word == controller) {
        let above = root.path().parent().unwrap_or(root.path()).display().to_string();
        return Refusal::new(
            format!(
                "the cgroup above {} does not hand the controller {controller} down",
                root.path().display()
            ),
            format!(
                "echo +{controller} > {above}/cgroup.subtree_control; for a unit of systemd: \
                 Delegate=yes"
            ),
        );
    }
    absent(controller, hierarchy.is_hybrid())
}

/// Why cgroup v2 of this host lacks a controller.
pub(super) fn absent(controller: &str, hybrid: bool) -> Refusal {
    // name, hierarchy, number of cgroups, enabled.
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    // Version 1 has another name for it, and the table has that one alone.
    let controller = if controller == "io" { "blkio" } else { controller };
    let row = table.lines().find_map(|line| line.strip_prefix(controller)?.strip_prefix('\t'));
    let fields: Vec<&str> = row.unwrap_or_default().split('\t').collect();
    match fields[..] {
        [_, _, "0"] => Refusal::new(
            format!("the controller {controller} is switched off on the kernel's command line"),
            format!("boot without cgroup_disable={controller}"),
        ),
        [bound, _, _] if bound != "0" || hybrid => Refusal::new(
            format!("the controller {controller} is bound to cgroup v1 on this host"),
            format!(
                "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1={controller}, so \
                 that cgroup v2 has it"
            ),
        ),
        _ => Refusal::new(
            format!("this kernel's cgroup v2 has no controller {controller}"),
            "use a kernel that is built with it",
        ),
    }
}

/// Switches a controller off again for the children of the cgroup with this path and id; `false` if
/// that is gone, or it was off. An error says who still needs it.
pub fn switch_off(path: &Path, id: u64, controller: &str) -> Result<bool, String> {
    let dir = match open_same(path, id) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(false),
        Err(errno) => return Err(format!("{} cannot be opened: {errno}", path.display())),
    };
    let on = read_file(&dir, "cgroup.subtree_control")
        .is_ok_and(|text| text.split_whitespace().any(|word| word == controller));
    if !on {
        return Ok(false);
    }
    for child in children(dir.as_fd()).unwrap_or_default() {
        if let Some(file) = set_by_somebody(&dir, &child, controller) {
            return Err(format!("{}/{file} is set", path.join(child).display()));
        }
    }
    match write_file(&dir, "cgroup.subtree_control", &format!("-{controller}")) {
        Ok(()) => Ok(true),
        Err(errno) if vanished(errno) => Ok(false),
        Err(Errno::EBUSY) => Err(format!("a cgroup below {} hands it down", path.display())),
        Err(errno) => Err(format!("{}: {errno}", path.display())),
    }
}

/// A file of the controller in which somebody has set a value.
fn set_by_somebody(parent: &OwnedFd, child: &Path, controller: &str) -> Option<&'static str> {
    let dir = open_dir(parent.as_fd(), child).ok()?;
    let (_, files) = UNSET.iter().find(|(name, _)| *name == controller)?;
    let set =
        |file: &str, unset: &str| read_file(&dir, file).is_ok_and(|value| value.trim() != unset);
    files.iter().find(|(file, unset)| set(file, unset)).map(|(file, _)| *file)
}
