//! The NFQUEUE delay engine: holds the packets of one kernel queue for a time and lets them go,
//! in order. Only ids come up here; the packets stay in the kernel, whole.
//!
//! It never drops a packet: a passed deadline, a lease that is over and the end of the engine let
//! packets pass, and in a full queue the oldest go before their time, in order, and are counted. Only
//! a SIGKILL of the process that runs it loses those that are held at that moment (TCP sends them
//! again); the rule's `--queue-bypass` lets all later ones pass.
//!
//! While that process is stopped, nothing can let go what it holds. guardd therefore never runs a
//! [`DelayQueue`] itself: [`process`] does, in a process that lets go when guardd is not heard.
//!
//! Packets that are held count against their sender's socket buffer, as they would in a real
//! interface queue: a UDP sender blocks once its send buffer is full of them, and TCP keeps only
//! two or three super-packets under way, so that a long delay also limits a connection's upload
//! rate (about 250 KB per delay).
//!
//! Order of use: start the queue, then install the rule ([`crate::net::iptables`]); at the end
//! remove the rule, then stop the queue.

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};

mod distribution;
mod engine;
mod flow;
mod paced;
pub mod process;
mod queue;
mod schedule;
#[cfg(test)]
mod tests;
mod times;

pub use distribution::Distribution;

use crate::kernel::FlowTimes;

/// How long packets are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayProfile {
    /// Mean delay.
    pub delay: Duration,
    /// Spread around it; a delay below zero counts as zero. Because order is kept, packets
    /// that follow one another faster than the jitter are delayed more than the mean.
    pub jitter: Duration,
    /// What the spread looks like.
    pub distribution: Distribution,
    /// Seed of the jitter: the same seed and packets give the same delays.
    pub seed: u64,
    /// A thin link before that: packets go through it one after the other.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What a queue did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelayStats {
    /// Packets held now.
    pub held: usize,
    /// Packets let go, whether their time was up or the queue ended.
    pub released: u64,
    /// Most packets held at once.
    pub max_held: usize,
    /// Packets that were let go before their time, in order, because the queue was full.
    pub hurried: u64,
    /// Packets that passed undelayed because they came faster than this process could read.
    pub overruns: u64,
    /// Why the engine ended by itself; the queue is unbound then and packets pass.
    pub failure: Option<String>,
    /// For how long packets were held, ns, of those whose time was up: known when the queue has ended.
    #[serde(default)]
    pub times: HeldTimes,
}

/// Quantiles of the time that packets were held, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldTimes {
    /// How many packets; with none the rest is 0.
    pub packets: u64,
    /// Median.
    pub p50_ns: u64,
    /// 95 % were held no longer.
    pub p95_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
}

/// A queue that could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DelayError {
    /// Another process has the queue.
    #[error(
        "NFQUEUE number {queue} is in use by another process (netlink port {holder}); stop it, \
         or give guard another range of queue numbers"
    )]
    InUse {
        /// Queue number.
        queue: u16,
        /// Netlink port of the holder, often its process id; `unknown` if it cannot be read.
        holder: String,
    },
    /// This process may not.
    #[error("NFQUEUE number {queue}: not allowed; run as root or with CAP_NET_ADMIN")]
    NotAllowed {
        /// Queue number.
        queue: u16,
    },
    /// The kernel said no, or the thread failed.
    #[error(
        "NFQUEUE number {queue}: {action} failed: {source}; if the kernel has no \
         nfnetlink_queue, load that module"
    )]
    Failed {
        /// Queue number.
        queue: u16,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The engine process says no.
    #[error("{0}")]
    Refused(String),
    /// There is no engine process that answers.
    #[error("the delay engine process failed: {0}; its log lines are among those of guardd")]
    Process(String),
}

