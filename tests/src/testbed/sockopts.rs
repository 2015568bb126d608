//! Keepalive and user timeout of a TCP socket, set and read as an application does.

use std::net::SocketAddr;
use std::net::TcpStream;

use anyhow::Result;
use nix::sys::socket::sockopt::{
    KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd as _};

/// The options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// TCP_KEEPIDLE, s.
    pub idle: u32,
    /// TCP_KEEPINTVL, s.
    pub interval: u32,
    /// TCP_KEEPCNT.
    pub probes: u32,
    /// TCP_USER_TIMEOUT, ms; 0 = none.
    pub user_timeout: u32,
}

impl Options {
    /// What a new socket has.
    pub const FRESH: Self =
        Self { keepalive: false, idle: 7200, interval: 75, probes: 9, user_timeout: 0 };

    /// Reads them.
    pub fn of(socket: &impl AsFd) -> Result<Self> {
        Ok(Self {
            keepalive: getsockopt(socket, KeepAlive)?,
            idle: getsockopt(socket, TcpKeepIdle)?,
            interval: getsockopt(socket, TcpKeepInterval)?,
            probes: getsockopt(socket, TcpKeepCount)?,
            user_timeout: getsockopt(socket, TcpUserTimeout)?,
        })
    }

    /// Sets them.
    pub fn set(&self, socket: &impl AsFd) -> Result<()> {
        setsockopt(socket, TcpKeepIdle, &self.idle)?;
        setsockopt(socket, TcpKeepInterval, &self.interval)?;
        setsockopt(socket, TcpKeepCount, &self.probes)?;
        setsockopt(socket, TcpUserTimeout, &self.user_timeout)?;
        setsockopt(socket, KeepAlive, &self.keepalive)?;
        Ok(())
    }

    /// Connects a socket that has them from the start.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        self.set(&socket)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(socket.into())
    }
}
