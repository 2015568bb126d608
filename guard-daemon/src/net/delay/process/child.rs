//! The engine process itself: runs the queues that guardd asks for. It lets everything go and
//! passes everything when the lease is over (guardd is stopped, or hangs), and ends when guardd
//! has ended. It must never outlive guardd, hold anything of guardd's open but its end of the
//! socket pair, or touch anything of the host but its queues.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::super::{DelayError, DelayProfile, DelayQueue, DelayStats};
use super::message::{Answer, Failed, Link, Order, Received};
use super::surroundings;
use crate::kernel::{FlowTimes, boottime_ns};

/// Longest lease that the configuration allows, and longest that is believed.
const MAX_LEASE: Duration = Duration::from_mins(1);
/// How long the thread of a queue may take to hear something. It is idle or spins for microseconds,
/// but a busy host may not let it.
const MAX_SILENCE: Duration = Duration::from_millis(250);

/// Why the process could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("delay engine: {what}: {source}")]
pub struct EngineError {
    what: &'static str,
    source: io::Error,
}

impl EngineError {
    pub(super) fn new(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self { what, source: source.into() }
    }
}

/// The whole life of the process: until guardd ends or closes the socket (standard input), or
/// SIGTERM. Whatever ends it, it lets everything go first.
pub fn run() -> Result<(), EngineError> {
    let (link, signals) = surroundings::enter()?;
    let lease_end =
        TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
            .map_err(|e| EngineError::new("making a timer", e))?;
    let mut server = Server { link, queues: BTreeMap::new(), lease_end };
    let ended = server.serve(&signals);
    // Before anything else is done or said: each lets its packets go.
    server.queues.clear();
    ended.map(|why| tracing::debug!(why, "delay engine ends"))
}

struct Server {
    link: Link,
    queues: BTreeMap<u16, DelayQueue>,
    /// Unlike the timeout of a poll(2), it runs on while the process is stopped or frozen, or the
    /// host sleeps: what is held goes the moment it goes on.
    lease_end: TimerFd,
}

impl Server {
    fn serve(&mut self, signals: &SignalFd) -> Result<&'static str, EngineError> {
        loop {
            match self.link.receive::<Order>() {
                Ok(Received::Message(order)) => {
                    self.obey(&order);
                    continue;
                }
                Ok(Received::Nothing) => {}
                Ok(Received::Closed) => return Ok("guardd has ended, or needs it no more"),
                // Not answered: whoever sent it will notice. The lease holds as before.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(%error, "guardd said what makes no sense");
                    continue;
                }
                Err(source) => return Err(EngineError::new("reading what guardd says", source)),
            }
            if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
                return Ok("told to by a signal");
            }
            self.wait(signals).map_err(|e| EngineError::new("waiting for guardd", e))?;
        }
    }

    /// Until something is to be read, or the lease is over.
    fn wait(&mut self, signals: &SignalFd) -> io::Result<()> {
        let mut fds = [self.link.as_fd(), signals.as_fd(), self.lease_end.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut fds, None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[2].any().unwrap_or(false) {
            self.lease_is_over()?;
        }
        Ok(())
    }

    fn lease_is_over(&mut self) -> io::Result<()> {
        self.queues.values().for_each(DelayQueue::end_lease);
        self.lease_end.unset()?;
        tracing::warn!(
            "guardd has not renewed the lease of its faults: nothing is delayed until it does"
        );
        Ok(())
    }

    /// Takes over when the lease ends, for itself; each queue has to be told.
    fn lease(&mut self, until_ns: u64) -> Instant {
        // Zero would be "never".
        let end = TimeSpec::from_duration(Duration::from_nanos(until_ns.max(1)));
        let absolute = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        if let Err(errno) = self.lease_end.set(Expiration::OneShot(end), absolute) {
            tracing::error!(%errno, "no timer for the lease: each queue looks by itself");
        }
        let left = Duration::from_nanos(until_ns.saturating_sub(boottime_ns()));
        Instant::now() + left.min(MAX_LEASE)
    }

    fn obey(&mut self, order: &Order) {
        let answer = match *order {
            Order::Start {
                queue,
                delay_ns,
                jitter_ns,
                distribution,
                seed,
                bytes_per_second,
                end_ns,
                until_ns,
            } => {
                let nanos = Duration::from_nanos;
                let (delay, jitter) = (nanos(delay_ns), nanos(jitter_ns));
                let profile = DelayProfile { delay, jitter, distribution, seed, bytes_per_second };
                self.start(queue, profile, end_ns, until_ns)
            }
            Order::StartPaced { queue, ref flows, until_ns } => {
                self.start_paced(queue, flows, until_ns)
            }
            Order::Stop { queue } => self.stop(queue),
            Order::Renew { serial, until_ns } => {
                let until = self.lease(until_ns);
                let silent = self.queues.values().map(|queue| queue.renew(until)).max();
                if let Some(silent) = silent.filter(|silent| *silent > MAX_SILENCE) {
                    // No answer: if it stays so, guardd will end this process.
                    tracing::error!(?silent, "the thread of a delay queue hangs");
                    return;
                }
                Answer::Alive { serial, failed: self.failed() }
            }
        };
        if let Err(error) = self.link.send(&answer) {
            // Gone, or stopped for long: the socket or the lease will tell.
            tracing::warn!(%error, "guardd cannot be answered");
        }
    }

    fn start(&mut self, queue: u16, profile: DelayProfile, end_ns: u64, until_ns: u64) -> Answer {
        let until = self.lease(until_ns);
        self.answer(queue, || DelayQueue::start_leased(queue, profile, instant(end_ns), until))
    }

    fn start_paced(&mut self, queue: u16, flows: &Path, until_ns: u64) -> Answer {
        let until = self.lease(until_ns);
        let flows = match FlowTimes::open(flows) {
            Ok(flows) => flows,
            Err(error) => return Answer::Refused { queue, why: error.to_string() },
        };
        self.answer(queue, || DelayQueue::start_paced(queue, flows, until))
    }

    /// Starts a queue, unless it runs.
    fn answer(
        &mut self,
        queue: u16,
        start: impl FnOnce() -> Result<DelayQueue, DelayError>,
    ) -> Answer {
        if self.queues.contains_key(&queue) {
            let why = format!("queue {queue} runs already");
            return Answer::Refused { queue, why };
        }
        match start() {
            Ok(started) => {
                self.queues.insert(queue, started);
                Answer::Started { queue }
            }
            Err(error) => Answer::Refused { queue, why: error.to_string() },
        }
    }

    fn stop(&mut self, queue: u16) -> Answer {
        let stats = match self.queues.remove(&queue) {
            None => DelayStats::default(),
            Some(running) => {
                let before = running.stats();
                // An error is one that it had before, and that `before` tells.
                running.stop().unwrap_or(before)
            }
        };
        Answer::Stopped { queue, stats }
    }

    fn failed(&self) -> Vec<Failed> {
        let failed = |(queue, running): (&u16, &DelayQueue)| {
            running.stats().failure.map(|why| Failed { queue: *queue, why })
        };
        self.queues.iter().filter_map(failed).collect()
    }
}

/// The moment of a CLOCK_BOOTTIME; `None` if it is too far away to be one.
fn instant(boottime: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_nanos(boottime.saturating_sub(boottime_ns())))
}
