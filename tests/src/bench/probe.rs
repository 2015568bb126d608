//! Datagrams in one direction, with the times of both ends: sent as this program says, received as
//! the kernel says, so that a late wake-up of the receiver counts for nothing. It must never be
//! what loses a datagram: its buffer holds all that the measurements send.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::AsFd as _;

/// Fits any burst that the measurements send.
const BUFFER_BYTES: usize = 64 << 20;
/// Datagrams sent before the receiver is emptied.
const BURST: u64 = 250;

/// The receiver.
pub(crate) struct Probe {
    receiver: UdpSocket,
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Its number.
    pub(crate) number: u64,
    /// When its sender was about to send it, ns of CLOCK_REALTIME.
    pub(crate) sent_ns: u64,
    /// When the kernel had it for the receiver, ns of the same clock.
    pub(crate) arrival_ns: u64,
}

impl Probe {
    pub(crate) fn new() -> Result<Self> {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&receiver, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        setsockopt(&receiver, sockopt::ReceiveTimestampns, &true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { receiver })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.receiver.local_addr()?)
    }

    /// A socket of the cgroup in which this process is now.
    pub(crate) fn sender(&self) -> Result<UdpSocket> {
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&sender, sockopt::SndBufForce, &BUFFER_BYTES)?;
        sender.connect(self.address()?)?;
        Ok(sender)
    }

    /// One-way times of `count` datagrams with pauses of `gap`, in ms, in the order of sending.
    pub(crate) fn one_way_ms(
        &self,
        sender: &UdpSocket,
        count: usize,
        gap: Duration,
        longest: Duration,
    ) -> Result<Vec<f64>> {
        for number in 0..count as u64 {
            send(sender, number)?;
            thread::sleep(gap);
        }
        let mut times = vec![f64::NAN; count];
        for _ in 0..count {
            let got = self.next(longest)?.context("a datagram was lost that only had to wait")?;
            let place = times.get_mut(got.number as usize).context("a datagram of another run")?;
            *place = got.arrival_ns.saturating_sub(got.sent_ns) as f64 / 1e6;
        }
        Ok(times)
    }

    /// Which of `count` datagrams arrived.
    pub(crate) fn arrived(&self, sender: &UdpSocket, count: u64) -> Result<Vec<bool>> {
        let mut arrived = vec![false; count as usize];
        let mut mark = |got: Received| -> Result<()> {
            let place = arrived.get_mut(got.number as usize);
            *place.context("a datagram of another run")? = true;
            Ok(())
        };
        for number in 0..count {
            send(sender, number)?;
            if number % BURST == 0 {
                while let Some(got) = self.receive()? {
                    mark(got)?;
                }
            }
        }
        // The last ones may be under way.
        while let Some(got) = self.next(Duration::from_millis(500))? {
            mark(got)?;
        }
        Ok(arrived)
    }

    /// The next one; `None` if none comes in time.
    pub(crate) fn next(&self, longest: Duration) -> Result<Option<Received>> {
        let mut fds = [PollFd::new(self.receiver.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(longest)?)?;
        self.receive()
    }

    fn receive(&self) -> Result<Option<Received>> {
        let mut bytes = [0; 16];
        let mut control = nix::cmsg_space!(nix::libc::timespec);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.receiver.as_raw_fd();
        let message = match recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut arrival_ns = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmTimestampns(time) = control {
                arrival_ns = Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
            }
        }
        if message.bytes != 16 {
            bail!("a datagram of {} bytes", message.bytes);
        }
        let word = |from: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[from..from + 8]);
            u64::from_ne_bytes(word)
        };
        let arrival_ns = arrival_ns.context("the kernel noted no time")?;
        Ok(Some(Received { number: word(0), sent_ns: word(8), arrival_ns }))
    }
}

/// Sends the datagram of this number.
pub(crate) fn send(sender: &UdpSocket, number: u64) -> Result<()> {
    sender.send(&datagram(number, now_ns()?))?;
    Ok(())
}

/// A datagram's bytes.
pub(crate) fn datagram(number: u64, sent_ns: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
    bytes[8..].copy_from_slice(&sent_ns.to_ne_bytes());
    bytes
}

/// Now, by the clock of the kernel's receive times.
pub(crate) fn now_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
