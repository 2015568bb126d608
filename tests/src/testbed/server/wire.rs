//! A connection whose every wait can be ended from outside at once, and which can be closed in
//! good order or reset. Precise to some ten microseconds: waits are `ppoll`, not ticks.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;

/// What a connection's thread is told to do with it, whatever it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close it in good order.
    Close = 1,
    /// Reset it.
    Reset = 2,
}

/// Wakes the thread of one connection.
#[derive(Debug)]
pub(super) struct Wake {
    event: EventFd,
    order: AtomicU8,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self { event: EventFd::from_flags(flags)?, order: AtomicU8::new(0) })
    }

    pub(super) fn order(&self, order: Order) {
        self.order.store(order as u8, Ordering::Release);
        // Cannot fail before 2^64 - 1 orders; and whoever waits looks at `order` anyway.
        if let Err(error) = self.event.write(1) {
            eprintln!("cannot wake a connection: {error}");
        }
    }

    pub(super) fn ordered(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            1 => Some(Order::Close),
            2 => Some(Order::Reset),
            _ => None,
        }
    }

    /// Waits for `events` of `fd` (or nothing but time), until `limit` if given. An order ends
    /// the wait with an error of kind `Interrupted`.
    pub(super) fn wait(
        &self,
        fd: Option<(&dyn AsFd, PollFlags)>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if self.ordered().is_some() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(self.event.as_fd(), PollFlags::POLLIN)];
            if let Some((fd, events)) = fd {
                fds.push(PollFd::new(fd.as_fd(), events));
            }
            match ppoll(&mut fds, left.map(TimeSpec::from_duration), None) {
                Ok(0) => return Ok(()),
                Ok(_) if fds.get(1).is_some_and(|fd| fd.any().unwrap_or(true)) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    stream: TcpStream,
    wake: &'a Wake,
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: TcpStream, wake: &'a Wake) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, wake })
    }

    /// Waits for bytes; 0 = the peer has closed.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait(Some((&self.stream, PollFlags::POLLIN)), None)?;
                }
                other => return other,
            }
        }
    }

    /// Writes everything.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait(Some((&self.stream, PollFlags::POLLOUT)), None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits.
    pub(super) fn pause(&self, duration: Duration) -> io::Result<()> {
        if duration.is_zero() { Ok(()) } else { self.wake.wait(None, Some(duration)) }
    }

    /// Closes with RST instead of FIN.
    pub(super) fn reset(self) -> io::Result<()> {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        Ok(setsockopt(&self.stream, sockopt::Linger, &linger)?)
    }
}
