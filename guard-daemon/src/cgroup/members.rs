//! Who is in a bulkhead, and how a process gets in.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::bulkhead::Bulkhead;
use super::error::{CgroupError, Result, io};
use super::walk::{children, open_dir, read_file, vanished, write_file};

/// `PF_KTHREAD` of the kernel's `sched.h`, as `/proc/PID/stat` shows it.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Command names of processes that serve more than one agent: freezing, limiting or killing
/// their cgroup hits everyone. A tmux server, for one, lives in the first session's cgroup.
const SHARED: [&str; 18] = [
    "abduco",
    "conmon",
    "containerd",
    "containerd-shim",
    "crio",
    "dbus-broker",
    "dbus-daemon",
    "dockerd",
    "dtach",
    "init",
    "kubelet",
    "podman",
    "runc",
    "screen",
    "sshd",
    "systemd",
    "tmux",
    "zellij",
];

/// The processes of a bulkhead and of the cgroups below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Procs {
    /// Process ids, ascending.
    pub pids: Vec<u32>,
    /// Processes of other pid namespaces, which have no id here.
    pub without_pid: u64,
    /// Cgroups looked at, the bulkhead's own included.
    pub cgroups: u64,
}

impl Procs {
    /// How many processes.
    pub fn count(&self) -> u64 {
        self.pids.len() as u64 + self.without_pid
    }
}

/// A network namespace that processes of a bulkhead are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkNamespace {
    /// Its inode number, as in `/proc/PID/ns/net`.
    pub inode: u64,
    /// One process in it.
    pub pid: u32,
    /// It is guardd's own, so that rules made by guardd reach it.
    pub own: bool,
}

impl Bulkhead {
    /// The processes in it and below, but for those of bulkheads inside it. Cgroups that vanish meanwhile
    /// are passed over.
    ///
    /// # Errors
    /// [`CgroupError::Io`] if a cgroup is there and cannot be read.
    pub fn procs(&self) -> Result<Procs> {
        procs_below(self.as_fd(), &self.path, &self.inner)
    }

    /// The processes in it and below, those of bulkheads inside it too: all that its limits, a freeze
    /// and the kernel's own kill reach.
    ///
    /// # Errors
    /// As [`Bulkhead::procs`].
    pub fn subtree_procs(&self) -> Result<Procs> {
        procs_below(self.as_fd(), &self.path, &BTreeSet::new())
    }

    /// Moves a process (all its threads) into the bulkhead. Its children made later follow it;
    /// children and sockets that it has already do not.
    ///
    /// # Errors
    /// [`CgroupError::Move`], with the reason and the cure.
    pub fn add(&self, pid: u32) -> Result<()> {
        let refuse = |reason: String, cure| {
            Err(CgroupError::Move { pid, path: self.path.clone(), reason, cure })
        };
        const NAME_AN_AGENT: &str = "name the agent's own process";
        if pid == 0 {
            return refuse("0 is not a process".into(), NAME_AN_AGENT);
        }
        if pid == 1 {
            return refuse("it is init, which the whole host hangs on".into(), NAME_AN_AGENT);
        }
        if pid == std::process::id() {
            return refuse("it is guardd itself, which never guards itself".into(), NAME_AN_AGENT);
        }
        if is_kernel_thread(pid) {
            return refuse("it is a kernel thread".into(), NAME_AN_AGENT);
        }
        let Err(errno) = write_file(&self.dir, "cgroup.procs", &pid.to_string()) else {
            return Ok(());
        };
        let (reason, cure) = match errno {
            Errno::ESRCH => ("there is no such process (any more)", "look up its pid again"),
            Errno::EBUSY | Errno::EOPNOTSUPP => (
                "the cgroup has controllers switched on for its children, and a cgroup holds \
                 either processes or such children",
                "put it into a cgroup inside (guardctl exec --sub), name one of its child cgroups as the \
                 bulkhead, or empty cgroup.subtree_control",
            ),
            Errno::EACCES | Errno::EPERM => (
                "guardd may not write to cgroup.procs here or in the cgroup that the process \
                 comes from",
                "run guardd as root, with the host's cgroup tree writable",
            ),
            Errno::EINVAL => (
                "the kernel does not move this process (a kernel thread, or bound to its processors)",
                NAME_AN_AGENT,
            ),
            Errno::EAGAIN => ("pids.max of the cgroup is reached", "raise pids.max"),
            errno if vanished(errno) => ("the cgroup was removed", "reload guardd"),
            errno => return Err(io("write cgroup.procs of", &self.path, errno)),
        };
        refuse(format!("{reason} ({errno:?})"), cure)
    }

    /// Processes in its subtree that serve more than this agent (a tmux server, sshd, a container
    /// engine), as (pid, command name): their cgroup should not be frozen, limited or killed.
    ///
    /// # Errors
    /// As [`Bulkhead::procs`].
    pub fn shared_infrastructure(&self) -> Result<Vec<(u32, String)>> {
        let pids = self.subtree_procs()?.pids;
        // A process that ends meanwhile has no name any more, and no harm can come to it.
        Ok(pids
            .into_iter()
            .filter_map(|pid| Some((pid, std::fs::read_to_string(proc_file(pid, "comm")).ok()?)))
            .map(|(pid, name)| (pid, name.trim_end().to_owned()))
            .filter(|(_, name)| is_shared(name))
            .collect())
    }

