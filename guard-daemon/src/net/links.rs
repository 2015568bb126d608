//! Which local addresses a host loses: removed, or on a link that went down. The kernel's
//! notifications only say that it is time to look; what is lost is the difference of two looks.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// A lease that is renewed, or a cable that is pushed in again, is no loss.
const SETTLING: Duration = Duration::from_secs(2);

/// Follows the addresses of guardd's own network namespace.
pub struct Links {
    socket: Socket,
    usable: BTreeSet<IpAddr>,
}

/// Addresses that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub addresses: BTreeSet<IpAddr>,
    /// When the first sign of it came.
    pub since: Instant,
}

impl Links {
    /// Begins to follow.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, usable: usable()? })
    }

    /// Waits up to `patience` for a change, then for things to settle; what is lost by then. `stop`
    /// ends the settling early.
    pub fn lost(
        &mut self,
        patience: Duration,
        stop: impl Fn() -> bool,
    ) -> io::Result<Option<Lost>> {
        if !self.changed(patience)? {
            return Ok(None);
        }
        let since = Instant::now();
        while since.elapsed() < SETTLING {
            if stop() {
                return Ok(None);
            }
            self.changed(patience.min(SETTLING))?;
        }
        let now = usable()?;
        let addresses: BTreeSet<_> = self.usable.difference(&now).copied().collect();
        self.usable = now;
        Ok((!addresses.is_empty()).then_some(Lost { addresses, since }))
    }

    /// Whether a notification came within `patience`; all that came are read and thrown away.
    fn changed(&self, patience: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = Vec::with_capacity(32 * 1024);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                // Some were lost: that something changed is all that is asked.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Addresses on links that are up and have a carrier; loopback's are none that can be lost.
fn usable() -> io::Result<BTreeSet<IpAddr>> {
    let runs = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let all = getifaddrs()?.filter(|found| found.flags.contains(runs)).filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    Ok(all.filter(|address| !address.is_loopback()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens() {
        let mut links = Links::open().unwrap();
        assert!(links.usable.iter().all(|address| !address.is_loopback()));
        assert_eq!(links.lost(Duration::ZERO, || false).unwrap(), None);
    }
}
