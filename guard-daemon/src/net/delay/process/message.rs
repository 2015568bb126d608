//! What guardd and its engine process say to each other: one JSON text per packet of a socket
//! pair. Both ends are the same binary, so there are no versions; what is not understood is an
//! error of the one who reads it, and never a panic. Nothing here waits: a peer that is stopped
//! must not stop the other one.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{DelayStats, Distribution};

/// Longest message, bytes. The longest there is tells of 16 failed queues.
const MAX_BYTES: usize = 16 * 1024;

/// From guardd. Times are CLOCK_BOOTTIME, ns: a message that is read late says nothing wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    /// Bind a queue and delay its packets; answered by `Started` or `Refused`.
    Start {
        queue: u16,
        delay_ns: u64,
        jitter_ns: u64,
        distribution: Distribution,
        seed: u64,
        bytes_per_second: Option<NonZeroU64>,
        /// Deadline of the fault.
        end_ns: u64,
        /// End of the lease.
        until_ns: u64,
    },
    /// Bind a queue of paced calls, whose times are in the map pinned at `flows`; answered as `Start`.
    StartPaced { queue: u16, flows: PathBuf, until_ns: u64 },
    /// Let everything of a queue go and give it back; answered by `Stopped`.
    Stop { queue: u16 },
    /// The lease of all queues ends then; answered by `Alive`.
    Renew { serial: u64, until_ns: u64 },
}

/// From the engine process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// The queue is bound.
    Started { queue: u16 },
    /// It is not.
    Refused { queue: u16, why: String },
    /// It is not bound any more; what it did.
    Stopped { queue: u16, stats: DelayStats },
    /// `Renew` of this number was heard, by the thread of each queue too.
    Alive { serial: u64, failed: Vec<Failed> },
}

/// A queue that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    pub(super) queue: u16,
    pub(super) why: String,
}

/// What was found on a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<T> {
    /// A message.
    Message(T),
    /// None now.
    Nothing,
    /// None ever again: the other side is gone.
    Closed,
}

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    /// `socket`: one end of a pair of SOCK_SEQPACKET.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends, or fails at once: `EAGAIN` is a peer that does not read.
    pub(super) fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > MAX_BYTES {
            return Err(too_long(text.len()));
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.0.as_raw_fd(), &text, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes the next message, if there is one. `InvalidData` is one that makes no sense; it is
    /// gone, and the next may be read.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Received<T>> {
        let mut buffer = [0; MAX_BYTES];
        // With MSG_TRUNC the true length comes back, also if it is more than fits.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let length = loop {
            match recv(self.0.as_raw_fd(), &mut buffer, flags) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(Received::Closed),
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(errno) => return Err(errno.into()),
            }
        };
        let text = buffer.get(..length).ok_or_else(|| too_long(length))?;
        serde_json::from_slice(text).map(Received::Message).map_err(|error| {
            let shown: String = String::from_utf8_lossy(text).chars().take(120).collect();
            io::Error::new(io::ErrorKind::InvalidData, format!("{error}, in {shown:?}"))
        })
    }

    /// Waits until there is something to receive; `false` after `limit`.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        wait_readable(self.0.as_fd(), limit)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` is readable (for a pidfd: until the process has ended); `false` after `limit`.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn too_long(bytes: usize) -> io::Error {
    let why = format!("a message of {bytes} bytes; at most {MAX_BYTES} are allowed");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use proptest::prelude::*;

    use super::*;

    fn pair() -> (Link, Link) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (a, b) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a pair");
        (Link(a), Link(b))
    }

    fn raw(link: &Link, bytes: &[u8]) {
        send(link.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT).expect("sent");
    }

    proptest! {
        #[test]
        fn any_order_arrives_as_it_was(
            queue: u16, delay_ns: u64, jitter_ns: u64, seed: u64, end_ns: u64, until_ns: u64,
        ) {
            let (a, b) = pair();
            for order in [
                Order::Start {
                    queue, delay_ns, jitter_ns, distribution: Distribution::Pareto, seed,
                    bytes_per_second: NonZeroU64::new(seed), end_ns,
                    until_ns,
                },
                Order::StartPaced { queue, flows: "/run/x/PACE_FLOWS".into(), until_ns },
                Order::Stop { queue },
                Order::Renew { serial: seed, until_ns },
            ] {
                a.send(&order).unwrap();
                prop_assert_eq!(b.receive::<Order>().unwrap(), Received::Message(order));
            }
        }

        #[test]
        fn any_answer_arrives_as_it_was(
            queue: u16, why: String, held: usize, released: u64, failure: Option<String>,
        ) {
            let (a, b) = pair();
            let stats = DelayStats { held, released, failure, ..DelayStats::default() };
            for answer in [
                Answer::Started { queue },
                Answer::Refused { queue, why: why.clone() },
                Answer::Stopped { queue, stats },
                Answer::Alive { serial: released, failed: vec![Failed { queue, why }] },
            ] {
                a.send(&answer).unwrap();
                prop_assert_eq!(b.receive::<Answer>().unwrap(), Received::Message(answer));
            }
        }

        #[test]
        fn bytes_that_mean_nothing_are_an_error_and_the_next_message_is_read(
            bytes in proptest::collection::vec(any::<u8>(), 1..3000),
        ) {
            let (a, b) = pair();
            raw(&a, &bytes);
            let stop = Order::Stop { queue: 1 };
            a.send(&stop).unwrap();
            let error = b.receive::<Order>().unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            prop_assert_eq!(b.receive::<Order>().unwrap(), Received::Message(stop));
        }
    }

    #[test]
    fn what_is_almost_an_order_is_none() {
        let (a, b) = pair();
        for text in [
            "{}",
            "[]",
            "null",
            r#"{"stop":{}}"#,
            r#"{"stop":{"queue":65536}}"#,
            r#"{"stop":{"queue":-1}}"#,
            r#"{"stop":{"queue":1,"more":2}}"#,
            r#"{"stop":{"queue":1},"renew":{"serial":1,"until_ns":1}}"#,
            r#"{"kill":{"queue":1}}"#,
            r#"{"stop":{"queue":1}} {"stop":{"queue":2}}"#,
            r#"{"renew":{"serial":1.5,"until_ns":1}}"#,
            r#"{"stop":{"queue":1}"#,
        ] {
            raw(&a, text.as_bytes());
            let error = b.receive::<Order>().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}: {error}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_read() {
        let (a, b) = pair();
        let answer = Answer::Refused { queue: 1, why: "x".repeat(MAX_BYTES) };
        assert!(a.send(&answer).unwrap_err().to_string().contains("at most 16384"));
        raw(&a, &vec![b' '; MAX_BYTES + 1]);
        assert!(b.receive::<Order>().unwrap_err().to_string().contains("16385 bytes"));
        assert_eq!(b.receive::<Order>().unwrap(), Received::Nothing);
    }

    #[test]
    fn a_peer_that_does_not_read_or_is_gone_does_not_block() {
        let (a, b) = pair();
        let stop = Order::Stop { queue: 1 };
        let error = (0..100_000).find_map(|_| a.send(&stop).err()).expect("full at some time");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        drop(b);
        let error = a.send(&stop).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)), "{error}");
        let (a, b) = pair();
        drop(a);
        assert_eq!(b.receive::<Order>().unwrap(), Received::Closed);
    }
}
