//! Sets keepalive and user timeout on a socket of another process, through a copy of its descriptor.
//! It changes nothing else of it, and holds the copy for as long as that takes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use guard_common::abi::hygiene::HygienePolicy;
use guard_common::logic::hygiene::{Found, change};
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Sets what the policy wants on a descriptor of a process, if it is the socket with this inode.
pub fn set(pid: u32, descriptor: i32, inode: u32, policy: &HygienePolicy) -> io::Result<()> {
    let socket = copy(pid, descriptor)?;
    // The agent may have closed it since it was looked up, and opened something else.
    let metadata = std::fs::File::from(socket.try_clone()?).metadata()?;
    if metadata.ino() != u64::from(inode) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the socket is closed already"));
    }
    apply(&socket, policy)
}

fn copy(pid: u32, descriptor: i32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?)
}

fn apply(socket: impl AsFd, policy: &HygienePolicy) -> io::Result<()> {
    let fd = socket.as_fd();
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let found = Found {
        keepalive: u32::from(sockopt::socket_keepalive(fd)?),
        idle_s: seconds(sockopt::tcp_keepidle(fd)?),
        interval_s: seconds(sockopt::tcp_keepintvl(fd)?),
        probes: sockopt::tcp_keepcnt(fd)?,
        user_timeout_ms: sockopt::tcp_user_timeout(fd)?,
    };
    let change = change(&found, policy);
    if change.keepalive != 0 {
        let time = |seconds: u32| Duration::from_secs(u64::from(seconds));
        sockopt::set_tcp_keepidle(fd, time(policy.keepalive_idle_s))?;
        sockopt::set_tcp_keepintvl(fd, time(policy.keepalive_interval_s))?;
        sockopt::set_tcp_keepcnt(fd, policy.keepalive_probes)?;
        sockopt::set_socket_keepalive(fd, true)?;
    }
    if change.user_timeout_ms != 0 {
        sockopt::set_tcp_user_timeout(fd, change.user_timeout_ms)?;
    }
    Ok(())
}
