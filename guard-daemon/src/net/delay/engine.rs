//! The thread behind a [`super::DelayQueue`]: receives, waits, releases. It never blocks while a
//! packet is due, and whatever ends it, it first lets everything go.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::queue::{MAX_HELD, Packet, Queue, Received};
use super::schedule::Schedule;
use super::{DelayProfile, Shared};

/// A wake-up is asked for this much early at most; what is left then is spun away.
const MAX_SPIN: Duration = Duration::from_micros(50);
/// Datagrams taken in a row before due packets get their turn.
const RECEIVE_BURST: usize = 256;

/// The engine's state.
pub(super) struct Engine {
    queue: Queue,
    schedule: Schedule,
    shared: Arc<Shared>,
    packets: Vec<Packet>,
    last_id: Option<u32>,
    /// How late poll(2) wakes us, smoothed: we ask to be woken that much early.
    lateness: Duration,
    transparent: bool,
}

impl Engine {
    pub(super) fn new(queue: Queue, profile: DelayProfile, shared: Arc<Shared>) -> Self {
        let schedule = Schedule::new(profile);
        let packets = Vec::with_capacity(RECEIVE_BURST);
        let lateness = MAX_SPIN / 2;
        Self { queue, schedule, shared, packets, last_id: None, lateness, transparent: false }
    }

    /// Runs until it is told to stop or the queue fails; lets everything go in either case.
    pub(super) fn run(mut self) -> io::Result<()> {
        // Timer slack is 50 µs by default, which would be the largest part of our error. A
        // kernel without it costs accuracy only.
        if let Err(errno) = nix::sys::prctl::set_timerslack(1) {
            tracing::warn!(%errno, "cannot set the timer slack: delays may be 50 µs too long");
        }
        let outcome = self.serve();
        self.forget_held();
        let unbound = self.queue.release_all_and_unbind();
        outcome.and(unbound)
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let control = self.shared.control();
            if control.stop {
                return Ok(());
            }
            self.receive()?;
            let now = Instant::now();
            let ended = control.end_at.is_some_and(|end| end <= now);
            if ended != self.transparent {
                self.set_transparent(ended)?;
            }
            if ended {
                // What was on its way to us when the deadline came.
                self.pass_everything()?;
                self.wait(None)?;
                continue;
            }
            if let Some((count, id)) = self.schedule.take_due(now) {
                self.queue.accept_up_to(id)?;
                self.shared.released.fetch_add(count, Relaxed);
                self.shared.held.store(self.schedule.len(), Relaxed);
                continue;
            }
            let next = [self.schedule.next(), control.end_at].into_iter().flatten().min();
            match next {
                Some(at) if at.saturating_duration_since(now) <= self.wake_early() => {
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
            return Ok(());
        }
        for packet in self.packets.drain(..) {
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
        if held >= MAX_HELD as usize && self.shared.max_held.load(Relaxed) < held {
            tracing::warn!(held, "delay queue full: further packets pass undelayed");
        }
        self.shared.held.store(held, Relaxed);
        self.shared.max_held.fetch_max(held, Relaxed);
        Ok(())
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
        self.forget_held();
        self.queue.accept_all()
    }

    fn forget_held(&mut self) {
        let count = self.schedule.take_all();
        self.shared.released.fetch_add(count, Relaxed);
        self.shared.held.store(0, Relaxed);
    }

    /// How much before the time we want to be awake.
    fn wake_early(&self) -> Duration {
        self.lateness.min(MAX_SPIN)
    }

    /// Sleeps until a packet or an order comes, or until shortly before `until`.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let wake_at = until.map(|at| at.checked_sub(self.wake_early()).unwrap_or(at));
        let timeout =
            wake_at.map(|at| TimeSpec::from_duration(at.saturating_duration_since(Instant::now())));
        let mut fds = [
            PollFd::new(self.queue.socket().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
        ];
        let ready = match ppoll(&mut fds, timeout, None) {
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
            && let Some(wake_at) = wake_at
        {
            // Smoothed over about 8 wake-ups; single outliers (another process had the
            // processor) count as no more than twice the spin.
            let late = Instant::now().saturating_duration_since(wake_at).min(MAX_SPIN * 2);
            self.lateness = (self.lateness * 7 + late) / 8;
        }
        Ok(())
    }
}
