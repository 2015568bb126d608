//! The thread behind a [`super::DelayQueue`]: receives, waits, releases. It never blocks while a
//! packet is due, and whatever ends it, it first lets everything go.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::queue::{MAX_HELD, Packet, Queue, Received};
use super::schedule::Schedule;
use super::{DelayProfile, Shared};

/// What is left until a packet is due is spun away if it is no more than this.
const MAX_SPIN: Duration = Duration::from_micros(50);
/// A wake-up from a sleep is asked for this much early, on top of how late wake-ups are.
const WAKE_MARGIN: Duration = Duration::from_micros(20);
/// Later wake-ups than this are somebody else's doing (another process had the processor).
const MAX_LATENESS: Duration = Duration::from_millis(1);
/// By which part, and by how much at the least, the measure of lateness moves at each wake-up.
const LATENESS_PART: u32 = 16;
const LATENESS_STEP: Duration = Duration::from_micros(1);
/// Sleeps shorter than this tell nothing: the processor does not go idle in them.
const MIN_TELLING_SLEEP: Duration = Duration::from_micros(500);
/// The kernel lets poll(2) be late by 0.1 % of its timeout, whatever the timer slack. Longer
/// sleeps than this therefore end 0.2 % and [`SHORT_SLEEP`] early and are followed by a short one.
const LONG_SLEEP: Duration = Duration::from_millis(5);
const SHORT_SLEEP: Duration = Duration::from_millis(1);
/// Nice value of the thread.
pub(super) const PRIORITY: i32 = -20;
/// Datagrams taken in a row before due packets get their turn.
const RECEIVE_BURST: usize = 256;

/// Packets let go at once, and the shortest pause before the next that are due: what is let go faster than
/// the host takes it in is dropped by the next queue on its way. The shortest is that of loopback,
/// 1000 packets (`net.core.netdev_max_backlog`).
const RELEASE_BATCH: usize = 256;
const RELEASE_PAUSE: Duration = Duration::from_micros(100);

/// Keeps the calling thread where it is. Each processor has a backlog of its own for loopback: packets
/// that are let go from another one overtake those that still wait in the first.
pub(super) fn stay_on_this_processor() {
    let pinned = sched_getcpu().and_then(|processor| {
        let mut only = CpuSet::new();
        only.set(processor)?;
        sched_setaffinity(Pid::from_raw(0), &only)
    });
    if let Err(errno) = pinned {
        tracing::warn!(%errno, "the engine may move between processors: packets may change their order");
    }
}

/// The engine's state.
pub(super) struct Engine {
    queue: Queue,
    schedule: Schedule,
    shared: Arc<Shared>,
    packets: Vec<Packet>,
    last_id: Option<u32>,
    /// How late a sleep ends (timer, leaving idle, scheduling), as a running median, which a
    /// single very late one does not move: 10 µs on bare metal, 100 µs in a virtual machine, 500 µs
    /// in an emulated one. Both ends of a delay are corrected by it.
    lateness: Duration,
    /// When the kernel last had nothing for us.
    last_empty: Instant,
    transparent: bool,
}

impl Engine {
    pub(super) fn new(queue: Queue, profile: DelayProfile, shared: Arc<Shared>) -> Self {
        let schedule = Schedule::new(profile);
        let packets = Vec::with_capacity(RECEIVE_BURST);
        Self {
            queue,
            schedule,
            shared,
            packets,
            last_id: None,
            lateness: MAX_SPIN,
            last_empty: Instant::now(),
            transparent: false,
        }
    }