    /// The network namespaces of its processes, one entry each, guardd's own first. Netfilter
    /// rules and qdiscs are per namespace, so faults made with them do not reach the others.
    ///
    /// # Errors
    /// As [`Bulkhead::procs`]; [`CgroupError::Io`] if guardd's own namespace cannot be read.
    pub fn network_namespaces(&self) -> Result<Vec<NetworkNamespace>> {
        let own_path = Path::new("/proc/self/ns/net");
        let own = std::fs::metadata(own_path)
            .map_err(|e| io("look at", own_path, Errno::from_raw(e.raw_os_error().unwrap_or(0))))?
            .ino();
        let mut found: Vec<NetworkNamespace> = Vec::new();
        for pid in self.procs()?.pids {
            // A zombie and a process that ended have none.
            let Ok(meta) = std::fs::metadata(proc_file(pid, "ns/net")) else { continue };
            let inode = meta.ino();
            if !found.iter().any(|n| n.inode == inode) {
                found.push(NetworkNamespace { inode, pid, own: inode == own });
            }
        }
        found.sort_by_key(|n| (!n.own, n.inode));
        Ok(found)
    }
}

/// The processes in the cgroup `top` (which is at `path`) and below, but for those in the cgroups
/// `except` (ids) and below.
pub(super) fn procs_below(
    top: BorrowedFd<'_>,
    path: &Path,
    except: &BTreeSet<u64>,
) -> Result<Procs> {
    let mut procs = Procs::default();
    let mut todo = vec![PathBuf::from(".")];
    while let Some(below) = todo.pop() {
        let fail = |action, errno| io(action, &path.join(&below), errno);
        let dir = match open_dir(top, &below) {
            Err(errno) if vanished(errno) => continue,
            other => other.map_err(|e| fail("open", e))?,
        };
        if !except.is_empty() {
            let id = fstat(&dir).map_err(|e| fail("look at", e))?.st_ino;
            if except.contains(&id) {
                continue;
            }
        }
        match read_file(&dir, "cgroup.procs") {
            Ok(text) => add_pids(&mut procs, &text),
            // A threaded cgroup: its processes stand in the domain's file above.
            Err(Errno::EOPNOTSUPP) => {}
            Err(errno) if vanished(errno) => continue,
            Err(errno) => return Err(fail("read cgroup.procs of", errno)),
        }
        procs.cgroups += 1;
        match children(dir.as_fd()) {
            Ok(names) => todo.extend(names.into_iter().map(|name| below.join(name))),
            Err(errno) if vanished(errno) => {}
            Err(errno) => return Err(fail("list", errno)),
        }
    }
    procs.pids.sort_unstable();
    procs.pids.dedup();
    Ok(procs)
}

/// Adds the lines of one `cgroup.procs`; 0 stands for a process of another pid namespace.
pub(super) fn add_pids(procs: &mut Procs, text: &str) {
    for pid in text.lines().filter_map(|line| line.trim().parse::<u32>().ok()) {
        if pid == 0 {
            procs.without_pid += 1;
        } else {
            procs.pids.push(pid);
        }
    }
}

/// `tmux: server` is tmux, `sshd-session` is sshd; `systemd-resolve` is not systemd.
fn is_shared(comm: &str) -> bool {
    let name = comm.split(':').next().unwrap_or(comm).to_ascii_lowercase();
    let name = if name.starts_with("sshd-") { "sshd" } else { name.as_str() };
    SHARED.contains(&name)
}

fn is_kernel_thread(pid: u32) -> bool {
    // Unreadable: the write to cgroup.procs says what is wrong.
    std::fs::read_to_string(proc_file(pid, "stat"))
        .ok()
        .and_then(|stat| stat_flags(&stat))
        .is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// Field 9 of `/proc/PID/stat`; the name in field 2 may contain anything.
fn stat_flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(6)?.parse().ok()
}

fn proc_file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_names() {
        for name in ["tmux: server", "SCREEN", "sshd", "sshd-session", "systemd", "dockerd"] {
            assert!(is_shared(name), "{name}");
        }
        for name in ["tmuxinator", "systemd-resolve", "bash", "", "node"] {
            assert!(!is_shared(name), "{name}");
        }
    }

    #[test]
    fn flags_are_read_behind_an_odd_name() {
        let stat = "77 (a) 1 (b) 2) S 1 77 77 0 -1 2129984 0 0";
        assert_eq!(stat_flags(stat), Some(2_129_984));
        assert_ne!(stat_flags(stat).unwrap() & KERNEL_THREAD, 0);
        assert!(!is_kernel_thread(std::process::id()));
        // kthreadd, where the test runs in the first pid namespace.
        if std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
            assert!(is_kernel_thread(2));
        }
    }

    #[test]
    fn zero_is_a_process_without_a_pid() {
        let mut procs = Procs::default();
        add_pids(&mut procs, "12\n0\n0\n7\n");
        assert_eq!((procs.pids.clone(), procs.without_pid, procs.count()), (vec![12, 7], 2, 4));
    }
}
