//! Who is at the other end of a control connection: the credentials that the kernel noted at
//! connect(2), and the supplementary groups. Never asks the peer itself.
//!
//! The kernel would give the groups too (SO_PEERGROUPS), but nix has no safe call for it, so
//! they are read from /proc/PID/status. Between connect and that reading the process may have
//! ended and its pid may belong to another one; three things guard against it. The directory
//! /proc/PID is opened once and everything is read through that handle, which follows one
//! process and fails with ESRCH after its end. The process found must carry the effective uid
//! and the gid that the kernel noted. And it must have started before the connection was
//! accepted. What is left is a pid reused between connect and accept by a process of the same
//! user and group: that user is then a member, which is what was asked.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// Credentials of a peer, as of its connect(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id in guardd's pid namespace; 0 if it is not visible there.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Start of the process in clock ticks since boot: with the pid it names one process.
    /// `None` if it was gone already, or is not visible.
    pub started_ticks: Option<u64>,
}

impl Peer {
    /// The credentials of the peer of a connected Unix socket; call it right after accept(2).
    pub fn of<F: AsFd>(stream: &F) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).unwrap_or(0);
        let now = boottime_ticks()?;
        let started_ticks =
            start_of(pid).ok().filter(|started| now.is_none_or(|now| *started <= now));
        Ok(Self { pid, uid: credentials.uid(), gid: credentials.gid(), started_ticks })
    }

    /// Whether the process that connected still runs (and its pid is not somebody else's).
    pub fn is_alive(&self) -> bool {
        self.started_ticks.is_some() && start_of(self.pid).ok() == self.started_ticks
    }

    /// Supplementary groups of the process that connected. An error if it is gone, or is not
    /// the one that the kernel noted.
    pub fn groups(&self) -> io::Result<Vec<u32>> {
        let Some(expected_start) = self.started_ticks else {
            return Err(gone(self.pid));
        };
        let directory = directory_of(self.pid)?;
        let status = read_in(&directory, "status")?;
        let stat = read_in(&directory, "stat")?;
        let same = start_ticks(&stat) == Some(expected_start)
            && effective_id(&status, "Uid:") == Some(self.uid)
            && effective_id(&status, "Gid:") == Some(self.gid);
        if same { Ok(ids_after(&status, "Groups:").collect()) } else { Err(gone(self.pid)) }
    }
}

fn gone(pid: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("process {pid} is not the one that connected (ended, or changed its user)"),
    )
}

/// A handle of /proc/PID that follows this one process.
fn directory_of(pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(format!("/proc/{pid}").as_str(), flags, Mode::empty())?)
}

fn read_in(directory: &OwnedFd, name: &str) -> io::Result<String> {
    let file = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    // A process name may be any bytes.
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn start_of(pid: u32) -> io::Result<u64> {
    start_ticks(&read_in(&directory_of(pid)?, "stat")?).ok_or_else(|| gone(pid))
}

/// Field 22 of /proc/PID/stat. The name in field 2 may hold spaces and parentheses: counted
/// from the last `)`.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn ids_after<'a>(status: &'a str, key: &'a str) -> impl Iterator<Item = u32> + 'a {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("");
    line.split_ascii_whitespace().filter_map(|id| id.parse().ok())
}

/// Of `real effective saved filesystem`.
fn effective_id(status: &str, key: &str) -> Option<u32> {
    ids_after(status, key).nth(1)
}

/// Clock ticks since boot, the unit of `starttime`; `None` if the kernel does not tell the unit.
fn boottime_ticks() -> io::Result<Option<u64>> {
    let Some(per_second) = sysconf(SysconfVar::CLK_TCK)? else { return Ok(None) };
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let (per_second, seconds) = (per_second.unsigned_abs(), now.tv_sec().unsigned_abs());
    Ok(Some(seconds * per_second + now.tv_nsec().unsigned_abs() * per_second / 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_of_a_socket_pair_is_this_process() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert!(peer.is_alive());
        let mut groups = peer.groups().unwrap();
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
    }

    #[test]
    fn another_user_or_a_reused_pid_has_no_groups() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        let other_user = Peer { uid: peer.uid.wrapping_add(1), ..peer };
        assert!(other_user.groups().is_err());
        let reused = Peer { started_ticks: peer.started_ticks.map(|t| t + 1), ..peer };
        assert!(reused.groups().is_err());
        assert!(!reused.is_alive());
    }

    #[test]
    fn an_ended_process_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let started_ticks = start_of(child.id()).ok();
        let peer = Peer { pid: child.id(), uid: 0, gid: 0, started_ticks };
        assert!(peer.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!peer.is_alive());
        assert!(peer.groups().is_err());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(start_ticks(stat), Some(4242));
    }
}