    /// Runs until it is told to stop or the queue fails; lets everything go in either case.
    pub(super) fn run(mut self) -> io::Result<()> {
        // Timer slack is 50 µs by default, which would be the largest part of our error. A
        // kernel without it costs accuracy only.
        if let Err(errno) = nix::sys::prctl::set_timerslack(1) {
            tracing::warn!(%errno, "cannot set the timer slack: delays may be 50 µs too long");
        }
        // The calling thread alone: on Linux priorities belong to threads. It runs for
        // microseconds at a time, and on a busy host waiting for a turn would be added to delays.
        if let Err(errno) = rustix::process::setpriority_process(None, PRIORITY) {
            tracing::warn!(%errno, "cannot raise the priority: delays may grow on a busy host");
        }
        stay_on_this_processor();
        let outcome = self.serve();
        let passed = self.pass_everything();
        *self.shared.times.lock().unwrap_or_else(PoisonError::into_inner) = self.schedule.times();
        // Even if that failed.
        self.shared.held.store(0, Relaxed);
        let unbound = self.queue.release_all_and_unbind();
        outcome.and(passed).and(unbound)
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let control = self.shared.control();
            if control.stop {
                return Ok(());
            }
            self.shared.heard.store(control.renewals, Relaxed);
            self.receive()?;
            let now = Instant::now();
            let pass_from = control.pass_from();
            let ended = pass_from.is_some_and(|from| from <= now);
            if ended != self.transparent {
                self.set_transparent(ended)?;
            }
            if ended {
                // What was on its way to us when deadline or lease came. Without a packet nothing
                // may be sent: the kernel's answer to it is an error, which would end the wait at
                // once, again and again.
                if self.schedule.len() > 0 {
                    self.pass_everything()?;
                }
                self.wait(None)?;
                continue;
            }
            if let Some(excess) = self.schedule.len().checked_sub(MAX_HELD as usize + 1) {
                self.hurry(excess + 1)?;
                continue;
            }
            if let Some(due) = self.schedule.take_due(now, RELEASE_BATCH) {
                self.release(due)?;
                continue;
            }
            let next = [self.schedule.next(), pass_from].into_iter().flatten().min();
            match next {
                Some(at) if at.saturating_duration_since(now) <= MAX_SPIN => {
                    // Close enough to spin; `receive` above keeps arrival times exact meanwhile.
                    std::hint::spin_loop();
                }
                other => self.wait(other)?,
            }
        }
    }

    /// Takes in what the kernel has for us.
    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..RECEIVE_BURST {
            match self.queue.receive(&mut self.packets)? {
                Received::Some => {}
                Received::Nothing => break,
                Received::Overrun => {
                    tracing::debug!("delay queue: receive buffer full, packets passed undelayed");
                }
            }
        }
        if self.packets.is_empty() {
            self.last_empty = Instant::now();
            return Ok(());
        }
        // The packet that ended a sleep came about one wake-up ago, but not before the time when
        // there was none.
        let earliest = self.last_empty;
        for mut packet in self.packets.drain(..) {
            let corrected = packet.arrived.checked_sub(self.lateness).unwrap_or(earliest);
            packet.arrived = corrected.max(earliest);
            // Ids are consecutive: a gap is packets that the kernel let pass.
            let expected = self.last_id.map_or(packet.id, |last| last.wrapping_add(1));
            let missed = packet.id.wrapping_sub(expected);
            if missed < u32::MAX / 2 {
                self.shared.overruns.fetch_add(u64::from(missed), Relaxed);
            }
            self.last_id = Some(packet.id);
            self.schedule.hold(packet);
        }
        let held = self.schedule.len();
        self.shared.held.store(held, Relaxed);
        self.shared.max_held.fetch_max(held, Relaxed);
        Ok(())
    }

    /// Lets the oldest `excess` packets go before their time. Those that came last could pass at once
    /// instead, but they would overtake all that is held.
    fn hurry(&mut self, excess: usize) -> io::Result<()> {
        let now = Instant::now();
        let early = self.schedule.next().is_some_and(|due| due > now);
        let Some((count, last)) = self.schedule.take(excess.min(RELEASE_BATCH)) else {
            return Ok(());
        };
        if early && self.shared.hurried.fetch_add(count, Relaxed) == 0 {
            tracing::warn!(
                held = MAX_HELD,
                "delay queue full: the oldest packets go before their time"
            );
        }
        self.release((count, last))
    }

    fn set_transparent(&mut self, transparent: bool) -> io::Result<()> {
        if transparent {
            self.pass_everything()?;
        }
        self.queue.set_transparent(transparent)?;
        self.transparent = transparent;
        Ok(())
    }

    fn pass_everything(&mut self) -> io::Result<()> {
        while let Some(first) = self.schedule.take(RELEASE_BATCH) {
            self.release(first)?;
        }
        // What came meanwhile.
        self.queue.accept_all()
    }

    fn release(&mut self, (count, last): (u64, u32)) -> io::Result<()> {
        // Counted first, so that nobody sees a packet that is not in the numbers yet.
        self.shared.released.fetch_add(count, Relaxed);
        self.shared.held.store(self.schedule.len(), Relaxed);
        let began = Instant::now();
        self.queue.accept_up_to(last)?;
        if count as usize == RELEASE_BATCH {
            // What the packets meet next takes about as long as letting them go did; on a slow host
            // that is left to a thread of the kernel that this one would keep from its processor.
            thread::sleep(RELEASE_PAUSE.max(began.elapsed()));
        }
        Ok(())
    }

    /// Sleeps until a packet or an order comes, or until shortly before `until`.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        let timeout = until.map(|at| {
            let left = at.saturating_duration_since(now);
            if left > LONG_SLEEP {
                return left.saturating_sub(left / 500 + SHORT_SLEEP);
            }
            let early = self.lateness + WAKE_MARGIN;
            left.checked_sub(early).unwrap_or(left.saturating_sub(MAX_SPIN))
        });
        let mut fds = [
            PollFd::new(self.queue.socket().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
        ];
        let ready = match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if fds[1].any().unwrap_or(false) {
            // Level-triggered: read it empty, or it would ring for ever.
            match self.shared.bell.read() {
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if ready == 0
            && let Some(timeout) = timeout
            && (MIN_TELLING_SLEEP..=LONG_SLEEP).contains(&timeout)
        {
            let late = now.elapsed().saturating_sub(timeout);
            let step = (self.lateness / LATENESS_PART).max(LATENESS_STEP);
            self.lateness = if late > self.lateness {
                (self.lateness + step).min(MAX_LATENESS)
            } else {
                self.lateness.saturating_sub(step)
            };
        }
        Ok(())
    }
}