/// One running queue. Dropping it stops it.
#[derive(Debug)]
pub struct DelayQueue {
    queue: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the engine's thread and its owner share.
#[derive(Debug)]
struct Shared {
    control: Mutex<Control>,
    /// Rung after each change of `control`.
    bell: EventFd,
    held: AtomicUsize,
    released: AtomicU64,
    max_held: AtomicUsize,
    hurried: AtomicU64,
    overruns: AtomicU64,
    /// The last [`Control::renewals`] that the thread has seen.
    heard: AtomicU64,
    failure: Mutex<Option<io::Error>>,
    /// Written once, when the engine ends.
    times: Mutex<HeldTimes>,
}

/// Orders to the thread.
#[derive(Clone, Copy, Debug, Default)]
struct Control {
    stop: bool,
    end_at: Option<Instant>,
    lease_until: Option<Instant>,
    /// Counts the renewals of the lease.
    renewals: u64,
    /// When the first of them was ordered that the thread has not heard.
    unheard_since: Option<Instant>,
}

impl Control {
    /// From when on everything passes at once; `None` = never.
    fn pass_from(&self) -> Option<Instant> {
        [self.end_at, self.lease_until].into_iter().flatten().min()
    }
}

impl Shared {
    fn control(&self) -> Control {
        *self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.control.lock().unwrap_or_else(PoisonError::into_inner));
        // Fails only if 2^64 - 2 rings are unheard; then the thread is awake anyway.
        if let Err(errno) = self.bell.write(1) {
            tracing::error!(%errno, "delay queue: cannot wake its thread");
        }
    }
}

impl DelayQueue {
    /// Binds the kernel's queue `queue` and starts to delay what comes through it.
    pub fn start(queue: u16, profile: DelayProfile) -> Result<Self, DelayError> {
        Self::start_until(queue, profile, None)
    }

    /// The same with a deadline, after which everything passes at once.
    pub fn start_until(
        queue: u16,
        profile: DelayProfile,
        end_at: Option<Instant>,
    ) -> Result<Self, DelayError> {
        Self::start_with(queue, profile, Control { end_at, ..Control::default() })
    }

    /// The same with a lease: everything passes at once from `lease_until` on, until
    /// [`DelayQueue::renew`] moves that on.
    pub fn start_leased(
        queue: u16,
        profile: DelayProfile,
        end_at: Option<Instant>,
        lease_until: Instant,
    ) -> Result<Self, DelayError> {
        let lease_until = Some(lease_until);
        Self::start_with(queue, profile, Control { end_at, lease_until, ..Control::default() })
    }

    /// The same for paced calls: each packet has a time of its own.
    pub fn start_paced(
        queue: u16,
        flows: FlowTimes,
        lease_until: Instant,
    ) -> Result<Self, DelayError> {
        let control = Control { lease_until: Some(lease_until), ..Control::default() };
        Self::start_engine(queue, queue::Wanted::Flows, control, |queue, shared| {
            let engine = paced::PacedEngine::new(queue, flows, shared);
            move || engine.run()
        })
    }

    fn start_with(queue: u16, profile: DelayProfile, control: Control) -> Result<Self, DelayError> {
        let lengths = profile.bytes_per_second.is_some();
        let wanted = if lengths { queue::Wanted::Lengths } else { queue::Wanted::Ids };
        Self::start_engine(queue, wanted, control, |queue, shared| {
            let engine = engine::Engine::new(queue, profile, shared);
            move || engine.run()
        })
    }

