//! One engine process from its start to its end, as guardd sees it: orders, answers, silence. It
//! says what is wrong; what follows from that is decided above.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::message::{Answer, Link, Order, Received, wait_readable};

/// Longest wait for an answer to a start (of the process, too) or a stop.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long a process may take to end when it has nothing to do any more.
pub(super) const END_LIMIT: Duration = Duration::from_secs(1);
/// How long one that does not answer may take to let go its packets, before it is killed: one that
/// was stopped needs a moment of a busy processor, and what it holds is lost with it.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// What is wrong with one that is not there any more.
const GONE: &str = "ended by itself";

/// A process that was started. It must be given to [`Running::end`]: dropped alone, it would end by
/// itself, but nobody would look after it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pidfd: OwnedFd,
    pub(super) link: Link,
    pub(super) queues: BTreeSet<u16>,
    /// Number of the last renewal that was sent.
    serial: u64,
    renewed_at: Instant,
    /// When the first renewal was sent that has no answer yet.
    waiting_since: Option<Instant>,
    /// Queues that failed while the process lives.
    pub(super) failed: Vec<(u16, String)>,
}

impl Running {
    /// Starts it, with its end of the socket pair as standard input.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let child = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn()?;
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // It ends by itself: `ours` is closed.
                drop(ours);
                reap(child);
                return Err(errno.into());
            }
        };
        Ok(Self {
            child,
            pidfd,
            link: Link::new(ours),
            queues: BTreeSet::new(),
            serial: 0,
            renewed_at: Instant::now(),
            waiting_since: None,
            failed: Vec::new(),
        })
    }

    /// Process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends an order and waits for the answer that `wanted` takes; else what is wrong with it.
    pub(super) fn ask<T>(
        &mut self,
        order: &Order,
        wanted: impl Fn(Answer) -> Result<T, Answer>,
    ) -> Result<T, String> {
        self.send(order)?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            if let Some(answer) = self.receive()? {
                match wanted(answer) {
                    Ok(answer) => return Ok(answer),
                    Err(other) => self.take(other)?,
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("has not answered for {ANSWER_LIMIT:?}"));
            }
            self.link.wait(left).map_err(|error| format!("is not to be heard: {error}"))?;
        }
    }

    /// The next answer, if one is there.
    fn receive(&self) -> Result<Option<Answer>, String> {
        match self.link.receive() {
            Ok(Received::Message(answer)) => Ok(Some(answer)),
            Ok(Received::Nothing) => Ok(None),
            Ok(Received::Closed) => Err(GONE.to_owned()),
            Err(error) => Err(format!("said what makes no sense: {error}")),
        }
    }

    /// An answer that nobody waits for.
    fn take(&mut self, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Alive { serial, failed } => {
                if serial == self.serial {
                    self.waiting_since = None;
                }
                self.failed = failed.into_iter().map(|one| (one.queue, one.why)).collect();
                Ok(())
            }
            other => Err(format!("answered what was not asked: {other:?}")),
        }
    }

    /// See [`super::DelayProcess::renew`]; an error says what is wrong with it.
    pub(super) fn renew(&mut self, until_ns: u64, patience: Duration) -> Result<(), String> {
        // Read before judging: guardd itself may have been away.
        while let Some(answer) = self.receive()? {
            self.take(answer)?;
        }
        let now = Instant::now();
        if now.duration_since(self.renewed_at) > patience {
            // It was away: the engine gets its time from now on, like after a thaw of both.
            self.waiting_since = self.waiting_since.map(|_| now);
        }
        if let Some(since) = self.waiting_since
            && now.duration_since(since) > patience
        {
            let silent = now.duration_since(since).as_millis();
            return Err(format!("has not answered for {silent} ms"));
        }
        self.serial += 1;
        self.renewed_at = now;
        self.waiting_since.get_or_insert(now);
        self.send(&Order::Renew { serial: self.serial, until_ns })
    }

    fn send(&self, order: &Order) -> Result<(), String> {
        self.link.send(order).or_else(|error| match error.kind() {
            // Full of what it does not read: the time for an answer runs.
            io::ErrorKind::WouldBlock => Ok(()),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(GONE.to_owned()),
            _ => Err(format!("cannot be told anything: {error}")),
        })
    }

    /// Ends the process, within `patience` by closing its socket, else by signals; says how.
    pub(super) fn end(self, patience: Duration) -> String {
        let Self { child, pidfd, link, .. } = self;
        drop(link);
        let ended = |limit| wait_readable(pidfd.as_fd(), limit).unwrap_or(false);
        // Fails only where there is nobody any more.
        let signal = |signal| pidfd_send_signal(&pidfd, signal).ok();
        let mut asked = false;
        if !ended(patience) {
            // One that was stopped goes on, and lets go what it holds.
            signal(Signal::TERM);
            signal(Signal::CONT);
            asked = true;
        }
        if !ended(LAST_CHANCE) {
            signal(Signal::KILL);
        }
        if !ended(END_LIMIT) {
            return "guardd has killed it, but it does not go".to_owned();
        }
        let Some(status) = reap(child) else { return "how it ended is not known".to_owned() };
        let how = match (asked, status.signal()) {
            (false, _) => "it has ended",
            (true, None) => "guardd has ended it",
            (true, Some(_)) => "guardd has killed it, and the packets that it held are lost",
        };
        format!("{how} ({status})")
    }
}

/// Of a child that has ended, or is about to.
fn reap(mut child: Child) -> Option<std::process::ExitStatus> {
    child.wait().inspect_err(|error| tracing::warn!(%error, "delay engine not reaped")).ok()
}
