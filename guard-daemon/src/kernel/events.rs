//! Reads the ring buffer. Blocking, for a thread of its own.

use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use guard_common::abi::event::Event;
use guard_common::abi::fault::ResetOrder;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::load::Kernel;

/// What the kernel tells.
pub enum Told {
    /// Something happened.
    Event(Event),
    /// A connection shall be reset.
    Reset(ResetOrder),
}

/// Reader of the kernel's events; there is one per loaded object.
pub struct EventReader {
    ring: RingBuf<MapData>,
}

impl Kernel {
    /// The reader, at the first call.
    pub fn take_events(&mut self) -> Option<EventReader> {
        self.ring.take().map(|ring| EventReader { ring })
    }
}

impl EventReader {
    /// Waits up to `timeout` for events and hands each to `take`; at most `limit` per call, so that
    /// a flood cannot keep the caller from anything else. Returns how many there were. A record of
    /// an unknown size is skipped and counted in the second number.
    pub fn read(
        &mut self,
        timeout: Duration,
        limit: usize,
        mut take: impl FnMut(Told),
    ) -> Result<(usize, usize), Errno> {
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
        let (mut taken, mut odd) = (0, 0);
        while taken + odd < limit {
            let Some(item) = self.ring.next() else { break };
            match decode(&item) {
                Some(told) => {
                    take(told);
                    taken += 1;
                }
                None => odd += 1,
            }
        }
        Ok((taken, odd))
    }
}

/// What is in a record of the ring buffer, told by its size; `None` if that is none of the known.
#[allow(unsafe_code, reason = "bytes become an ABI type")]
fn decode(bytes: &[u8]) -> Option<Told> {
    const EVENT_BYTES: usize = size_of::<Event>();
    const RESET_BYTES: usize = size_of::<ResetOrder>();
    // SAFETY: the length is right, every bit pattern is a valid value of both types, and
    // read_unaligned asks for no alignment.
    unsafe {
        match bytes.len() {
            EVENT_BYTES => Some(Told::Event(std::ptr::read_unaligned(bytes.as_ptr().cast()))),
            RESET_BYTES => Some(Told::Reset(std::ptr::read_unaligned(bytes.as_ptr().cast()))),
            _ => None,
        }
    }
}

/// Socket storage as socket diagnostics hand it out; `None` if the size is wrong.
#[allow(unsafe_code, reason = "bytes become an ABI type")]
pub fn decode_socket(bytes: &[u8]) -> Option<guard_common::abi::socket::SocketState> {
    // The kernel rounds values up to 8 bytes.
    (bytes.len() >= size_of::<guard_common::abi::socket::SocketState>()).then(|| {
        // SAFETY: long enough, every bit pattern is a valid SocketState, and read_unaligned asks
        // for no alignment.
        unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) }
    })
}