    fn start_engine<R: FnOnce() -> io::Result<()> + Send + 'static>(
        queue: u16,
        wanted: queue::Wanted,
        control: Control,
        engine: impl FnOnce(queue::Queue, Arc<Shared>) -> R,
    ) -> Result<Self, DelayError> {
        let failed = |action, source| DelayError::Failed { queue, action, source };
        let kernel_queue =
            queue::Queue::bind(queue, wanted).map_err(|e| match e.raw_os_error() {
                Some(libc::EBUSY) => DelayError::InUse { queue, holder: holder_of(queue) },
                Some(libc::EPERM) => match holder_of(queue).as_str() {
                    "unknown" => DelayError::NotAllowed { queue },
                    holder => DelayError::InUse { queue, holder: holder.to_owned() },
                },
                _ => failed("bind", e),
            })?;
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed("eventfd", errno.into()))?;
        let shared = Arc::new(Shared {
            control: Mutex::new(control),
            bell,
            held: AtomicUsize::new(0),
            released: AtomicU64::new(0),
            max_held: AtomicUsize::new(0),
            hurried: AtomicU64::new(0),
            overruns: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            failure: Mutex::new(None),
            times: Mutex::default(),
        });
        let run = engine(kernel_queue, Arc::clone(&shared));
        let thread_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("delay-{queue}"))
            .spawn(move || {
                if let Err(error) = run() {
                    tracing::error!(queue, %error, "delay queue failed: its packets pass undelayed");
                    *thread_shared.failure.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(error);
                }
            })
            .map_err(|e| failed("starting its thread", e))?;
        Ok(Self { queue, shared, thread: Some(thread) })
    }

    /// The queue's number.
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// Sets or moves the deadline; one in the past lets everything go now.
    pub fn set_end(&self, end_at: Instant) {
        self.shared.order(|control| control.end_at = Some(end_at));
    }

    /// Moves the end of the lease; one in the past lets everything go now. Returns for how long
    /// the thread has not heard earlier renewals: more than a moment means that it hangs.
    pub fn renew(&self, lease_until: Instant) -> Duration {
        let now = Instant::now();
        let mut silent = Duration::ZERO;
        self.shared.order(|control| {
            let heard = self.shared.heard.load(Relaxed) >= control.renewals;
            let since = control.unheard_since.filter(|_| !heard).unwrap_or(now);
            control.unheard_since = Some(since);
            silent = now.saturating_duration_since(since);
            control.lease_until = Some(lease_until);
            control.renewals += 1;
        });
        silent
    }

    /// Ends the lease now. (The thread looks at the end of its lease by itself; but if it sleeps
    /// when the process is stopped, it sleeps the rest of its time when that goes on.)
    pub fn end_lease(&self) {
        self.shared.order(|control| control.lease_until = Some(Instant::now()));
    }

    /// What it did so far.
    pub fn stats(&self) -> DelayStats {
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        DelayStats {
            held: self.shared.held.load(Relaxed),
            released: self.shared.released.load(Relaxed),
            max_held: self.shared.max_held.load(Relaxed),
            hurried: self.shared.hurried.load(Relaxed),
            overruns: self.shared.overruns.load(Relaxed),
            failure: failure.as_ref().map(ToString::to_string),
            times: *self.shared.times.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Lets everything go, gives the queue back and waits for its thread. An error means that
    /// the engine had failed before; the queue is given back all the same.
    pub fn stop(mut self) -> Result<DelayStats, DelayError> {
        self.end_thread();
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            Some(source) => {
                Err(DelayError::Failed { queue: self.queue, action: "delaying", source })
            }
            None => Ok(self.stats()),
        }
    }

    fn end_thread(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.order(|control| control.stop = true);
        if thread.join().is_err() {
            tracing::error!(queue = self.queue, "the thread of a delay queue panicked");
        }
    }
}

impl Drop for DelayQueue {
    fn drop(&mut self) {
        self.end_thread();
    }
}

/// Whether the kernel can queue packets to user space at all; loads its module if need be.
pub fn kernel_support() -> io::Result<()> {
    queue::Queue::probe()
}

/// Netlink port of the process that has this queue.
fn holder_of(queue: u16) -> String {
    // Columns: queue number, port id, …; readable by root alone. This thread's namespace counts,
    // not the process's.
    std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue")
        .ok()
        .and_then(|table| {
            table.lines().find_map(|line| {
                let mut columns = line.split_whitespace();
                (columns.next()?.parse() == Ok(queue)).then(|| columns.next())?.map(str::to_owned)
            })
        })
        .unwrap_or_else(|| "unknown".to_owned())
}
