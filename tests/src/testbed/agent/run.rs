//! Makes calls with several workers, by a schedule or step by step, and sums them up. Each
//! worker is one thread with one connection, like one task of a real agent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::call::{CallOptions, Caller};
use super::record::{Record, Summary};
use super::samples::Samples;
use super::target::Target;

/// What an agent does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Called in turn.
    pub targets: Vec<Target>,
    /// How.
    pub options: CallOptions,
    /// Workers; at least 1.
    pub concurrency: u32,
    /// From the start of one call to the start of the worker's next; zero = as fast as it goes.
    pub interval: Duration,
    /// Calls of all workers together; `None` = no limit.
    pub count: Option<u64>,
    /// Calls start only within this time; `None` = no limit.
    pub duration: Option<Duration>,
}

/// A step for step-by-step control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make one call, to this target or to the next in turn.
    Call(Option<Target>),
    /// Close the kept connection of one worker.
    Close,
}

/// Called with every record, in the order in which calls end.
pub type Sink = Arc<dyn Fn(&Record) + Send + Sync>;

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
    started: Instant,
}

struct Shared {
    plan: Plan,
    sink: Sink,
    stopping: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    samples: Samples,
    workers: u32,
}

impl Agent {
    /// Starts the workers; with `steps` they wait for steps instead of following the schedule.
    pub fn start(plan: Plan, steps: Option<Receiver<Step>>, sink: Sink) -> Self {
        let workers = plan.concurrency.max(1);
        let progress = Mutex::new(Progress { samples: Samples::default(), workers });
        let stopping = AtomicBool::new(false);
        let shared = Arc::new(Shared { plan, sink, stopping, progress, changed: Condvar::new() });
        let started = Instant::now();
        let steps = steps.map(|steps| Arc::new(Mutex::new(steps)));
        for number in 0..workers {
            let (shared, steps) = (Arc::clone(&shared), steps.clone());
            // Workers are spread over the interval instead of calling all at once.
            let first = started + shared.plan.interval * number / workers;
            thread::spawn(move || {
                match steps {
                    Some(steps) => shared.follow(&steps),
                    None => shared.schedule(first, started),
                }
                shared.lock().workers -= 1;
                shared.changed.notify_all();
            });
        }
        Self { shared, started }
    }

    /// A handle that [`Agent::wait`] does not consume.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.stopping.store(true, Ordering::Release)
    }

    /// Waits until the workers are done; once stopped at most for `grace`.
    pub fn wait(self, grace: Duration) -> Summary {
        let mut progress = self.shared.lock();
        let mut stopped_at: Option<Instant> = None;
        while progress.workers > 0 {
            if self.shared.stopping.load(Ordering::Acquire)
                && stopped_at.get_or_insert_with(Instant::now).elapsed() >= grace
            {
                break;
            }
            let tick = Duration::from_millis(5);
            let waited = self.shared.changed.wait_timeout(progress, tick);
            (progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        progress.samples.summary(self.started.elapsed())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn follow(&self, steps: &Mutex<Receiver<Step>>) {
        let mut caller = Caller::default();
        loop {
            // Whoever holds the lock waits for the next step; the others wait for the lock.
            let step = steps.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match step {
                Ok(Step::Call(target)) => {
                    if !self.call(&mut caller, target.as_ref()) {
                        return;
                    }
                }
                Ok(Step::Close) => caller.close(),
                Err(_) => return,
            }
        }
    }

    fn schedule(&self, first: Instant, started: Instant) {
        let mut caller = Caller::default();
        let mut next = first;
        loop {
            self.sleep_until(next);
            let over = self.plan.duration.is_some_and(|limit| started.elapsed() >= limit);
            if over || self.stopping() || !self.call(&mut caller, None) {
                return;
            }
            // A late call does not make the following ones come in a burst.
            next = (next + self.plan.interval).max(Instant::now());
        }
    }

    fn sleep_until(&self, at: Instant) {
        while !self.stopping() {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Short enough to notice a stop, and exact at the end.
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    /// Makes one call; `false` if there is none left to make.
    fn call(&self, caller: &mut Caller, target: Option<&Target>) -> bool {
        let mut progress = self.lock();
        let targets = &self.plan.targets;
        let in_turn = progress.samples.started() as usize % targets.len().max(1);
        let target = target.or_else(|| targets.get(in_turn));
        let left = self.plan.count.is_none_or(|limit| progress.samples.started() < limit);
        let (Some(target), true) = (target, left) else { return false };
        let seq = progress.samples.start();
        drop(progress);
        let record = caller.call(seq, target, &self.plan.options);
        let mut progress = self.lock();
        progress.samples.end(&record);
        // Inside the lock, so that lines come in the order of the sums.
        (self.sink)(&record);
        true
    }
}
